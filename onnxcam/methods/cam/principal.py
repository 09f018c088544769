"""The principal component of feature channels, in the graph and without a decomposition.

ONNX has no singular value decomposition. A symmetric matrix that is squared again and again comes
down to its largest eigenvalue: M^p = sum_i s_i^p v_i v_i^T, of which for a large p one term is
left. The power here is 2^14: where the second eigenvalue is 0.1 % below the first, it is left with
8e-8 of its part.
"""

from __future__ import annotations

from math import prod, tanh
from typing import Literal

import numpy as np

from onnxcam.autodiff.cotangents import one_hot
from onnxcam.graph.emit import Dim, Emitter, Tensor, dtype_of, shape_of
from onnxcam.methods.registry import Axes

_SQUARINGS = 14
Sign = Literal["sum", "range", "active"]


def projected(
    op: Emitter, x: Tensor, axes: Axes, *, centred: bool = True, sign: Sign = "sum"
) -> Tensor:
    """Return the channels at each position along their principal direction: X v, |v| = 1.

    Args:
        op: Emitter.
        x: Feature tensor; X is it as a matrix, a row for each position, a column for each channel.
        axes: Its axes.
        centred: Whether each column's mean is subtracted before.
        sign: Which of v and -v is taken, see :func:`_turned`.

    Returns:
        float32 of the shape of ``x`` with a channel axis of 1.
    """
    rows = _rows(op, x, axes, centred=centred)  # [N, S, C]
    turned = op.Transpose(rows, perm=[0, 2, 1])
    shape = shape_of(rows) or (None,) * 3
    if isinstance(shape[1], int) and (not isinstance(shape[2], int) or shape[1] <= shape[2]):
        u = eigenvector(op, op.MatMul(rows, turned), shape[1])  # [N, 1, S], of X X^T
        length = _norm(op, op.MatMul(u, rows))
        values = op.Mul(op.Transpose(u, perm=[0, 2, 1]), length)
    else:
        v = eigenvector(op, op.MatMul(turned, rows), shape[2])
        values = op.MatMul(rows, op.Transpose(v, perm=[0, 2, 1]))
    active = _active(op, _rows(op, x, axes, centred=False)) if sign == "active" else None
    return as_layer(op, _turned(op, values, rows, sign, active), x, axes)


def kernel_projected(op: Emitter, x: Tensor, axes: Axes) -> Tensor:
    """Return the first component of a kernel principal component analysis of the positions.

    The kernel is tanh(X X^T / C + 1) of the centred X, itself centred; the result is
    sqrt(s) u, with its largest eigenvalue s and the eigenvector u of that.
    """
    rows = _rows(op, x, axes, centred=True)
    channels = op.dim(rows, 2)
    count = float(channels) if isinstance(channels, int) else op.cast(channels, rows)
    inner = op.Div(op.MatMul(rows, op.Transpose(rows, perm=[0, 2, 1])), count)
    # tanh(z + 1) less the constant tanh(1), which centring takes off: nothing is left of small z
    # in the digits of tanh(z + 1) itself.
    bent, one = op.Tanh(inner), tanh(1)
    kernel = op.Div(op.Mul(bent, 1 - one**2), op.Add(op.Mul(bent, one), 1))
    left = op.ReduceMean(kernel, axes=[1], keepdims=1)
    right = op.ReduceMean(kernel, axes=[2], keepdims=1)
    centre = op.ReduceMean(kernel, axes=[1, 2], keepdims=1)
    kernel = op.Add(op.Sub(op.Sub(kernel, left), right), centre)
    size = (shape_of(rows) or (None,) * 3)[1]
    # Not all eigenvalues are positive: shifted, the largest one is the largest in size.
    shift = op.Sqrt(op.ReduceSum(op.Mul(kernel, kernel), axes=[1, 2], keepdims=1))
    shifted = op.Add(kernel, op.Mul(_eye(op, kernel, size), shift))
    u = eigenvector(op, shifted, size)  # [N, 1, S]
    stretched = op.MatMul(u, kernel)
    largest = op.ReduceSum(op.Mul(stretched, u), axes=[2], keepdims=1)
    values = op.Mul(op.Transpose(u, perm=[0, 2, 1]), op.Sqrt(op.Relu(largest)))
    active = _active(op, _rows(op, x, axes, centred=False))
    return as_layer(op, _turned(op, values, rows, "active", active), x, axes)


def eigenvector(op: Emitter, matrix: Tensor, size: Dim) -> Tensor:
    """Return the eigenvector of the largest eigenvalue of positive semidefinite matrices.

    Args:
        op: Emitter.
        matrix: float [N, m, m].
        size: m, where it is known.

    Returns:
        [N, 1, m] of length 1; 0 for a matrix of zeros.
    """
    for _ in range(_SQUARINGS):
        matrix = _scaled(op, matrix)
        matrix = op.MatMul(matrix, matrix)
    # s v v^T: each row is a multiple of v; that of the largest entry on the diagonal is longest.
    diagonal = op.ReduceSum(op.Mul(matrix, _eye(op, matrix, size)), axes=[2], keepdims=0)
    place = op.ArgMax(diagonal, axis=1, keepdims=0)
    kind = dtype_of(matrix) or np.dtype(np.float32)
    chosen = one_hot(op, place, op.dim(matrix, 1), kind)
    row = op.MatMul(op.Unsqueeze(chosen, axes=[1]), _scaled(op, matrix))
    length = _norm(op, row)
    return op.Div(row, op.Where(op.Equal(length, 0), 1, length))


