"""Maps for an output (U-Net, LR-ASPP, a detector), networks in time (LSTM, GRU) and in 3-D."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own habit

from architectures.mobile import Row, bottlenecks_v3
from architectures.parts import Network, Pair, conv_bn


def _double(cin: int, cout: int) -> nn.Sequential:
    return nn.Sequential(conv_bn(cin, cout), conv_bn(cout, cout, activation=nn.LeakyReLU))


class UNet(nn.Module):
    """U-Net (Ronneberger 2015), up by transposed convolutions or by bilinear resizing."""

    def __init__(self, width: int, levels: int, classes: int, *, transposed: bool) -> None:
        super().__init__()
        widths = [width << i for i in range(levels)]
        self.down = nn.ModuleList(_double(a, b) for a, b in zip([3, *widths], widths, strict=False))
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 2, 2) if transposed else nn.Conv2d(a, b, 1) for a, b in pairs
        )
        self.join = nn.ModuleList(_double(2 * b, b) for _, b in pairs)
        self.out, self.transposed = nn.Conv2d(width, classes, 1), transposed

    def forward(self, x: Tensor) -> Pair:
        skips: list[Tensor] = []
        for i, down in enumerate(self.down):
            x = down(F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        feature = skips.pop()
        y = feature
        for up, join in zip(self.up, self.join, strict=True):
            skip = skips.pop()
            y = up(y)
            if not self.transposed:
                y = F.interpolate(y, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            y = join(torch.cat([skip, y], 1))
        return self.out(y), feature


class LRASPP(nn.Module):
    """LR-ASPP (Howard 2019) on a dilated MobileNetV3: the feature is the gated, low map."""

    def __init__(
        self, low: Sequence[Row], high: Sequence[Row], last: int, inner: int, classes: int
    ) -> None:
        super().__init__()
        self.stem = conv_bn(3, 16, 3, 2, activation=nn.Hardswish)
        self.low = nn.Sequential(*bottlenecks_v3(16, low))
        deep = low[-1].channels
        self.high = nn.Sequential(
            *bottlenecks_v3(deep, high),
            conv_bn(high[-1].channels, last, 1, activation=nn.Hardswish),
        )
        self.value = conv_bn(last, inner, 1)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(last, inner, 1, bias=False), nn.Sigmoid()
        )
        self.from_low, self.from_high = nn.Conv2d(deep, classes, 1), nn.Conv2d(inner, classes, 1)

    def forward(self, x: Tensor) -> Pair:
        low = self.low(self.stem(x))
        high = self.high(low)
        feature = self.value(high) * self.gate(high)
        y = F.interpolate(feature, size=low.shape[-2:], mode="bilinear", align_corners=False)
        y = self.from_low(low) + self.from_high(y)
        return F.interpolate(y, size=x.shape[-2:], mode="bilinear", align_corners=False), feature


class Detector(nn.Module):
    """A pyramid of three levels, shared heads with group normalisation, boxes in pixels.

    Output [N, cells, 4 + classes]: centre and size of the box, then the classes' probabilities.
    """

    def __init__(self, width: int, classes: int, size: int) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width]
        self.stem = nn.Sequential(conv_bn(3, width, 3, 2), conv_bn(width, width, 3, 2))
        self.stages = nn.ModuleList(
            conv_bn(a, b, 3, 2) for a, b in zip([width, *widths], widths, strict=False)
        )
        self.lateral = nn.ModuleList(nn.Conv2d(w, width, 1) for w in widths)
        self.tower = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(2, width), nn.ReLU()
        )
        self.boxes, self.classes = nn.Conv2d(width, 4, 3, padding=1), nn.Conv2d(width, classes, 1)
        self.scales = nn.Parameter(torch.empty(3))
        grids = [self._grid(size >> level, 1 << level) for level in (3, 4, 5)]
        self.register_buffer("cells", torch.cat(grids))

    @staticmethod
    def _grid(count: int, stride: int) -> Tensor:
        """Return x, y and stride of the cells of one level, [count^2, 3]."""
        y, x = torch.meshgrid(*[torch.arange(count) + 0.5] * 2, indexing="ij")
        ones = torch.ones(count * count)
        return torch.stack([x.flatten() * stride, y.flatten() * stride, ones * stride], 1)

    def forward(self, x: Tensor) -> Pair:
        x = self.stem(x)
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        tops = [lateral(f) for lateral, f in zip(self.lateral, levels, strict=True)]
        for i in (1, 0):
            tops[i] = tops[i] + F.interpolate(tops[i + 1], scale_factor=2.0, mode="nearest")
        rows = []
        for i, top in enumerate(tops):
            y = self.tower(top)
            both = torch.cat([self.boxes(y) * self.scales[i], self.classes(y)], 1)
            rows.append(both.flatten(2).transpose(1, 2))
        found = torch.cat(rows, 1)
        moved, grown, scores = found[..., :2], found[..., 2:4], found[..., 4:]
        stride = self.cells[:, 2:]
        centre = (moved.tanh() * stride + self.cells[:, :2]) / 8
        extent = torch.exp(grown.clamp(max=2)) * stride / 8
        return torch.cat([centre, extent, scores.sigmoid()], -1), levels[0]


class _LastStep(nn.Module):
    """A recurrent network over [N, C, T]; its outputs, averaged over time and at the end."""

    def __init__(self, network: nn.LSTM | nn.GRU, classes: int) -> None:
        super().__init__()
        self.network = network
        width = network.hidden_size * (2 if network.bidirectional else 1)
        self.out = nn.Linear(width + network.hidden_size, classes)

    def forward(self, x: Tensor) -> Tensor:
        y, state = self.network(x.transpose(1, 2))
        last = state[0][-1] if isinstance(state, tuple) else state[-1]
        return self.out(torch.cat([y.mean(1), last], -1))


def sound(width: int, classes: int, *, gru: bool) -> Network:
    """Convolutions over time, then a bidirectional LSTM or two layers of GRU."""

    def block(cin: int, cout: int) -> list[nn.Module]:
        return [nn.Conv1d(cin, cout, 5, 2, 2), nn.BatchNorm1d(cout), nn.ELU()]

    body = nn.Sequential(*block(1, width), nn.MaxPool1d(3, 2, 1), *block(width, 2 * width))
    network = (
        nn.GRU(2 * width, width, num_layers=2, batch_first=True)
        if gru
        else nn.LSTM(2 * width, width, bidirectional=True, batch_first=True)
    )
    return Network(body, _LastStep(network, classes))


class _Mean3d(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3, 4), keepdim=True)


def volume(width: int, classes: int) -> Network:
    """A C3D-like network (Tran 2014) for [N, 1, D, H, W]."""

    def block(cin: int, cout: int) -> list[nn.Module]:
        return [nn.Conv3d(cin, cout, 3, padding=1), nn.BatchNorm3d(cout), nn.PReLU(cout)]

    body = nn.Sequential(
        *block(1, width), nn.MaxPool3d((1, 2, 2)), *block(width, 2 * width),
        nn.AvgPool3d(3, 2, 1, count_include_pad=False), *block(2 * width, 2 * width),
    )  # fmt: skip
    head = nn.Sequential(_Mean3d(), nn.Flatten(), nn.Linear(2 * width, classes), nn.LogSoftmax(1))
    return Network(body, head)
