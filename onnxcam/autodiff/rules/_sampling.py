"""Reading a feature map between its pixels, written in operators that have gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

import numpy as np

from onnxcam.graph.emit import Emitter, Tensor, dtype_of, elem_type

Padding: TypeAlias = str  # "zeros", "border" or "reflection"


@dataclass(frozen=True)
class Tap:
    """One neighbour of a sample along one axis.

    Attributes:
        index: int64 [..., samples], inside the map.
        weight: Its weight, of the map's dtype; None for 1.
    """

    index: Tensor
    weight: Tensor | None


def size_of(op: Emitter, x: Tensor, axis: int, like: Tensor) -> Tensor:
    """Return a dimension as a scalar of the dtype of ``like``."""
    kind = dtype_of(like) or np.dtype(np.float32)
    size = op.dim(x, axis)
    if isinstance(size, int):
        return op.const(size, kind)
    return op.cast(op.Squeeze(size, axes=[0]), kind)


def reflected(op: Emitter, c: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Fold a coordinate into [low, high] as mirrors at both ends do."""
    span = op.Sub(high, low)
    folds = op.Abs(op.Sub(c, low))
    safe = op.Where(op.Greater(span, 0), span, op.const(1, dtype_of(c)))
    turns = op.Floor(op.Div(folds, safe))
    rest = op.Sub(folds, op.Mul(turns, safe))
    odd = op.Greater(op.Mod(turns, 2, fmod=1), 0)
    return op.Where(odd, op.Sub(high, rest), op.Add(low, rest))


def taps(
    op: Emitter,
    c: Tensor,
    size: Tensor,
    mode: str,
    outside: Callable[[Tensor], tuple[Tensor, Tensor | None]],
) -> list[Tap]:
    """Return the neighbours that a coordinate is interpolated from.

    Args:
        op: Emitter.
        c: Coordinates in pixels.
        size: How many pixels there are, a scalar of the dtype of ``c``.
        mode: "nearest", "linear" or "cubic" (convolution with a = -0.75).
        outside: Gives a pixel index (as float) inside the map, and 0 where it counts as zero.
    """
    if mode == "nearest":
        return [_tap(op, op.Round(c), None, outside)]
    base = op.Floor(c)
    t = op.Sub(c, base)
    if mode == "linear":
        weights = [(0, op.Sub(1, t)), (1, t)]
    else:
        distances = [(-1, op.Add(t, 1)), (0, t), (1, op.Sub(1, t)), (2, op.Sub(2, t))]
        weights = [(k, _cubic(op, d, far=k in (-1, 2))) for k, d in distances]
    return [_tap(op, op.Add(base, k) if k else base, w, outside) for k, w in weights]


def _cubic(op: Emitter, d: Tensor, *, far: bool, a: float = -0.75) -> Tensor:
    """Keys' kernel at a distance below 1, or (far) between 1 and 2."""
    if far:  # a d^3 - 5a d^2 + 8a d - 4a
        inner = op.Add(op.Mul(op.Sub(op.Mul(d, a), 5 * a), d), 8 * a)
        return op.Sub(op.Mul(inner, d), 4 * a)
    # (a + 2) d^3 - (a + 3) d^2 + 1
    return op.Add(op.Mul(op.Mul(op.Sub(op.Mul(d, a + 2), a + 3), d), d), 1)


def _tap(
    op: Emitter,
    pixel: Tensor,
    weight: Tensor | None,
    outside: Callable[[Tensor], tuple[Tensor, Tensor | None]],
) -> Tap:
    inside, present = outside(pixel)
    if present is not None:
        weight = present if weight is None else op.Mul(weight, present)
    return Tap(op.Cast(inside, to=elem_type(np.dtype(np.int64))), weight)


def keep_inside(
    op: Emitter, size: Tensor, padding: Padding, *, aligned: bool
) -> Callable[[Tensor], tuple[Tensor, Tensor | None]]:
    """Return what ``taps`` does with a pixel outside the map, by padding mode."""
    kind = dtype_of(size)
    zero, last = op.const(0, kind), op.Sub(size, 1)

    def clamped(pixel: Tensor) -> Tensor:
        return op.Min(op.Max(pixel, zero), last)

    def outside(pixel: Tensor) -> tuple[Tensor, Tensor | None]:
        if padding == "zeros":
            present = op.And(op.GreaterOrEqual(pixel, zero), op.LessOrEqual(pixel, last))
            return clamped(pixel), op.cast(present, pixel)
        if padding == "reflection":
            low = zero if aligned else op.const(-0.5, kind)
            high = last if aligned else op.Sub(size, 0.5)
            return clamped(op.Round(reflected(op, pixel, low, high))), None
        return clamped(pixel), None

    return outside


def sampled(op: Emitter, x: Tensor, axes: Sequence[Sequence[Tap]], space: int) -> Tensor:
    """Return sum over neighbours of weight times pixel, [N, C, Q].

    Args:
        op: Emitter.
        x: Feature map [N, C, ...space].
        axes: For every spatial axis its taps, index and weight [N, Q].
        space: How many spatial axes there are.
    """
    batch, channels = op.dim(x, 0), op.dim(x, 1)
    flat = op.Reshape(x, op.dims(0, 0, -1) if _fixed(x) else op.dims(batch, channels, -1))
    total: Tensor | None = None
    for corner in product(*axes):
        place = None
        for i, tap in enumerate(corner):
            if place is None:
                place = tap.index
                continue
            size = op.dim(x, i + 2)
            place = op.Add(op.Mul(place, size), tap.index)
        everywhere = op.Expand(op.Unsqueeze(place, axes=[1]), op.dims(1, channels, 1))
        value = op.GatherElements(flat, everywhere, axis=2)
        for tap in corner:
            if tap.weight is not None:
                value = op.Mul(value, op.cast(op.Unsqueeze(tap.weight, axes=[1]), x))
        total = value if total is None else op.Add(total, value)
    assert total is not None, "a sample has a corner at least"
    return total


def _fixed(x: Tensor) -> bool:
    return 0 not in (x.shape or ())
