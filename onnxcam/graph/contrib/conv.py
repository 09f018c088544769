"""Convolutions and pools with a sum and an activation fused into them, or channels last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnxcam.graph.contrib.activation import activated
from onnxcam.graph.contrib.definitions import define, rank_of
from onnxcam.graph.emit import Emitter, Tensor


@define("FusedConv")
def fused_conv(
    op: Emitter,
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    z: Tensor | None = None,
    *,
    activation: str = "",
    activation_params: Sequence[float] = (),
    **conv: Any,
) -> Tensor:
    """y = activation(conv(x, w) + b + z)."""
    y = op.Conv(x, w, b, **conv)
    y = y if z is None else op.Add(y, z)
    return activated(op, y, activation, *activation_params)


@define("NhwcConv", "NhwcFusedConv")
def nhwc_fused_conv(
    op: Emitter,
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    z: Tensor | None = None,
    **fused: Any,
) -> Tensor:
    """y = activation(conv(x, w) + b + z); x, z and y are channels last, w is not."""
    z = None if z is None else to_channels_first(op, z)
    return to_channels_last(
        op, fused_conv(op, to_channels_first(op, x), w, b, z, **fused), rank_of(x)
    )


@define("NhwcMaxPool")
def nhwc_max_pool(op: Emitter, x: Tensor, **pool: Any) -> Tensor:
    """The largest of each window; channels last."""
    return to_channels_last(op, op.MaxPool(to_channels_first(op, x), **pool), rank_of(x))


def to_channels_first(op: Emitter, x: Tensor) -> Tensor:
    """Return [N, ..., C] as [N, C, ...]."""
    rank = rank_of(x)
    return op.Transpose(x, perm=[0, rank - 1, *range(1, rank - 1)])


def to_channels_last(op: Emitter, x: Tensor, rank: int) -> Tensor:
    """Return [N, C, ...] as [N, ..., C]."""
    return op.Transpose(x, perm=[0, *range(2, rank), 1])
