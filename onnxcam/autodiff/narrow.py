"""Gradients that are zero but for a few rows are computed for these rows only.

Behind a class token the gradient of a transformer's last tensors has one row that is not zero:
the rule that takes the token apart writes it as a Pad. Through a node that does on some rows what
it does on all of them (a linear layer, a normalisation, an activation, a softmax) the gradient
of these rows alone is computed, from slices of the forward tensors, and padded again; the Pad in
between is never used. Nothing else is computed than before, only less of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import onnx_graphsurgeon as gs

from onnxcam.analysis.layout.rows import Rows, joined, passed
from onnxcam.autodiff.broadcast import unbroadcast
from onnxcam.autodiff.control.sequences import add as add_any
from onnxcam.autodiff.registry import Entry, NodeView
from onnxcam.graph.emit import Emitter, Tensor, const_value, shape_of

_SHARE = 4  # rows are worth slicing out when they are at most one in this many


def through(
    op: Emitter, node: NodeView, dys: Sequence[Tensor | None], entry: Entry
) -> Sequence[Tensor | None]:
    """Return the gradients of a node's inputs by its rule, for few rows where they are all.

    Args:
        op: Emitter.
        node: The node.
        dys: Gradients of its outputs.
        entry: Its rule.
    """
    small = _narrowed(op, node, dys)
    if small is None:
        return _listed(entry.rule(op, node, *dys))
    view, inner, needs = small
    grads = list(_listed(entry.rule(op, view, inner, *dys[1:])))
    for i, (dx, rows) in enumerate(zip(grads, needs, strict=False)):
        if dx is None or not node.wants(i):
            continue
        part = unbroadcast(op, dx, view.inputs[i]) if entry.broadcasts else dx
        grads[i] = part if rows is None else _widened(op, part, rows, node.inputs[i])
    return grads


def add(op: Emitter, a: Tensor, b: Tensor) -> Tensor:
    """Return the sum of two gradients of a tensor; of few rows where both have few."""
    first, second = few_rows(a), few_rows(b)
    hull = joined(first[1], second[1]) if first and second else None
    if hull is None or first is None or second is None:
        return add_any(op, a, b)
    parts = [_padded(op, x, r, hull.start, hull.stop - r.stop) for x, r in (first, second)]
    return _widened(op, op.Add(*parts), hull, a)


def few_rows(dy: Tensor) -> tuple[Tensor, Rows] | None:
    """Return the rows of a gradient that are not zero, and which; None where they are not few."""
    pads = _pads(dy)
    if pads is None:
        return None
    half = len(pads) // 2
    axes = [i for i in range(half) if pads[i] or pads[half + i]]
    inner, shape = dy.inputs[0].inputs[0], shape_of(dy)
    whole = shape[axes[0]] if shape is not None and len(axes) == 1 else None
    if not isinstance(whole, int) or min(pads) < 0:
        return None
    rows = Rows(axes[0], pads[axes[0]], whole - pads[half + axes[0]])
    return (inner, rows) if (rows.stop - rows.start) * _SHARE <= whole else None


def _pads(dy: Tensor) -> list[int] | None:
    """Return the pads where a gradient is a constant Pad with zeros, over all axes."""
    if not dy.inputs or dy.inputs[0].op != "Pad" or isinstance(dy, gs.Constant):
        return None
    node = dy.inputs[0]
    pads = const_value(node.inputs[1]) if len(node.inputs) > 1 else None
    plain = len(node.inputs) == 2 and node.attrs.get("mode", "constant") == "constant"
    return [int(p) for p in pads] if plain and pads is not None else None


def _narrowed(
    op: Emitter, node: NodeView, dys: Sequence[Tensor | None]
) -> tuple[NodeView, Tensor, Sequence[Rows | None]] | None:
    """Return the node as it is on the rows of its gradient, this gradient, its inputs' rows."""
    dy, *others = dys
    found = few_rows(dy) if dy is not None and not any(o is not None for o in others) else None
    needs = passed(node.raw, found[1]) if found is not None else None
    if found is None or needs is None or node.captures or len(node.outputs) > 1:
        return None
    inner, rows = found
    view = copy(node)
    view.outputs = [_sliced(op, node.outputs[0], rows)]
    view.inputs = [
        x if need is None else _sliced(op, x, need)
        for x, need in zip(node.inputs, needs, strict=True)
    ]
    return view, inner, needs


def _sliced(op: Emitter, x: Tensor, rows: Rows) -> Tensor:
    value = const_value(x)
    if value is not None:
        return op.const(value.take(range(rows.start, rows.stop), axis=rows.axis))
    return op.Slice(x, starts=[rows.start], ends=[rows.stop], axes=[rows.axis])


def _widened(op: Emitter, dx: Tensor, rows: Rows, like: Tensor) -> Tensor:
    """Put rows back between zeros."""
    whole = op.dim(like, rows.axis)
    if isinstance(whole, int):
        return op.typed(_padded(op, dx, rows, 0, whole - rows.stop), like)
    rank = len(shape_of(dx) or ())
    before, after = [0] * rank, [0] * rank
    before[rows.axis] = rows.start
    behind = op.Sub(whole, rows.stop)
    pads = op.dims(before, after[: rows.axis], behind, after[rows.axis + 1 :])
    return op.typed(op.Pad(dx, pads), like)


def _padded(op: Emitter, x: Tensor, rows: Rows, start: int, behind: int) -> Tensor:
    """Pad the rows so that they begin at ``start`` and ``behind`` more follow."""
    rank = len(shape_of(x) or ())
    pads = [0] * (2 * rank)
    pads[rows.axis], pads[rank + rows.axis] = rows.start - start, behind
    return op.Pad(x, pads=pads) if any(pads) else x


def _listed(grads: object) -> Sequence[Tensor | None]:
    return grads if isinstance(grads, tuple | list) else (grads,)
