"""Small architectures, written out in torch, on which two gradient builders are compared."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own habit

Sizes = tuple[int, ...]


def conv_bn(cin: int, cout: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Module:
    conv = nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(cout))


def dense(cin: int, cout: int) -> nn.Module:
    return nn.Sequential(nn.BatchNorm2d(cin), nn.ReLU(), nn.Conv2d(cin, cout, 3, 1, 1))


class Plus(nn.Module):
    """x + f(x)."""

    def __init__(self, *f: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.f, self.shortcut = nn.Sequential(*f), shortcut or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.f(x) + self.shortcut(x)


class Joined(nn.Module):
    """[x,] f(x), g(x), ... along the channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([f(x) for f in self.branches], 1)


class Gate(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels: int, gate: nn.Module) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 4, 1), nn.ReLU(),
            nn.Conv2d(4, channels, 1), gate,
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)


class Up(nn.Module):
    """A U-Net of depth one: down, up (three ways), skip connection."""

    def __init__(self, up: nn.Module) -> None:
        super().__init__()
        self.a, self.b, self.up = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, 2, 1), up
        self.c = nn.Conv2d(8, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.a(x))
        return self.c(torch.cat([a, self.up(F.relu(self.b(a)))], 1))


class ConvNext(nn.Module):
    """Depthwise convolution, LayerNorm over channels, GELU, layer scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm, self.scale = nn.LayerNorm(width), nn.Parameter(torch.full((width,), 0.3))
        self.f = nn.Sequential(nn.Linear(width, 8), nn.GELU(), nn.Linear(8, width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(x).permute(0, 2, 3, 1)
        return x + (self.scale * self.f(self.norm(y))).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Self-attention with heads; causal where asked, the mask by ``where``."""

    def __init__(self, width: int, heads: int, *, causal: bool = False) -> None:
        super().__init__()
        self.qkv, self.out, self.heads = nn.Linear(width, 3 * width), nn.Linear(width, width), heads
        self.causal = causal

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        q, k, v = self.qkv(x).chunk(3, -1)
        q, k, v = (a.reshape(n, t, self.heads, -1).transpose(1, 2) for a in (q, k, v))
        scores = q @ k.transpose(-1, -2) / math.sqrt(c // self.heads)
        if self.causal:
            scores = torch.where(torch.ones(t, t).tril().bool(), scores, torch.tensor(-1e4))
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, t, c))


