"""Operators that write updates into data.

Where several updates meet in one place with reduction "none" ONNX leaves open which of them stays;
here each of them gets the gradient of that place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from onnxcam.autodiff.registry import NodeView, vjp
from onnxcam.autodiff.rules._exact import in_single
from onnxcam.autodiff.rules._moves import arange, scatter_add
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, shape_of

Grads = tuple[Tensor | None, ...]


@dataclass(frozen=True)
class _Places:
    """Where a scatter writes: ``gather(t)`` reads there, ``scatter(t, updates)`` writes there."""

    gather: Callable[[Tensor], Tensor]
    scatter: Callable[..., Tensor]
    add: Callable[[Tensor, Tensor], Tensor]


@vjp("ScatterElements", "Scatter")
def scatter_elements(op: Emitter, node: NodeView, dy: Tensor) -> Grads:
    """ddata = dy where nothing was written, dupdates = dy where they were; see _reduced."""
    indices, axis = node.inputs[1], node.attr("axis")
    places = _Places(
        lambda t: op.GatherElements(t, indices, axis=axis),
        lambda t, updates, **named: op.call(
            node.op_type, [t, indices, updates], {"axis": axis, **named}
        ),
        lambda t, updates: scatter_add(op, "ScatterElements", t, indices, updates, axis=axis),
    )
    return _scattered(op, node, dy, places)


@vjp("ScatterND")
def scatter_nd(op: Emitter, node: NodeView, dy: Tensor) -> Grads:
    """ddata = dy where nothing was written, dupdates = dy where they were; see _reduced."""
    indices = node.inputs[1]
    places = _Places(
        lambda t: op.GatherND(t, indices),
        lambda t, updates, **named: op.ScatterND(t, indices, updates, **named),
        lambda t, updates: scatter_add(op, "ScatterND", t, indices, updates),
    )
    return _scattered(op, node, dy, places)


@vjp("TensorScatter")
def tensor_scatter(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """dcache = dy where nothing was written, dupdate = dy where it was."""
    update, axis = node.inputs[1], int(node.attr("axis"))
    rank = len(shape_of(update) or ())
    axis %= rank
    steps = arange(op, op.dim(update, axis))
    where = op.Unsqueeze(steps, axes=[i for i in range(rank) if i != axis])
    if node.input(2) is not None:
        first = op.Cast(node.inputs[2], to=7)  # int64
        where = op.Add(where, op.Unsqueeze(first, axes=list(range(1, rank))))
    if node.attr("mode") == "circular":
        where = op.Mod(where, op.dim(dy, axis))
    where = op.Expand(where, op.shape(update))
    zeros = op.zeros_like(update, dtype_of(dy))
    dcache = op.ScatterElements(dy, where, zeros, axis=axis)
    return [dcache, op.GatherElements(dy, where, axis=axis), *[None] * (len(node.inputs) - 2)]


def _scattered(op: Emitter, node: NodeView, dy: Tensor, places: _Places) -> Grads:
    updates, reduction = node.inputs[2], node.attr("reduction", "none")
    if reduction == "none":
        zeros = op.zeros_like(updates, dtype_of(dy))
        return places.scatter(dy, zeros), None, places.gather(dy) if node.wants(2) else None
    if reduction == "add":
        return dy, None, places.gather(dy)
    return (_product if reduction == "mul" else _extremum)(op, node, dy, places)


def _product(op: Emitter, node: NodeView, dy: Tensor, places: _Places) -> Grads:
    """y = data times its updates: each gets dy times the product of the others.

    At an only zero that is the product without it, elsewhere y / itself. The second derivative
    is exact where no product has more than one zero.
    """
    data, updates, y = node.inputs[0], node.inputs[2], node.outputs[0]
    ones = op.Add(op.zeros_like(data), 1)
    factor = places.scatter(ones, updates, reduction="mul")  # of the updates of each place
    zero_data, zero_update = op.Equal(data, 0), op.Equal(updates, 0)
    zeros = places.add(op.cast(zero_data, dy), op.cast(zero_update, dy))
    others = places.scatter(
        op.Where(zero_data, 1, data), op.Where(zero_update, 1, updates), reduction="mul"
    )
    only = op.And(zero_update, op.Equal(places.gather(zeros), 1))
    quotient = op.Div(places.gather(y), op.Where(zero_update, 1, updates))
    slope = op.Where(only, places.gather(others), quotient)
    return op.Mul(dy, factor), None, op.Mul(places.gather(dy), slope)


def _extremum(op: Emitter, node: NodeView, dy: Tensor, places: _Places) -> Grads:
    """y = the extremum of data and its updates: dy is shared evenly by those equal to it."""
    node, dy = in_single(op, node, dy)
    data, updates, y = node.inputs[0], node.inputs[2], node.outputs[0]
    hit_data = op.cast(op.Equal(data, y), dy)
    hit_update = op.cast(op.Equal(updates, places.gather(y)), dy)
    share = op.Div(dy, places.add(hit_data, hit_update))
    return op.Mul(share, hit_data), None, op.Mul(places.gather(share), hit_update)
