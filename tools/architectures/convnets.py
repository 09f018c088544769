"""Convolutional networks: VGG, SqueezeNet, GoogLeNet, ResNet, RegNet, DenseNet."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from architectures.parts import (
    Concat,
    Network,
    Residual,
    SqueezeExcite,
    conv_bn,
    pooled_classifier,
)


def vgg(
    widths: Sequence[int], depths: Sequence[int], hidden: int, classes: int, grid: int
) -> Network:
    """VGG (Simonyan & Zisserman 2014): 3x3 convolutions, pools between, three linear layers."""
    layers: list[nn.Module] = []
    cin = 3
    for width, depth in zip(widths, depths, strict=True):
        for _ in range(depth):
            layers += [nn.Conv2d(cin, width, 3, padding=1), nn.ReLU()]
            cin = width
        layers.append(nn.MaxPool2d(2))
    head = nn.Sequential(
        nn.AdaptiveAvgPool2d(grid),
        nn.Flatten(),
        nn.Linear(cin * grid * grid, hidden),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(hidden, classes),
    )
    return Network(nn.Sequential(*layers[:-1]), nn.Sequential(layers[-1], *head))


def squeezenet(width: int, classes: int) -> Network:
    """SqueezeNet 1.1 (Iandola 2016): fire modules, pools that round up, a convolution last."""

    def fire(cin: int, squeeze: int, expand: int) -> nn.Sequential:
        small = nn.Sequential(nn.Conv2d(squeeze, expand, 1), nn.ReLU())
        large = nn.Sequential(nn.Conv2d(squeeze, expand, 3, padding=1), nn.ReLU())
        return nn.Sequential(nn.Conv2d(cin, squeeze, 1), nn.ReLU(), Concat(small, large))

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    w = width
    body = nn.Sequential(
        nn.Conv2d(3, 4 * w, 3, 2), nn.ReLU(), pool(),
        fire(4 * w, w, 4 * w), fire(8 * w, w, 4 * w), pool(),
        fire(8 * w, 2 * w, 8 * w), fire(16 * w, 2 * w, 8 * w), pool(),
        fire(16 * w, 3 * w, 12 * w), fire(24 * w, 3 * w, 12 * w),
        fire(24 * w, 4 * w, 16 * w), fire(32 * w, 4 * w, 16 * w),
    )  # fmt: skip
    head = nn.Sequential(
        nn.Dropout(), nn.Conv2d(32 * w, classes, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )  # fmt: skip
    return Network(body, head)


def googlenet(width: int, blocks: Sequence[int], classes: int) -> Network:
    """GoogLeNet (Szegedy 2014): inception modules and local response normalisation."""

    def relu_conv(cin: int, cout: int, kernel: int = 1, stride: int = 1) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(cin, cout, kernel, stride, kernel // 2), nn.ReLU())

    def inception(cin: int, w: int) -> nn.Module:
        return Concat(
            relu_conv(cin, 2 * w),
            nn.Sequential(relu_conv(cin, 2 * w), relu_conv(2 * w, 4 * w, 3)),
            nn.Sequential(relu_conv(cin, w), relu_conv(w, w, 5)),
            nn.Sequential(nn.MaxPool2d(3, 1, 1, ceil_mode=True), relu_conv(cin, w)),
        )

    w = width
    layers: list[nn.Module] = [
        relu_conv(3, 2 * w, 7, 2), nn.MaxPool2d(3, 2, ceil_mode=True), nn.LocalResponseNorm(5),
        relu_conv(2 * w, 2 * w), relu_conv(2 * w, 6 * w, 3), nn.LocalResponseNorm(5, 1e-3, 0.5, 2),
        nn.MaxPool2d(3, 2, ceil_mode=True),
    ]  # fmt: skip
    cin = 6 * w
    for i, depth in enumerate(blocks):
        for _ in range(depth):
            layers.append(inception(cin, w * (i + 1)))
            cin = 8 * w * (i + 1)
        if i + 1 < len(blocks):
            layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
    return Network(nn.Sequential(*layers), pooled_classifier(cin, classes))


def resnet(width: int, depths: Sequence[int], classes: int) -> Network:
    """ResNet (He 2015) of bottlenecks, the stride in their 3x3 convolution."""

    def bottleneck(cin: int, mid: int, stride: int) -> nn.Module:
        out = 4 * mid
        f = nn.Sequential(
            conv_bn(cin, mid, 1),
            conv_bn(mid, mid, 3, stride),
            conv_bn(mid, out, 1, activation=None),
        )
        project = stride > 1 or cin != out
        shortcut = conv_bn(cin, out, 1, stride, activation=None) if project else None
        return Residual(f, shortcut, nn.ReLU())

    stages: list[nn.Module] = [conv_bn(3, width, 7, 2), nn.MaxPool2d(3, 2, 1)]
    cin = width
    for i, depth in enumerate(depths):
        for j in range(depth):
            stages.append(bottleneck(cin, width << i, 2 if i and not j else 1))
            cin = 4 * width << i
    return Network(nn.Sequential(*stages), pooled_classifier(cin, classes))


def regnet(
    stem: int, widths: Sequence[int], depths: Sequence[int], group: int, classes: int
) -> Network:
    """RegNetY (Radosavovic 2020): grouped convolutions and squeeze-and-excitation."""

    def block(cin: int, out: int, stride: int) -> nn.Module:
        f = nn.Sequential(
            conv_bn(cin, out, 1),
            conv_bn(out, out, 3, stride, groups=out // group),
            SqueezeExcite(out, round(0.25 * cin)),
            conv_bn(out, out, 1, activation=None),
        )
        project = stride > 1 or cin != out
        shortcut = conv_bn(cin, out, 1, stride, activation=None) if project else None
        return Residual(f, shortcut, nn.ReLU())

    layers: list[nn.Module] = [conv_bn(3, stem, 3, 2)]
    cin = stem
    for width, depth in zip(widths, depths, strict=True):
        for j in range(depth):
            layers.append(block(cin, width, 1 if j else 2))
            cin = width
    return Network(nn.Sequential(*layers), pooled_classifier(cin, classes))


class _Dense(nn.Module):
    """x and what a pre-activated bottleneck makes of it."""

    def __init__(self, cin: int, growth: int) -> None:
        super().__init__()
        self.f = nn.Sequential(
            nn.BatchNorm2d(cin), nn.ReLU(), conv_bn(cin, 4 * growth, 1),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.f(x)], 1)


def densenet(growth: int, blocks: Sequence[int], classes: int) -> Network:
    """DenseNet-BC (Huang 2016): every layer sees all before it; average pools between."""
    cin = 2 * growth
    layers: list[nn.Module] = [conv_bn(3, cin, 7, 2), nn.MaxPool2d(3, 2, 1)]
    for i, depth in enumerate(blocks):
        for _ in range(depth):
            layers.append(_Dense(cin, growth))
            cin += growth
        layers += [nn.BatchNorm2d(cin), nn.ReLU()]
        if i + 1 < len(blocks):
            layers += [nn.Conv2d(cin, cin // 2, 1, bias=False), nn.AvgPool2d(2)]
            cin //= 2
    return Network(nn.Sequential(*layers), pooled_classifier(cin, classes))
