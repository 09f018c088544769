"""Which row of its input a node picks: Gather, GatherElements, GatherND, and Slice to one row."""

from __future__ import annotations

import numpy as np

from onnxcam.analysis.layout.row_rules import Rows
from onnxcam.graph import ir
from onnxcam.graph.emit import Dim, Tensor, const_value, shape_of


def gathered(node: ir.Node) -> Rows | None:
    """Return the one row (of each input) that a node picks; None for more, or another node."""
    if node.op == "GatherND":
        return _of_tuples(node)
    rank = len(shape_of(node.inputs[0]) or ())
    axis = int(node.attrs.get("axis", 0)) % max(rank, 1)
    indices = node.inputs[1]
    if node.op == "Gather":
        shape = shape_of(indices)
        single = shape is not None and all(d == 1 for d in shape)
    else:
        shape = shape_of(indices) or ()
        single = len(shape) > axis and shape[axis] == 1
    return _row(node.inputs[0], axis, const_value(indices)) if single else None


def sliced(node: ir.Node, axis: int) -> Rows | None:
    """Return the one row that a Slice with computed limits leaves; None for more."""
    before, after = (shape_of(t) for t in (node.inputs[0], node.outputs[0]))
    if before is None or after is None or after[axis] != 1 or before[axis] == 1:
        return None
    return Rows(axis, 0, 1, computed=True)


def inside(x: Tensor, axis: int, start: int, stop: int | None) -> Rows | None:
    """Return rows as numbers from the front, None where the axis is not long enough known."""
    size = (shape_of(x) or (None,) * (axis + 1))[axis]
    if isinstance(size, int):
        start, stop, _ = slice(start, stop).indices(size)
        return Rows(axis, start, max(start, stop))
    if start < 0 or stop is None or stop < 0 or stop > np.iinfo(np.int32).max:
        return None
    return Rows(axis, start, stop)


def _row(
    x: Tensor, axis: int, picked: np.ndarray[tuple[int, ...], np.dtype[np.int64]] | None
) -> Rows | None:
    if picked is None or not picked.size or (picked != picked.flat[0]).any():
        return Rows(axis, 0, 1, computed=True)
    row = int(picked.flat[0])
    return inside(x, axis, row, row + 1 or None)


def _of_tuples(node: ir.Node) -> Rows | None:
    """Return the row of the last axis that a GatherND indexes, where it is one for each input."""
    x, indices = node.inputs
    batch = int(node.attrs.get("batch_dims", 0))
    shape, source = shape_of(indices), shape_of(x)
    if shape is None or source is None or not shape or not isinstance(shape[-1], int):
        return None
    axis = batch + shape[-1] - 1
    if axis == 0 or not _one_each(list(shape[batch:-1]), source[0], batch):
        return None
    value = const_value(indices)
    return _row(x, axis, None if value is None else value[..., -1])


def _one_each(tuples: list[Dim], inputs: Dim, batch: int) -> bool:
    """Tell whether there is one tuple of indices for each input."""
    if not batch and tuples and tuples[0] == inputs:
        tuples = tuples[1:]
    return all(d == 1 for d in tuples)
