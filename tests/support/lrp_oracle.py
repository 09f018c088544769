"""LRP as its papers state it, relevance by relevance: no code and no formulation of onnxcam's."""

from __future__ import annotations

from collections.abc import Collection
from copy import deepcopy

import torch
from torch import Tensor, nn

_LINEAR = (nn.Conv2d, nn.Linear, nn.AvgPool2d, nn.Flatten, nn.MaxPool2d)
_CURVES = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.LeakyReLU, nn.Tanh)


def relevance(
    layers: nn.Sequential,
    x: Tensor,
    target: int,
    *,
    epsilon: float = 1e-6,
    gamma: float = 0.25,
    with_gamma: Collection[int] = (),
    alpha: float | None = None,
    first: str = "",
) -> Tensor:
    """Return the relevance of each input of a chain of layers, in double precision.

    Args:
        layers: Linear layers, activations and pools.
        x: Inputs [N, ...].
        target: The class whose score is the relevance of the output.
        epsilon: Of both rules.
        gamma: Of the gamma rule.
        with_gamma: The numbers of the convolutions, from 0, that have the gamma rule.
        alpha: Of the alpha-beta rule, which all other convolutions have; None for none.
        first: "flat", "w2" or "box" for the first convolution: the box is that of each input.
    """
    chain = list(deepcopy(layers).double())
    values = [x.double()]
    for layer in chain:
        values.append(layer(values[-1]).detach())
    r = torch.zeros_like(values[-1])
    r[:, target] = values[-1][:, target]
    convolutions = [layer for layer in chain if isinstance(layer, nn.Conv2d)]
    early = [convolutions[i] for i in with_gamma]
    for layer, a in zip(chain[::-1], values[-2::-1], strict=True):
        if isinstance(layer, _CURVES):
            continue
        assert isinstance(layer, _LINEAR), layer
        if first and layer is convolutions[0]:
            r = _FIRST[first](layer, a, r, epsilon)
        elif alpha is not None and isinstance(layer, nn.Conv2d):
            r = _alpha_beta(layer, a, r, alpha, epsilon)
        elif any(layer is each for each in early):
            r = _gamma(layer, a, r, gamma, epsilon)
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            r = a * _back(layer, a, r / _away_from_zero(layer(a), epsilon))
        elif isinstance(layer, nn.AvgPool2d):
            r = a * _back(layer, a, r / _away_from_zero(layer(a), 1e-12))
        else:
            r = _back(layer, a, r)
    return r.detach()


def _gamma(layer: nn.Conv2d, a: Tensor, r: Tensor, gamma: float, epsilon: float) -> Tensor:
    """The general rule: contributions of the sign of the output count 1 + gamma times."""
    z, total = layer(a), torch.zeros_like(a)
    for sign in (1, -1):
        rising, falling = deepcopy(layer), deepcopy(layer)
        with torch.no_grad():
            rising.weight += gamma * (sign * layer.weight).clamp(min=0) * sign
            falling.weight += gamma * (sign * layer.weight).clamp(max=0) * sign
            falling.bias = None
            if layer.bias is not None:
                rising.bias += gamma * (sign * layer.bias).clamp(min=0) * sign
        up, down = a.clamp(min=0), a.clamp(max=0)
        z_sign = rising(up) + falling(down)
        s = torch.where(z * sign > 0, r / (z_sign + epsilon * sign), 0)
        total = total + up * _back(rising, up, s) + down * _back(falling, down, s)
    return total


def _parted(layer: nn.Module, *, up: bool, bias: bool) -> nn.Module:
    """Return a layer with its positive (or negative) weights only."""
    part = deepcopy(layer)
    for name, values in part.named_parameters():
        kept = values.clamp(min=0) if up else values.clamp(max=0)
        values.data = kept.detach() if bias or name == "weight" else torch.zeros_like(values)
    return part


def _alpha_beta(layer: nn.Module, a: Tensor, r: Tensor, alpha: float, epsilon: float) -> Tensor:
    total, low, high = torch.zeros_like(a), a.clamp(max=0), a.clamp(min=0)
    for weight, up in (alpha, True), (1 - alpha, False):
        own, other = (_parted(layer, up=u, bias=u == up) for u in (up, not up))
        s = r / _away_from_zero(own(high) + other(low), epsilon)
        total = total + weight * (high * _back(own, high, s) + low * _back(other, low, s))
    return total


def _spread(layer: nn.Module, a: Tensor, r: Tensor, epsilon: float) -> Tensor:
    ones = torch.ones_like(a)
    return _back(layer, ones, r / _away_from_zero(layer(ones), epsilon))


def _flat(layer: nn.Module, a: Tensor, r: Tensor, epsilon: float) -> Tensor:
    even = deepcopy(layer)
    for name, values in even.named_parameters():
        values.data = torch.full_like(values, float(name == "weight"))
    return _spread(even, a, r, epsilon)


def _w2(layer: nn.Module, a: Tensor, r: Tensor, epsilon: float) -> Tensor:
    square = deepcopy(layer)
    for values in square.parameters():
        values.data = values.data**2
    return _spread(square, a, r, epsilon)


def _box(layer: nn.Module, a: Tensor, r: Tensor, epsilon: float) -> Tensor:
    low, high = (f(a, (1, 2, 3), True).expand_as(a) for f in (torch.amin, torch.amax))
    parts = [(a, layer, 1), (low, _parted(layer, up=True, bias=True), -1)]
    parts.append((high, _parted(layer, up=False, bias=True), -1))
    s = r / _away_from_zero(sum(sign * part(x) for x, part, sign in parts), epsilon)
    return sum(sign * x * _back(part, x, s) for x, part, sign in parts)


_FIRST = {"flat": _flat, "w2": _w2, "box": _box}


def _away_from_zero(z: Tensor, epsilon: float) -> Tensor:
    return z + epsilon * torch.where(z < 0, -1, 1)


def _back(layer: nn.Module, a: Tensor, s: Tensor) -> Tensor:
    """Return the sum over outputs of s times what they change with each input."""
    leaf = a.detach().clone().requires_grad_()
    (found,) = torch.autograd.grad(layer(leaf), leaf, s.detach())
    return found