def as_layer(op: Emitter, values: Tensor, x: Tensor, axes: Axes) -> Tensor:
    """Return values of the positions [N, S, 1] in the axes of a layer, with a channel axis of 1."""
    order = _order(axes)
    split = op.Reshape(values, op.dims(0, *(op.dim(x, i) for i in axes.space), 1))
    back = [order.index(i) for i in range(len(order))]
    return split if back == sorted(back) else op.Transpose(split, perm=back)


def _order(axes: Axes) -> list[int]:
    """Return the axes of a layer as batch, space, channel."""
    rank = len(axes.space) + 2
    (batch,) = set(range(rank)) - {axes.channel, *axes.space}
    return [batch, *axes.space, axes.channel]


def _rows(op: Emitter, x: Tensor, axes: Axes, *, centred: bool) -> Tensor:
    order = _order(axes)
    turned = x if order == sorted(order) else op.Transpose(x, perm=order)
    kind = dtype_of(x)
    turned = turned if kind == np.float64 else op.cast(turned, np.float32)
    sizes = [op.dim(x, i) for i in axes.space]
    known = [d for d in sizes if isinstance(d, int)]
    positions = prod(known) if len(known) == len(sizes) else -1
    rows = op.Reshape(turned, op.dims(0, positions, op.dim(x, axes.channel)))
    return op.Sub(rows, op.ReduceMean(rows, axes=[1], keepdims=1)) if centred else rows


def _turned(
    op: Emitter, values: Tensor, rows: Tensor, sign: Sign, active: Tensor | None = None
) -> Tensor:
    """Return the values [N, S, 1] or their negatives.

    "sum": so that they go with the sum of the channels (a scalar product over the positions from 0
    on). "range": so that the largest is at least as far from 0 as the smallest. "active": as "sum"
    where the features are activities, see :func:`_active`; else a sum of channels says nothing (it
    is 0 behind a layer normalisation), and the values' squares with their signs sum up to 0 or
    more: what differs from the mean is the smaller part, as an object is of a picture.
    """
    if sign == "range":
        low, high = (r(values, axes=[1, 2], keepdims=1) for r in (op.ReduceMin, op.ReduceMax))
        against = op.Greater(op.Abs(low), op.Abs(high))
    else:
        total = op.ReduceSum(rows, axes=[2], keepdims=1)
        agreed = op.ReduceSum(op.Mul(values, total), axes=[1, 2], keepdims=1)
        if active is not None:
            squares = op.ReduceSum(op.Mul(values, op.Abs(values)), axes=[1, 2], keepdims=1)
            agreed = op.Where(active, agreed, squares)
        against = op.Less(agreed, 0)
    return op.Where(against, op.Neg(values), values)


def _active(op: Emitter, rows: Tensor) -> Tensor:
    """Tell of which inputs the features are activities: bool [N, 1, 1].

    That is where the channels go at least three times as far above 0 as below it, summed up:
    behind ReLU and SiLU they do, behind a layer normalisation or in a residual stream they do not.
    """
    high, low = (r(rows, axes=[1], keepdims=1) for r in (op.ReduceMax, op.ReduceMin))
    above, below = (op.ReduceSum(op.Relu(t), axes=[2], keepdims=1) for t in (high, op.Neg(low)))
    return op.LessOrEqual(op.Mul(below, 3), above)


def _scaled(op: Emitter, matrix: Tensor) -> Tensor:
    """Return a matrix divided by its largest entry; 0 where all are."""
    largest = op.ReduceMax(op.Abs(matrix), axes=[1, 2], keepdims=1)
    return op.Div(matrix, op.Where(op.Equal(largest, 0), 1, largest))


def _norm(op: Emitter, row: Tensor) -> Tensor:
    return op.Sqrt(op.ReduceSum(op.Mul(row, row), axes=[2], keepdims=1))


def _eye(op: Emitter, like: Tensor, size: Dim) -> Tensor:
    """Return the identity [m, m] in the dtype of a tensor [N, m, m]."""
    if isinstance(size, int) and size <= 64:  # a constant, but none that a file notices
        return op.const(np.eye(size, dtype=dtype_of(like) or np.float32))
    ends = op.const(np.int64(0)), op.scalar(op.dims(op.dim(like, 1))), op.const(np.int64(1))
    each = op.Range(*ends)
    same = op.Equal(op.Unsqueeze(each, axes=[0]), op.Unsqueeze(each, axes=[1]))
    return op.cast(same, like)