class Transformer(nn.Module):
    """Patches, class token, positions, two blocks."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.patch, self.token = nn.Conv2d(3, width, 4, 4), nn.Parameter(torch.randn(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, 5, width))
        mlp = (nn.LayerNorm(width), nn.Linear(width, 16), nn.GELU(), nn.Linear(16, width))
        self.blocks = nn.Sequential(
            Plus(nn.LayerNorm(width), Attention(width, 2)), Plus(*mlp),
            Plus(nn.LayerNorm(width), Attention(width, 2, causal=True)),
        )  # fmt: skip
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        return self.head(self.blocks(x)[:, 0])


class Lambda(nn.Module):
    """What has no module of its own in torch."""

    def __init__(self, f: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        return self.f(x)


def head(channels: int) -> tuple[nn.Module, ...]:
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 5)


def standardised(x: Tensor) -> Tensor:
    centred = x - x.mean((2, 3), keepdim=True)
    return centred / torch.sqrt(centred.pow(2).mean((2, 3), keepdim=True) + 1e-5)


def rolled(x: Tensor) -> Tensor:
    return torch.roll(x, (-1, 2), (2, 3)) * x[:, :, :1] + F.pad(x, (1, 2, -1, 1))[:, :, :, 3:]


def gated(x: Tensor) -> Tensor:
    a, b, _ = x.split([3, 3, 2], 1)
    return torch.cat([a * b.sigmoid(), torch.maximum(a, b), a.clamp(-0.5, 0.7)], 1)


IMAGE = (2, 3, 8, 8)
NETS: dict[str, tuple[Callable[[], nn.Module], Sizes]] = {
    "resnet": (lambda: nn.Sequential(
        conv_bn(3, 4, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        Plus(conv_bn(4, 4), nn.ReLU(), conv_bn(4, 4)), nn.ReLU(),
        Plus(conv_bn(4, 6, 3, 2), nn.ReLU(), conv_bn(6, 6), shortcut=conv_bn(4, 6, 1, 2)),
        nn.ReLU(), *head(6)), (2, 3, 16, 16)),
    "mobilenet": (lambda: nn.Sequential(
        conv_bn(3, 4, 3, 2), nn.ReLU6(),
        Plus(conv_bn(4, 8, 1), nn.ReLU6(), conv_bn(8, 8, 3, 1, 8), nn.ReLU6(), conv_bn(8, 4, 1)),
        conv_bn(4, 8, 1), nn.Hardswish(), conv_bn(8, 8, 5, 2, 8), nn.Hardswish(), *head(8)), IMAGE),
    "squeezenet": (lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True),
        Joined(nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU()),
               nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())),
        nn.Conv2d(8, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), IMAGE),
    "vgg": (lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1),
        nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(24, 8), nn.ReLU(), nn.Dropout(),
        nn.Linear(8, 5), nn.LogSoftmax(1)), IMAGE),
    "densenet": (lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        Joined(nn.Identity(), dense(4, 4)), Joined(nn.Identity(), dense(8, 4)),
        nn.Conv2d(12, 6, 1), nn.AvgPool2d(2), nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        *head(6)), IMAGE),
    "squeeze-excite": (lambda: nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.SiLU(), Gate(8, nn.Sigmoid()), Gate(8, nn.Hardsigmoid()),
        *head(8)), IMAGE),
    "unet-transposed": (lambda: Up(nn.ConvTranspose2d(4, 4, 4, 2, 1)), IMAGE),
    "unet-bilinear": (lambda: Up(nn.Upsample(scale_factor=2, mode="bilinear")), IMAGE),
    "unet-nearest": (lambda: Up(nn.Upsample(scale_factor=2)), IMAGE),
    "convnext": (lambda: nn.Sequential(
        nn.Conv2d(3, 4, 2, 2), ConvNext(4), ConvNext(4), *head(4)), IMAGE),
    "transformer": (Transformer, IMAGE),
    "conv1d": (lambda: nn.Sequential(
        nn.Conv1d(2, 4, 5, 2, dilation=2), nn.Tanh(), nn.Conv1d(4, 4, 3, groups=2), nn.LeakyReLU(),
        Lambda(lambda x: x.mean(-1)), nn.Linear(4, 3), nn.Softmax(-1)), (2, 2, 20)),
    "conv3d": (lambda: nn.Sequential(
        nn.Conv3d(2, 3, 3, padding=1), nn.ELU(), nn.MaxPool3d(2), nn.AdaptiveAvgPool3d(1),
        nn.Flatten()), (2, 2, 4, 4, 4)),
    "activations": (lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.PReLU(4), nn.Conv2d(4, 4, 3), nn.ELU(0.7), nn.Conv2d(4, 4, 1),
        nn.GELU("tanh"), Lambda(lambda x: x.abs().sqrt() + x.exp() * x.cos()), *head(4)), IMAGE),
    "standardised": (lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3), Lambda(standardised), nn.ReLU(), *head(4)), IMAGE),
    "rolled": (lambda: nn.Sequential(nn.Conv2d(3, 4, 1), Lambda(rolled), *head(4)), IMAGE),
    "gated": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), Lambda(gated), *head(9)), IMAGE),
}  # fmt: skip


def network(name: str) -> tuple[nn.Module, Tensor]:
    """Return an architecture in double, with statistics that are not 0 and 1, and an input."""
    torch.manual_seed(5)
    build, shape = NETS[name]
    net = build().double().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.normal_(0.3, 0.5)
            module.running_var.uniform_(0.5, 2)
    return net, torch.randn(shape, dtype=torch.float64)


def exported(net: nn.Module, x: Tensor, *, dynamic: bool) -> onnx.ModelProto:
    """Return the network in float32 as ONNX, operators as they were written."""
    file = io.BytesIO()
    axes = {"x": {0: "N"}, "y": {0: "N"}} if dynamic else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.float(), (x.float(),), file, dynamo=False, input_names=["x"], output_names=["y"],
            dynamic_axes=axes, opset_version=18, do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,
        )  # fmt: skip
    net.double()
    return onnx.load_from_string(file.getvalue())
