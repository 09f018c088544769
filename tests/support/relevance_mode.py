"""Relevance by autograd: torch's functions without the paths that AttnLRP and LibraGrad prune."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_NORMS = (functional.layer_norm, functional.group_norm, functional.instance_norm)
_CURVES = {
    *(
        functional.gelu,
        functional.silu,
        functional.hardswish,
        torch.sigmoid,
        Tensor.sigmoid,
        functional.hardsigmoid,
        functional.sigmoid,
    ),
}
_PRODUCTS = {
    *(torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, torch.baddbmm),
    *(torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__),
}
_SOFTMAX = {torch.softmax, Tensor.softmax, functional.softmax}
_ROOTS = {torch.rsqrt, Tensor.rsqrt}


class Relevance(TorchFunctionMode):
    """Makes torch's gradients, times the input, relevance.

    Args:
        attention_moves: See ``onnxcam.methods.lrp.attention.composite``.
    """

    def __init__(self, *, attention_moves: bool) -> None:
        super().__init__()
        self._moves = attention_moves

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # fmt: skip
        if func is functional.scaled_dot_product_attention:
            return self._attention(*args)
        if func is functional.multi_head_attention_forward:
            return self._heads(*args, **(kwargs or {})), None
        return self._changed(func, args, dict(kwargs or {}))

    def _changed(self, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if func in _NORMS:
            return _norm(func, *args, **kwargs)
        y = func(*args, **kwargs)
        moving = [a for a in args[:2] if isinstance(a, Tensor) and a.requires_grad]
        if func in _CURVES and moving:
            x = args[0]
            return x * (y / x).detach()
        if func in _ROOTS:
            return y.detach()
        if func in _SOFTMAX:
            return y if self._moves else y.detach()
        if func in _PRODUCTS and len(moving) == 2:
            return (y + y.detach()) / 2
        return y

    def _attention(self, q: Tensor, k: Tensor, v: Tensor, *_: Any, **__: Any) -> Tensor:
        scores = self._changed(torch.matmul, (q / q.shape[-1] ** 0.5, k.transpose(-1, -2)), {})
        weights = self._changed(torch.softmax, (scores, -1), {})
        return self._changed(torch.matmul, (weights, v), {})

    def _heads(
        self, x: Tensor, _k: Tensor, _v: Tensor, size: int, heads: int, weight: Tensor,
        bias: Tensor, *others: Any, **_: Any,
    ) -> Tensor:  # fmt: skip
        """Attention of x [tokens, N, size] with itself, as nn.MultiheadAttention has it."""
        q, k, v = (
            part.unflatten(-1, (heads, size // heads)).permute(1, 2, 0, 3)
            for part in functional.linear(x, weight, bias).chunk(3, -1)
        )
        y = self._attention(q, k, v).permute(2, 0, 1, 3).flatten(2)
        return functional.linear(y, *others[4:6])


def _norm(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
    """Return the same values, with a gradient that takes what is divided by as constant."""
    given = inspect.signature(func).bind(*args, **kwargs).arguments
    x, weight = given["input"], given.get("weight")
    if func is functional.layer_norm:
        groups, axes = x, tuple(range(-len(given["normalized_shape"]), 0))
    else:
        groups, axes = x.reshape(x.shape[0], given.get("num_groups", x.shape[1]), -1), (-1,)
        weight = None if weight is None else weight.view(1, -1, *[1] * (x.ndim - 2))
    root = (groups.detach().var(axes, unbiased=False, keepdim=True) + given.get("eps", 1e-5)).sqrt()
    moving = ((groups - groups.mean(axes, keepdim=True)) / root).reshape(x.shape)
    moving = moving if weight is None else moving * weight
    y: Tensor = func(*args, **kwargs).detach()
    return y + moving - moving.detach()
