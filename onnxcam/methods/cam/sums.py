"""Sums over channels and positions that methods have in common.

Where the axes say so the channels are put together by their principal component instead.
"""

from __future__ import annotations

import numpy as np

from onnxcam.autodiff.cotangents import as_narrow
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, shape_of
from onnxcam.methods.cam.principal import projected
from onnxcam.methods.registry import Axes


def weighted_sum(op: Emitter, weights: Tensor, a: Tensor, axes: Axes) -> Tensor:
    """Return sum_k w_k A_k over the channels, which stay as an axis of 1.

    Args:
        op: Emitter.
        weights: The rank of ``a``; 1 along its space, or a weight for every position.
        a: Feature tensor.
        axes: Its axes.
    """
    if axes.principal:
        return projected(op, op.Mul(weights, a), axes)
    rank = len(axes.space) + 2
    usual = axes.channel in (1, rank - 1) and 0 not in (axes.channel, *axes.space)
    if not (usual and _is_narrow(weights, axes)):
        return channel_sum(op, op.Mul(weights, a), axes)
    # A matrix product per input is faster than a product and a sum: [1, C] [C, space].
    if axes.channel == 1:
        product = op.MatMul(op.Reshape(weights, [0, 1, -1]), op.Reshape(a, [0, 0, -1]))
        return reshaped(op, product, 1, *(op.dim(a, i) for i in axes.space))
    flat = reshaped(op, a, -1, op.dim(a, rank - 1))
    product = op.MatMul(flat, op.Reshape(weights, [0, -1, 1]))
    return reshaped(op, product, *(op.dim(a, i) for i in axes.space), 1)


def narrow(op: Emitter, x: Tensor, axes: Axes) -> Tensor:
    """Return x, 1 along its space where it is known to be the same at every position.

    A gradient behind global average pooling is: what is computed of it takes no time then.
    """
    small = as_narrow(op, x, axes.space)
    return x if small is None else small


def _is_narrow(x: Tensor, axes: Axes) -> bool:
    shape = shape_of(x)
    return shape is not None and all(shape[i] == 1 for i in axes.space)


def reshaped(op: Emitter, x: Tensor, *dims: int | Tensor) -> Tensor:
    """Return x in another shape behind its first axis.

    Args:
        op: Emitter.
        x: Tensor.
        dims: The other dimensions: ints (one may be -1), or int64 [1] tensors.
    """
    return op.Reshape(x, op.dims(0, *dims))  # 0: the dimension stays as it is


def channel_sum(op: Emitter, x: Tensor, axes: Axes) -> Tensor:
    """Return the sum over the channels, which stay as an axis of 1."""
    if axes.principal:
        return projected(op, x, axes)
    return op.ReduceSum(x, axes=[axes.channel], keepdims=1)


def space_sum(op: Emitter, x: Tensor, axes: Axes, like: Tensor | None = None) -> Tensor:
    """Return the sum over the positions, which stay as axes of 1.

    Args:
        op: Emitter.
        x: Tensor; it may be narrow where ``like`` is given.
        axes: Its axes.
        like: A tensor with all positions.
    """
    if like is None or not _is_narrow(x, axes):
        return op.ReduceSum(x, axes=list(axes.space), keepdims=1)
    positions = op.ReduceProd(op.dims(*(op.dim(like, i) for i in axes.space)), keepdims=0)
    return op.Mul(x, op.cast(positions, x))


def space_mean(op: Emitter, x: Tensor, axes: Axes) -> Tensor:
    """Return the mean over the positions, which stay as axes of 1; free where all are the same."""
    small = as_narrow(op, x, axes.space)
    return op.ReduceMean(x, axes=list(axes.space), keepdims=1) if small is None else small


def space_product(op: Emitter, a: Tensor, g: Tensor, axes: Axes) -> Tensor:
    """Return the sum over the positions of A g, which stay as axes of 1; ``g`` may be narrow."""
    if _is_narrow(g, axes):
        return op.Mul(space_sum(op, a, axes), g)
    return space_sum(op, op.Mul(a, g), axes)


def largest(op: Emitter, x: Tensor, axes: Axes) -> Tensor:
    """Return the largest absolute value among the channels, which stay as an axis of 1."""
    return op.ReduceMax(op.Abs(x), axes=[axes.channel], keepdims=1)


def ratio(op: Emitter, above: Tensor, below: Tensor) -> Tensor:
    """Return above / below, 0 where below is 0."""
    return op.Div(above, op.Where(op.Equal(below, 0), np.inf, below))


def stretched(op: Emitter, x: Tensor, axes: Axes) -> Tensor:
    """Return |x| of each channel from 0, its smallest value, to 1, its largest; else 0.

    A channel that is the same everywhere but for its rounding has no shape: it is 0, not noise.
    """
    size, space = op.Abs(x), list(axes.space)
    low, high = (f(size, axes=space, keepdims=1) for f in (op.ReduceMin, op.ReduceMax))
    even = 16 * float(np.finfo(dtype_of(x) or np.float32).eps)
    extent = op.Sub(high, low)
    flat = op.LessOrEqual(extent, op.Mul(high, even))
    return op.Div(op.Sub(size, low), op.Where(flat, np.inf, extent))
