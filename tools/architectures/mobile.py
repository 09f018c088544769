"""Small convolutional networks: MobileNetV2 and V3, ShuffleNetV2, EfficientNet."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from architectures.parts import (
    Activation,
    Network,
    Residual,
    SqueezeExcite,
    conv_bn,
    rounded,
)


class Stage(NamedTuple):
    """Inverted bottlenecks of one width: of MobileNetV2 and EfficientNet."""

    expand: int
    channels: int
    depth: int
    stride: int
    kernel: int = 3


MOBILENET_V2 = (
    Stage(1, 16, 1, 1), Stage(6, 24, 2, 2), Stage(6, 32, 3, 2), Stage(6, 64, 4, 2),
    Stage(6, 96, 3, 1), Stage(6, 160, 3, 2), Stage(6, 320, 1, 1),
)  # fmt: skip
EFFICIENTNET_B0 = (
    Stage(1, 16, 1, 1), Stage(6, 24, 2, 2), Stage(6, 40, 2, 2, 5), Stage(6, 80, 3, 2),
    Stage(6, 112, 3, 1, 5), Stage(6, 192, 4, 2, 5), Stage(6, 320, 1, 1),
)  # fmt: skip


class Row(NamedTuple):
    """One inverted bottleneck of MobileNetV3."""

    kernel: int
    expanded: int
    channels: int
    squeeze: bool
    swish: bool
    stride: int
    dilation: int = 1


MOBILENET_V3_SMALL = (
    Row(3, 16, 16, True, False, 2), Row(3, 72, 24, False, False, 2),
    Row(3, 88, 24, False, False, 1), Row(5, 96, 40, True, True, 2), Row(5, 240, 40, True, True, 1),
    Row(5, 240, 40, True, True, 1), Row(5, 120, 48, True, True, 1), Row(5, 144, 48, True, True, 1),
    Row(5, 288, 96, True, True, 2), Row(5, 576, 96, True, True, 1), Row(5, 576, 96, True, True, 1),
)  # fmt: skip


def mobilenet_v2(stages: Sequence[Stage], width: float, classes: int, last: int = 1280) -> Network:
    """MobileNetV2 (Sandler 2018): inverted bottlenecks that end without an activation."""
    relu6 = partial(conv_bn, activation=nn.ReLU6)
    cin = rounded(32 * width)
    layers: list[nn.Module] = [relu6(3, cin, 3, 2)]
    for stage in stages:
        out = rounded(stage.channels * width)
        for j in range(stage.depth):
            mid, stride = cin * stage.expand, 1 if j else stage.stride
            widen = [relu6(cin, mid, 1)] if stage.expand > 1 else []
            f = nn.Sequential(
                *widen,
                relu6(mid, mid, 3, stride, groups=mid),
                conv_bn(mid, out, 1, activation=None),
            )
            layers.append(Residual(f) if stride == 1 and cin == out else f)
            cin = out
    layers.append(relu6(cin, last, 1))
    return Network(nn.Sequential(*layers), _mean_classifier(last, classes))


def bottlenecks_v3(cin: int, rows: Sequence[Row]) -> list[nn.Module]:
    """Return the inverted bottlenecks of MobileNetV3."""
    layers: list[nn.Module] = []
    for row in rows:
        act: Activation = nn.Hardswish if row.swish else nn.ReLU
        mid = row.expanded
        f: list[nn.Module] = [conv_bn(cin, mid, 1, activation=act)] if mid != cin else []
        f.append(
            conv_bn(mid, mid, row.kernel, row.stride, groups=mid, dilation=row.dilation,
                    activation=act)
        )  # fmt: skip
        if row.squeeze:
            f.append(SqueezeExcite(mid, rounded(mid / 4), gate=nn.Hardsigmoid))
        f.append(conv_bn(mid, row.channels, 1, activation=None))
        block = nn.Sequential(*f)
        layers.append(Residual(block) if row.stride == 1 and cin == row.channels else block)
        cin = row.channels
    return layers


def mobilenet_v3(rows: Sequence[Row], last: int, hidden: int, classes: int) -> Network:
    """MobileNetV3 (Howard 2019): hard swish, hard sigmoid gates, a cheap last stage."""
    body = nn.Sequential(
        conv_bn(3, 16, 3, 2, activation=nn.Hardswish),
        *bottlenecks_v3(16, rows),
        conv_bn(rows[-1].channels, last, 1, activation=nn.Hardswish),
    )
    head = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, hidden), nn.Hardswish(),
        nn.Dropout(), nn.Linear(hidden, classes),
    )  # fmt: skip
    return Network(body, head)


def efficientnet(
    stages: Sequence[Stage], classes: int, *, stem: int = 32, last: int = 1280
) -> Network:
    """EfficientNet (Tan & Le 2019): inverted bottlenecks with swish and squeeze-and-excitation."""
    silu = partial(conv_bn, activation=nn.SiLU)
    layers: list[nn.Module] = [silu(3, stem, 3, 2)]
    cin = stem
    for stage in stages:
        for j in range(stage.depth):
            mid, stride = cin * stage.expand, 1 if j else stage.stride
            widen = [silu(cin, mid, 1)] if stage.expand > 1 else []
            f = nn.Sequential(
                *widen,
                silu(mid, mid, stage.kernel, stride, groups=mid),
                SqueezeExcite(mid, max(1, cin // 4), nn.SiLU),
                conv_bn(mid, stage.channels, 1, activation=None),
            )
            layers.append(Residual(f) if stride == 1 and cin == stage.channels else f)
            cin = stage.channels
    layers.append(silu(cin, last, 1))
    head = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(last, classes)
    )
    return Network(nn.Sequential(*layers), head)


class _Shuffle(nn.Module):
    """Half of the channels pass by the convolutions (all pass both where the stride is 2)."""

    def __init__(self, cin: int, out: int, stride: int) -> None:
        super().__init__()
        half, self.stride = out // 2, stride
        into = cin if stride > 1 else half
        self.right = nn.Sequential(
            conv_bn(into, half, 1),
            conv_bn(half, half, 3, stride, groups=half, activation=None),
            conv_bn(half, half, 1),
        )
        self.left: nn.Module = nn.Identity()
        if stride > 1:
            self.left = nn.Sequential(
                conv_bn(cin, cin, 3, stride, groups=cin, activation=None), conv_bn(cin, half, 1)
            )

    def forward(self, x: Tensor) -> Tensor:
        left, right = (x, x) if self.stride > 1 else x.chunk(2, 1)
        y = torch.cat([self.left(left), self.right(right)], 1)
        n, c, h, w = y.shape
        return y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def shufflenet(
    stem: int, widths: Sequence[int], depths: Sequence[int], last: int, classes: int
) -> Network:
    """ShuffleNetV2 (Ma 2018)."""
    layers: list[nn.Module] = [conv_bn(3, stem, 3, 2), nn.MaxPool2d(3, 2, 1)]
    cin = stem
    for width, depth in zip(widths, depths, strict=True):
        for j in range(depth):
            layers.append(_Shuffle(cin, width, 1 if j else 2))
            cin = width
    layers.append(conv_bn(cin, last, 1))
    return Network(nn.Sequential(*layers), _mean_classifier(last, classes))


class _Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean([2, 3])


def _mean_classifier(channels: int, classes: int) -> nn.Sequential:
    return nn.Sequential(_Mean(), nn.Dropout(), nn.Linear(channels, classes))
