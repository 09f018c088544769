"""Adjoints of Fourier transforms, whose size and axis may be known at run time only."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxcam.autodiff.cotangents import between_zeros
from onnxcam.graph.emit import Emitter, Tensor, const_value, shape_of

Size = int | Tensor  # known, or an int64 [1] tensor


def adjoint(op: Emitter, dy: Tensor, size: Size, axis: Size, *, onesided: bool) -> Tensor:
    """Return N IDFT(dy), the adjoint of the transform of N complex samples.

    Args:
        op: Emitter.
        dy: Cotangent of the spectrum; of a one-sided one the other half counts as zero.
        size: N.
        axis: Of the transform.
        onesided: Whether the spectrum was cut.
    """
    if onesided:
        dy = fitted(op, dy, axis, size)
    dx = _transformed(op, dy, size, axis, inverse=1)
    return op.Mul(dx, _factor(op, size, dx))


def inverse_adjoint(op: Emitter, dy: Tensor, size: Size, axis: Size, *, onesided: bool) -> Tensor:
    """Return DFT(dy) / N, the adjoint of the inverse transform to N samples.

    One-sided, every frequency but the first and (for even N) the last had stood for two.
    """
    dx = _transformed(op, dy, size, axis, onesided=int(onesided))
    dx = op.Div(dx, _factor(op, size, dx))
    if not onesided:
        return dx
    half = np.int64(size // 2) if isinstance(size, int) else op.Div(scalar(op, size), 2)
    bins = op.Range(np.int64(0), op.Add(half, np.int64(1)), np.int64(1))
    alone = op.Or(op.Equal(bins, 0), op.Equal(op.Mul(bins, 2), scalar(op, size)))
    weights = op.cast(op.Where(alone, np.int64(1), np.int64(2)), dx)
    return ranked(op, op.Mul(dx, op.Reshape(weights, _shape_along(op, dx, axis))), dx)


def _transformed(op: Emitter, x: Tensor, size: Size, axis: Size, **settings: Any) -> Tensor:
    y: Tensor = op.DFT(x, dft_length=scalar(op, size), axis=scalar(op, axis), **settings)
    return ranked(op, y, x)


def ranked(op: Emitter, y: Tensor, x: Tensor) -> Tensor:
    """Return y with the rank of x, which a DFT keeps even where onnx does not see that."""
    shape = shape_of(x)
    if shape_of(y) is not None or shape is None:
        return y
    return op.learn(op.named(y, op.fresh("ranked")), op.variable("like", None, [None] * len(shape)))


def size_along(op: Emitter, x: Tensor, axis: Size) -> Size:
    """Return a dimension of x."""
    return op.dim(x, axis) if isinstance(axis, int) else op.Gather(op.Shape(x), axis, axis=0)


def given_size(op: Emitter, tensor: Tensor | None) -> Size | None:
    """Return a size or axis that a node is given as an input, None where it is omitted."""
    return None if tensor is None else size_of(op, tensor)


def size_of(op: Emitter, tensor: Tensor) -> Size:
    """Return a size or axis that a tensor holds."""
    value = const_value(tensor)
    if value is not None:
        return int(value)
    return op.Reshape(op.cast(tensor, np.dtype(np.int64)), [1])


def scalar(op: Emitter, size: Size) -> Any:
    """Return a size as operators take it: int64 without dimensions."""
    return np.int64(size) if isinstance(size, int) else op.Squeeze(size, axes=[0])


def fitted(op: Emitter, x: Tensor, axis: Size, size: Size) -> Tensor:
    """Return x cut off or filled up with zeros to a size along an axis."""
    have = size_along(op, x, axis)
    if isinstance(have, int) and isinstance(size, int):
        if have >= size:
            return x if have == size else op.Slice(x, [0], [size], op.dims(axis))
        missing: Size = size - have
    else:
        x = ranked(op, op.Slice(x, [0], op.dims(size), op.dims(axis)), x)
        missing = op.Max(op.Sub(op.dims(size), op.dims(have)), 0)
    shape = shape_of(x)
    if shape is None or not isinstance(axis, int):
        return ranked(op, op.Pad(x, op.dims(0, missing), axes=op.dims(axis)), x)
    rank = len(shape)
    pads: list[Size] = [0] * (2 * rank)
    pads[rank + axis % rank] = missing
    return between_zeros(op, x, pads)


def _factor(op: Emitter, size: Size, like: Tensor) -> Any:
    return size if isinstance(size, int) else op.cast(size, like)


def _shape_along(op: Emitter, x: Tensor, axis: Size) -> Tensor:
    """Return the shape that a vector needs to be multiplied along an axis of x: [1, -1, 1]."""
    known = shape_of(x)
    if known is not None and isinstance(axis, int):
        return op.dims(*(-1 if i == axis % len(known) else 1 for i in range(len(known))))
    rank = op.Squeeze(op.Shape(op.Shape(x)), axes=[0])
    places = op.Range(np.int64(0), rank, np.int64(1))
    place = op.Mod(op.Add(op.dims(axis), rank), rank)
    return op.Where(op.Equal(places, place), np.int64(-1), np.int64(1))
