"""Operators that pick elements: the gradient is put back where they came from, and added up."""

from __future__ import annotations

import numpy as np

from onnxcam.autodiff.cotangents import between_zeros
from onnxcam.autodiff.registry import NodeView, nondiff, vjp
from onnxcam.autodiff.rules._moves import (
    alone,
    arange,
    flat,
    like,
    scatter_add,
    zeros_of,
)
from onnxcam.autodiff.rules.shaping import unknown_rank
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, shape_of

nondiff("NonMaxSuppression", "NonZero", why="the output is an index: it is piecewise constant")


@vjp("Gather")
def gather(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """dx = dy added up at the indices."""
    x, indices = node.inputs
    axis = int(node.attr("axis"))
    only, shape = node.const(1), shape_of(x)
    if only is not None and only.size == 1 and only.ndim < 2 and shape is not None:
        row = dy if only.ndim else op.Unsqueeze(dy, axes=[axis % len(shape)])
        return alone(node, _at_its_place(op, x, row, axis % len(shape), int(only.item())))
    return alone(node, _put_rows(op, node, indices, dy, axis))


@vjp("GatherElements")
def gather_elements(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """dx = dy added up at the indices."""
    x, indices = node.inputs
    zeros = op.zeros_like(x, dtype_of(dy))
    axis = node.attr("axis")
    return alone(node, scatter_add(op, "ScatterElements", zeros, indices, dy, axis=axis))


@vjp("GatherND")
def gather_nd(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """dx = dy added up at the indices."""
    x, indices = node.inputs
    zeros = op.zeros_like(x, dtype_of(dy))
    batch = int(node.attr("batch_dims", 0))
    if batch:
        indices = _with_batch_indices(op, node, indices, batch)
    return alone(node, scatter_add(op, "ScatterND", zeros, indices, dy))


@vjp("Compress")
def compress(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """dx = dy at what was kept, 0 elsewhere."""
    x, condition = node.inputs
    kept = op.Squeeze(op.NonZero(condition), axes=[0])
    axis = node.attr("axis")
    if axis is not None:
        return alone(node, _put_rows(op, node, kept, dy, int(axis)))
    zeros = flat(op, op.zeros_like(x, dtype_of(dy)))
    return alone(node, like(op, op.ScatterElements(zeros, kept, dy, axis=0), x))


@vjp("TopK")
def top_k(op: Emitter, node: NodeView, dy: Tensor, *_: None) -> list[Tensor | None]:
    """dx = dy at the indices of the values, 0 elsewhere."""
    x, indices = node.inputs[0], node.output(1)
    if indices is None:
        indices = op.call(node.op_type, node.inputs, node.raw.attrs, outputs=2)[1]
    zeros = op.zeros_like(x, dtype_of(dy))
    return alone(node, op.ScatterElements(zeros, indices, dy, axis=node.attr("axis")))


@vjp("Unique")
def unique(op: Emitter, node: NodeView, dy: Tensor, *_: None) -> list[Tensor | None]:
    """dx = dy at the first occurrence of each value, 0 at the others."""
    x, first, axis = node.inputs[0], node.output(1), node.attr("axis")
    if first is None:
        first = op.call(node.op_type, node.inputs, node.raw.attrs, outputs=2)[1]
    if axis is not None:
        return [_put_rows(op, node, first, dy, int(axis))]
    zeros = flat(op, op.zeros_like(x, dtype_of(dy)))
    return [like(op, op.ScatterElements(zeros, first, dy, axis=0), x)]


@vjp("OneHot")
def one_hot(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor | None, ...]:
    """dvalues = [sum of dy where y is off, sum of dy where it is on]."""
    off_on = op.const([0, 1], dtype_of(node.inputs[2]))
    hot = node.emit_forward(op, [*node.inputs[:2], off_on])
    total, on = (op.Reshape(op.ReduceSum(t, keepdims=0), [1]) for t in (dy, op.Mul(dy, hot)))
    return None, None, op.Concat(op.Sub(total, on), on, axis=0)


@vjp("Trilu")
def trilu(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """dx = the same triangle of dy."""
    return alone(node, node.emit_forward(op, [dy, *node.inputs[1:]]))


@vjp("ReverseSequence")
def reverse_sequence(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """dx = dy reversed in the same way."""
    return alone(node, node.emit_forward(op, [dy, node.inputs[1]]))


@vjp("Range")
def range_(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor | None, ...]:
    """y_i = start + i delta: dstart = sum dy_i, ddelta = sum i dy_i; 0 for the limit."""
    steps = op.cast(arange(op, op.dim(node.outputs[0], 0)), dy)
    start, delta = (op.ReduceSum(t, keepdims=0) for t in (dy, op.Mul(dy, steps)))
    return start, None, delta


def _at_its_place(op: Emitter, x: Tensor, row: Tensor, axis: int, index: int) -> Tensor:
    """Put the one row that was picked back to its place."""
    whole, rank = op.dim(x, axis), len(shape_of(x) or ())
    before: int | Tensor
    after: int | Tensor
    if isinstance(whole, int):
        before, after = index % whole, whole - 1 - index % whole
    elif index < 0:
        before, after = op.Add(whole, index), -index - 1
    else:
        before, after = index, op.Sub(whole, index + 1)
    pads = [0] * axis + [before] + [0] * (rank - 1) + [after] + [0] * (rank - 1 - axis)
    return between_zeros(op, row, pads)


def _put_rows(op: Emitter, node: NodeView, indices: Tensor, dy: Tensor, axis: int) -> Tensor:
    """Add what was picked along an axis back: ScatterND, with that axis in front."""
    x, where = node.inputs[0], op.Unsqueeze(op.cast(indices, np.dtype(np.int64)), axes=[-1])
    if axis == 0:
        return scatter_add(op, "ScatterND", op.zeros_like(x, dtype_of(dy)), where, dy)
    shape, picked = shape_of(x), shape_of(indices)
    if shape is None or picked is None:
        raise unknown_rank(node)
    axis %= len(shape)
    order = [axis, *(i for i in range(len(shape)) if i != axis)]
    index_axes = range(axis, axis + len(picked))
    others = (i for i in range(len(shape) - 1 + len(picked)) if i not in index_axes)
    rows = op.Transpose(dy, perm=[*index_axes, *others])
    zeros = zeros_of(op, op.dims(*(op.dim(x, i) for i in order)), dy)
    added = scatter_add(op, "ScatterND", zeros, where, rows)
    return op.Transpose(added, perm=[int(i) for i in np.argsort(order)])


def _with_batch_indices(op: Emitter, node: NodeView, indices: Tensor, batch: int) -> Tensor:
    """Put the position in each of the leading batch dimensions before the indices."""
    shape = shape_of(indices)
    if shape is None:
        raise unknown_rank(node)
    rank = len(shape)
    column = op.dims(*(op.dim(indices, i) for i in range(rank - 1)), 1)
    columns = []
    for axis in range(batch):
        positions = arange(op, op.dim(indices, axis))
        spread = op.Unsqueeze(positions, axes=[i for i in range(rank) if i != axis])
        columns.append(op.Expand(spread, column))
    return op.Concat(*columns, indices, axis=-1)
