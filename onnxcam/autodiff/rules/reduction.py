"""Reductions over axes, and the normalisations that are one reduction and a division."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from onnxcam.autodiff.cotangents import repeated
from onnxcam.autodiff.registry import NodeView, nondiff, vjp
from onnxcam.autodiff.rules._exact import in_single
from onnxcam.autodiff.rules._moves import alone, count
from onnxcam.errors import ModelError
from onnxcam.graph import ir
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, shape_of, static_shape
from onnxcam.graph.ops import Trait, has

nondiff("ArgMax", "ArgMin", "Hardmax", why="the output is an index: it is piecewise constant")


@vjp("ReduceSum")
def reduce_sum(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """dx = dy, at every element of its sum."""
    x = node.inputs[0]
    return alone(node, repeated(op, _kept(op, node, dy), op.shape(x)))


@vjp("ReduceMean")
def reduce_mean(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """dx = dy / n, at each of the n elements of its mean."""
    x = node.inputs[0]
    share = op.Mul(dy, _one_in(op, node, dy))
    return alone(node, repeated(op, _kept(op, node, share), op.shape(x)))


@vjp("ReduceMax", "ReduceMin")
def reduce_extremum(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """dx = dy where x is the extremum, shared evenly where several are."""
    node, dy = in_single(op, node, dy)
    x, y = node.inputs[0], _kept(op, node, node.outputs[0])
    hit = op.cast(op.Equal(x, y), dy)
    share = op.Div(_kept(op, node, dy), _again(op, node, "ReduceSum", hit))
    return alone(node, op.Mul(share, hit))


@vjp("ReduceProd")
def reduce_prod(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """dx = dy times the product of the others: y / x, or at an only zero the product without it.

    Exact at zeros; the second derivative is where no product has more than one.
    """
    x, y = node.inputs[0], _kept(op, node, node.outputs[0])
    zero = op.Equal(x, 0)
    only = op.And(zero, op.Equal(_again(op, node, "ReduceSum", op.cast(zero, dy)), 1))
    others = _again(op, node, "ReduceProd", op.Where(only, 1, x))
    slope = op.Where(only, others, op.Div(y, op.Where(zero, 1, x)))
    return alone(node, op.Mul(_kept(op, node, dy), slope))


@vjp("ReduceL1")
def reduce_l1(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """dx = dy sign(x), 0 at 0."""
    return alone(node, op.Mul(_kept(op, node, dy), op.Sign(node.inputs[0])))


@vjp("ReduceL2")
def reduce_l2(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """dx = dy x / y, 0 where the norm y is 0."""
    x, y = node.inputs[0], _kept(op, node, node.outputs[0])
    safe = op.Where(op.Equal(y, 0), 1, y)
    return alone(node, op.Mul(op.Div(_kept(op, node, dy), safe), x))


@vjp("ReduceSumSquare")
def reduce_sum_square(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """dx = 2 dy x."""
    return alone(node, op.Mul(_kept(op, node, op.Mul(dy, 2)), node.inputs[0]))


@vjp("ReduceLogSum")
def reduce_log_sum(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """dx = dy / sum(x) = dy exp(-y)."""
    slope = op.Mul(dy, op.Exp(op.Neg(node.outputs[0])))
    return alone(node, repeated(op, _kept(op, node, slope), op.shape(node.inputs[0])))


@vjp("ReduceLogSumExp")
def reduce_log_sum_exp(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """dx = dy exp(x - y)."""
    x, y = node.inputs[0], _kept(op, node, node.outputs[0])
    return alone(node, op.Mul(_kept(op, node, dy), op.Exp(op.Sub(x, y))))


@vjp("Softmax")
def softmax(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = a - y sum(a), with a = dy y."""
    y = _guarded(op, node.outputs[0])
    a = op.Mul(dy, y)
    return op.Sub(a, op.Mul(y, _axis_sum(op, node, a)))


