"""MobileNetV2 and a ViT with weights that are not degenerate, as torch and keras modules."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from survey.networks import Subject, made
from torch import nn

SHAPE, CLASSES = (3, 192, 256), 17


@cache
def network(name: str) -> nn.Module:
    """Return a network of torchvision's (MobileNetV2) or timm's (ViT) code."""

    def mobilenet() -> nn.Module:
        import torchvision

        net: nn.Module = torchvision.models.mobilenet_v2(
            weights=None, num_classes=CLASSES, width_mult=0.5
        )
        return net

    def vit() -> nn.Module:
        import timm

        net: nn.Module = timm.create_model(
            "vit_tiny_patch16_224", num_classes=CLASSES, img_size=SHAPE[1:], depth=3, embed_dim=96
        )
        return net

    build = {"MobileNetV2": mobilenet, "ViT": vit}[name]
    return made(Subject("torch", name, build, SHAPE, "")).net


def keras_network(name: str, shape: tuple[int, int, int]) -> Any:
    """Return keras's own MobileNetV2, or the ViT of keras layers."""
    from survey.more import keras_afresh

    from forms.makers import keras_vit

    def mobilenet() -> nn.Module:
        net: nn.Module = keras_afresh().applications.MobileNetV2(
            weights=None, input_shape=shape, classes=CLASSES, classifier_activation=None, alpha=0.5
        )
        for layer in net.layers:  # type: ignore[union-attr]
            if hasattr(layer, "beta"):  # as in makers.py: a random network is to bear rounding
                layer.beta.assign(2.0 + 0.1 * torch.randn(layer.beta.shape))
        return net

    def vit() -> nn.Module:
        net: nn.Module = keras_vit(keras_afresh())
        return net

    build = {"MobileNetV2": mobilenet, "ViT": vit}[name]
    net = made(Subject("keras", name, build, shape, "")).net
    torch.set_grad_enabled(True)
    return net
