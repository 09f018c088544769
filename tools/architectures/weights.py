"""Random weights that keep every activation near 1, and inputs to go with them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from architectures import Architecture

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
_BATCH_NORMS = nn.modules.batchnorm._BatchNorm


def calibrated(net: nn.Module, x: Tensor, seed: int = 0) -> nn.Module:
    """Return the network, in place, with weights from a seed and batch statistics from ``x``.

    Nothing is 0 or 1 that a trained network has learnt: no scale, bias or head.

    Args:
        net: A network.
        x: A batch of inputs.
        seed: Of the weights.
    """
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in net.modules():
            for name, parameter in module.named_parameters(recurse=False):
                parameter.copy_(_value(module, name, parameter, random))
        _set_batch_statistics(net, x)
    return net.eval()


def inputs(architecture: Architecture, batch: int, *, full: bool = False, seed: int = 1) -> Tensor:
    """Return normal numbers, or word numbers, [batch, ...]."""
    random = torch.Generator().manual_seed(seed)
    shape = (batch, *(architecture.full_shape if full else architecture.shape))
    if architecture.words:
        return torch.randint(0, architecture.words, shape, generator=random)
    return torch.randn(shape, generator=random)


def _value(module: nn.Module, name: str, like: Tensor, random: torch.Generator) -> Tensor:
    normal = torch.randn(like.shape, generator=random)
    if name.startswith("bias"):
        return 0.1 * normal
    if isinstance(module, nn.PReLU) or name in ("scale", "scales"):
        return 0.2 + 0.6 * torch.rand(like.shape, generator=random)
    if isinstance(module, _NORMS):
        return 0.5 + torch.rand(like.shape, generator=random)
    if like.dim() < 2 or isinstance(module, nn.Embedding):
        return normal
    convolution = isinstance(module, nn.modules.conv._ConvNd)
    fan = like[0].numel()
    if isinstance(module, nn.ConvTranspose2d):
        fan = like.shape[0]
    return normal * math.sqrt((2 if convolution else 1) / fan)


def _set_batch_statistics(net: nn.Module, x: Tensor) -> None:
    """Run the network once with the batch normalisations, and only them, in training mode."""
    net.eval()
    norms = [m for m in net.modules() if isinstance(m, _BATCH_NORMS)]
    momentum = [m.momentum for m in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    net(x)
    for norm, old in zip(norms, momentum, strict=True):
        norm.momentum = old