@vjp("LogSoftmax")
def log_softmax(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy - exp(y) sum(dy)."""
    return op.Sub(dy, op.Mul(op.Exp(node.outputs[0]), _axis_sum(op, node, dy)))


@vjp("LpNormalization")
def lp_normalization(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = (dy - u sum(dy y)) / norm, with u = sign(x) for p = 1 and y for p = 2.

    0 where the norm is 0.
    """
    x, y, axis = node.inputs[0], node.outputs[0], node.attr("axis")
    one = node.attr("p") == 1
    norm = (op.ReduceL1 if one else op.ReduceL2)(x, axes=[axis], keepdims=1)
    along = op.ReduceSum(op.Mul(dy, y), axes=[axis], keepdims=1)
    across = op.Sub(dy, op.Mul(op.Sign(x) if one else y, along))
    zero = op.Equal(norm, 0)
    return op.Where(zero, 0, op.Div(across, op.Where(zero, 1, norm)))


@vjp("MeanVarianceNormalization")
def mean_variance_normalization(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = (g - c mean(g c) / (s (s + e))) less its mean, with g = dy / (s + e), e = 1e-9.

    c = x - mean(x), s its deviation; the second term is 0 where s is 0.
    """
    x, axes = node.inputs[0], list(node.attr("axes", [0, 2, 3]))

    def mean(value: Tensor) -> Tensor:
        return op.ReduceMean(value, axes=axes, keepdims=1)

    centred = op.Sub(x, mean(x))
    deviation = op.Sqrt(mean(op.Mul(centred, centred)))
    safe = op.Where(op.Equal(deviation, 0), 1, deviation)
    divisor = op.Add(deviation, 1e-9)
    g = op.Div(dy, divisor)
    bent = op.Div(mean(op.Mul(g, centred)), op.Mul(safe, divisor))
    inner = op.Sub(g, op.Mul(centred, bent))
    return op.Sub(inner, mean(inner))


def _guarded(op: Emitter, y: Tensor) -> Tensor:
    """Return a softmax with 0 for NaN where the model itself replaces values of it.

    Attention does so where every key of a row is masked. No gradient comes from there, but
    0 times NaN would let it poison all the others.
    """
    replaced = any(node.op in ("IsNaN", "Where") for node in _consumers(y))
    return op.Where(op.IsNaN(y), 0, y) if replaced else y


def _consumers(y: Tensor) -> Iterator[ir.Node]:
    """Yield the nodes that use a tensor, directly or cast."""
    for node in y.outputs:
        yield node
        if has(node, Trait.SAME):
            yield from _consumers(node.outputs[0])


def _kept(op: Emitter, node: NodeView, reduced: Tensor) -> Tensor:
    """Return a reduced tensor with the reduced dimensions as 1: it broadcasts against x."""
    axes = node.setting("axes", 1)
    if node.attr("keepdims") or axes is None:  # without axes: all are reduced, or none
        return reduced
    if isinstance(axes, list | np.ndarray):
        return op.Unsqueeze(reduced, axes=[int(a) for a in axes]) if len(axes) else reduced
    # The axes are computed, and may be none at all: ask the reduction itself.
    return op.Reshape(reduced, op.Shape(_again(op, node, node.op_type, node.inputs[0])))


def _again(op: Emitter, node: NodeView, op_type: str, x: Tensor) -> Tensor:
    """Reduce another tensor over the same axes, dimensions kept."""
    axes = node.setting("axes", 1)
    named: dict[str, Any] = {"axes": axes, "keepdims": 1}
    if node.attr("noop_with_empty_axes"):
        named["noop_with_empty_axes"] = 1
    reduced: Tensor = op.call(op_type, [x], named)
    return reduced


def _one_in(op: Emitter, node: NodeView, like: Tensor) -> Tensor | float:
    """Return 1 / n, where n elements of x make one of y."""
    x, y, axes = node.inputs[0], node.outputs[0], node.setting("axes", 1)
    shape = shape_of(x)
    if shape is not None and isinstance(axes, list | np.ndarray) and len(axes):
        if not all(-len(shape) <= int(a) < len(shape) for a in axes):
            raise ModelError(
                f"{node.op_type} {node.name or node.outputs[0].name!r} reduces axes "
                f"{[int(a) for a in axes]} of {len(shape)}",
                "export the model again",
            )
        dims = [d for d in (shape[int(a)] for a in axes) if isinstance(d, int)]
        if len(dims) == len(axes):
            return 1 / max(int(np.prod(dims)), 1)
    sizes = [static_shape(t) for t in (x, y)]
    if all(s is not None for s in sizes):
        whole, part = (int(np.prod(s)) for s in sizes if s is not None)
        return part / whole if whole else 1.0
    # Counted as integers, divided in float32: float16 ends at 65504.
    small = count(op, y)
    least = max(small, 1) if isinstance(small, int) else op.Max(small, 1)
    number = op.cast(op.Div(count(op, x), least), np.dtype(np.float32))
    return op.cast(op.Reciprocal(number), dtype_of(like) or np.dtype(np.float32))


def _axis_sum(op: Emitter, node: NodeView, x: Tensor) -> Tensor:
    """Sum over the axis of a softmax; before opset 13 over all dimensions from there on."""
    axis = int(node.attr("axis"))
    axes = [axis]
    if node.opset < 13:
        rank = len(shape_of(x) or ())
        axes = list(range(axis % max(rank, 1), rank))
    return op.ReduceSum(x, axes=axes, keepdims=1)
