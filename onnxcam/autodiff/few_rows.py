"""Gradients that are zero but for a few rows are computed for these rows only.

Behind a class token the gradient of a transformer's last tensors has one row that is not zero:
the rule that takes the token apart puts it between zeros. Through a node that does on some rows
what it does on all of them (a linear layer, a normalisation, an activation, a softmax) the gradient
of these rows alone is computed, from slices of the forward tensors, and put between zeros again;
the padded tensor in between is never used. Nothing else is computed than before, only less of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

from onnxcam.analysis.layout.rows import Rows, joined, passed
from onnxcam.autodiff.broadcast import unbroadcast
from onnxcam.autodiff.control.sequences import add as add_any
from onnxcam.autodiff.cotangents import as_rows, between_zeros
from onnxcam.autodiff.registry import Entry, NodeView
from onnxcam.graph.emit import Emitter, Tensor, const_value, shape_of


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
    first, second = as_rows(op, a), as_rows(op, b)
    hull = joined(first[1], second[1]) if first and second else None
    if hull is None or first is None or second is None:
        return add_any(op, a, b)
    parts = [_padded(op, x, r, hull.start, hull.stop - r.stop) for x, r in (first, second)]
    return _widened(op, op.Add(*parts), hull, a)


def _narrowed(
    op: Emitter, node: NodeView, dys: Sequence[Tensor | None]
) -> tuple[NodeView, Tensor, Sequence[Rows | None]] | None:
    """Return the node as it is on the rows of its gradient, this gradient, its inputs' rows."""
    dy, *others = dys
    alone = not any(o is not None for o in others)
    found = as_rows(op, dy) if dy is not None and alone else None
    needs = passed(node.raw, found[1]) if found is not None else None
    if found is None or needs is None or node.captures or len(node.outputs) > 1:
        return None
    if any(need is not None and need.cycle for need in needs):
        return None  # of each input some: no run of rows
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
    behind = whole - rows.stop if isinstance(whole, int) else op.Sub(whole, rows.stop)
    return op.typed(_padded(op, dx, rows, 0, behind), like)


def _padded(op: Emitter, x: Tensor, rows: Rows, start: int, behind: int | Tensor) -> Tensor:
    """Pad the rows, of those from ``start`` on, so that ``behind`` more follow."""
    rank = len(shape_of(x) or ())
    pads: list[int | Tensor] = [0] * (2 * rank)
    pads[rows.axis], pads[rank + rows.axis] = rows.start - start, behind
    return between_zeros(op, x, pads)


def _listed(grads: object) -> Sequence[Tensor | None]:
    return grads if isinstance(grads, tuple | list) else (grads,)
