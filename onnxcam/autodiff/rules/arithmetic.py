"""Elementwise arithmetic of several inputs. What ties in Max and Min shares the gradient evenly."""

from __future__ import annotations

from functools import reduce

import numpy as np

from onnxcam.autodiff.cotangents import scaled
from onnxcam.autodiff.registry import NodeView, nondiff, vjp
from onnxcam.autodiff.rules._exact import in_single
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, is_float

nondiff(
    "And", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "Equal", "Greater",
    "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "Not", "Or", "Xor",
    why="the output is no real number: it is piecewise constant",
)  # fmt: skip


@vjp("Add", broadcasts=True)
def add(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor, ...]:
    """d(a + b) = da + db."""
    return dy, dy


@vjp("Sub", broadcasts=True)
def sub(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor, ...]:
    """d(a - b) = da - db."""
    return dy, op.Neg(dy)


@vjp("Mul", broadcasts=True)
def mul(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor | None, ...]:
    """d(a b) = b da + a db; where b is sigmoid(a), da takes both: b + y (1 - b)."""
    a, b = node.inputs
    if _is_sigmoid_of(node, b, a):
        return op.Mul(dy, _swish_slope(op, b, node.outputs[0])), None
    if _is_sigmoid_of(node, a, b):
        return None, op.Mul(dy, _swish_slope(op, a, node.outputs[0]))
    return scaled(op, dy, b), scaled(op, dy, a)


@vjp("Div", broadcasts=True)
def div(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor, ...]:
    """d(a / b) = da / b - (y / b) db."""
    b, y = node.inputs[1], node.outputs[0]
    da = op.Div(dy, b)
    return da, op.Neg(op.Mul(da, y))


@vjp("Pow", broadcasts=True)
def pow_(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor | None, ...]:
    """d(a^b) = b a^(b-1) da + y log(a) db; 0 for da where b = 0 and for db where a = 0."""
    a, b = node.inputs
    y = node.outputs[0]
    da = op.Mul(dy, _power_slope(op, node))
    if not is_float(b):
        return da, None
    log = op.Log(op.Where(op.Equal(a, 0), 1, a))
    return da, op.Mul(op.cast(op.Mul(dy, y), b), op.cast(log, b))


@vjp("Mod", broadcasts=True)
def mod(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor, ...]:
    """d(a mod b) = da - (a - y) / b db: the quotient is constant between the jumps."""
    a, b = node.inputs
    quotient = op.Div(op.Sub(a, node.outputs[0]), b)
    return dy, op.Neg(op.Mul(dy, quotient))


@vjp("Where", broadcasts=True)
def where(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor | None, ...]:
    """da = dy where the condition holds, db = dy where it does not."""
    condition = node.inputs[0]
    return None, op.Where(condition, dy, 0), op.Where(condition, 0, dy)


@vjp("Sum", broadcasts=True)
def sum_(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor, ...]:
    """d(a + b + ...) = da + db + ..."""
    return tuple(dy for _ in node.inputs)


@vjp("Mean", broadcasts=True)
def mean(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor, ...]:
    """d mean(a, b, ...) = (da + db + ...) / n."""
    share = op.Mul(dy, 1 / len(node.inputs))
    return tuple(share for _ in node.inputs)


@vjp("Max", "Min", broadcasts=True)
def extremum(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor, ...]:
    """dx_i = dy where x_i is the extremum, shared evenly where several are."""
    if len(node.inputs) == 1:
        return (dy,)
    node, dy = in_single(op, node, dy)
    y = node.outputs[0]
    hits = [op.cast(op.Equal(x, y), dy) for x in node.inputs]
    share = op.Div(dy, reduce(op.Add, hits))
    return tuple(op.Mul(share, hit) for hit in hits)


@vjp("Clip", broadcasts=True)
def clip(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor | None, ...]:
    """dx = dy strictly between the bounds, else 0: what leaves x goes to the bound it meets."""
    x = node.inputs[0]
    low, high = node.setting("min", 1), node.setting("max", 2)
    # y lies between the bounds where x does. A Clip whose x is used again is not fused.
    inside = [] if low is None else [op.Greater(node.outputs[0], low)]
    inside += [] if high is None else [op.Less(node.outputs[0], high)]
    if not inside:
        return dy, *[None] * (len(node.inputs) - 1)
    dx = op.Mul(dy, op.cast(reduce(op.And, inside), dy))
    dlow = dhigh = None
    if node.wants(1):
        below = op.Not(op.Greater(x, low))  # LessOrEqual came with opset 12
        dlow = below if high is None else op.And(below, op.Less(low, high))
    if node.wants(2):
        above = op.Not(op.Less(x, high))
        dhigh = above if low is None else op.Or(above, op.Not(op.Less(low, high)))
    bounds = [None if hit is None else op.Where(hit, dy, 0) for hit in (dlow, dhigh)]
    return dx, *bounds[: len(node.inputs) - 1]


def _is_sigmoid_of(node: NodeView, s: Tensor, x: Tensor) -> bool:
    """Tell whether s is sigmoid(x), by the common rule, and nobody asks for the gradient of s."""
    source = s.inputs[0] if s.inputs else None
    if source is None or source.op != "Sigmoid" or source.inputs[0] is not x:
        return False
    overridden = node.overrides.first(node.beside(source)) is not None
    return not overridden and id(s) not in node.asked and node.wants(0) and node.wants(1)


def _swish_slope(op: Emitter, s: Tensor, y: Tensor) -> Tensor:
    """Return the slope of y = x s, s = sigmoid(x): a third less work than its two paths."""
    # HardSigmoid is 1 - s too; unlike Sub it stays in the layout that convolutions like.
    single = dtype_of(s) == np.float32
    rest = op.HardSigmoid(s, alpha=-1.0, beta=1.0) if single else op.Sub(1, s)
    return op.Add(s, op.Mul(y, rest))


def _power_slope(op: Emitter, node: NodeView) -> Tensor:
    """Return b a^(b-1): cheap for a constant exponent, 0 where b is 0."""
    a, b = node.inputs
    exponent = node.const(1)
    if exponent is None or exponent.size != 1 or not exponent.all():
        return op.Mul(op.Pow(a, op.Where(op.Equal(b, 0), b, op.Sub(b, 1))), op.cast(b, a))
    number = float(exponent.item())
    if number == 1:
        return op.cast(op.const(exponent), a)
    return op.Mul(a if number == 2 else op.Pow(a, op.const(exponent - 1)), number)
