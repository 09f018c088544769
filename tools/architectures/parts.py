"""What several architectures are built of."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

Pair: TypeAlias = tuple[Tensor, Tensor]
Activation: TypeAlias = Callable[[], nn.Module]


class Network(nn.Module):
    """``body`` makes the feature of an input, ``head`` the output of the feature.

    Whatever shape an architecture has, calling it returns (output, feature): a tensor in the
    middle is then known by name in every exported file.
    """

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, x: Tensor) -> Pair:
        feature = self.body(x)
        return self.head(feature), feature


class Residual(nn.Module):
    """after(x + f(x)); the shortcut may be a projection."""

    def __init__(
        self, f: nn.Module, shortcut: nn.Module | None = None, after: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.f, self.shortcut, self.after = f, shortcut or nn.Identity(), after or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.shortcut(x) + self.f(x))


class Concat(nn.Module):
    """The outputs of several branches, joined along the channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class SqueezeExcite(nn.Module):
    """x times a gate per channel, made from the channels' means."""

    def __init__(
        self,
        channels: int,
        hidden: int,
        activation: Activation = nn.ReLU,
        gate: Activation = nn.Sigmoid,
    ) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, hidden, 1),
            activation(),
            nn.Conv2d(hidden, channels, 1),
            gate(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)


def conv_bn(
    cin: int,
    cout: int,
    kernel: int = 3,
    stride: int = 1,
    *,
    groups: int = 1,
    dilation: int = 1,
    activation: Activation | None = nn.ReLU,
) -> nn.Sequential:
    """Return a padded convolution without bias, its normalisation and its activation."""
    pad = (kernel - 1) // 2 * dilation
    layers: list[nn.Module] = [
        nn.Conv2d(cin, cout, kernel, stride, pad, dilation, groups, bias=False),
        nn.BatchNorm2d(cout),
    ]
    return nn.Sequential(*layers, *([activation()] if activation else []))


def pooled_classifier(channels: int, classes: int) -> nn.Sequential:
    """Return mean over the positions, then a linear layer."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def rounded(channels: float, divisor: int = 8) -> int:
    """Return a multiple of ``divisor`` near a number of channels, at least 0.9 of it."""
    near = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return near + divisor if near < 0.9 * channels else near
