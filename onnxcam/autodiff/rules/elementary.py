"""Functions of one number, and what else calculus books have a table for."""

from __future__ import annotations

import math

from onnxcam.autodiff.registry import NodeView, nondiff, vjp
from onnxcam.autodiff.rules._moves import arange
from onnxcam.graph.emit import Emitter, Tensor, const_value, shape_of

_FAR = 8  # nodes between a root and the squares below it
_SUMS = (
    "ReduceSum", "ReduceMean", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Identity",
    "Slice", "AveragePool", "GlobalAveragePool",
)  # fmt: skip
nondiff("Ceil", "Floor", "Round", "Sign", why="the output is piecewise constant")


@vjp("Neg")
def neg(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """d(-x) = -dx."""
    return op.Neg(dy)


@vjp("Abs")
def abs_(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy sign(x), 0 at 0."""
    return op.Mul(dy, op.Sign(node.inputs[0]))


@vjp("Reciprocal")
def reciprocal(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = -dy y^2."""
    y = node.outputs[0]
    return op.Neg(op.Mul(dy, op.Mul(y, y)))


@vjp("Sqrt")
def sqrt(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy / (2 y); 0 at 0 where x is a sum of squares: a norm, which has its minimum there."""
    twice = op.Mul(node.outputs[0], 2)
    if not _is_square(node.inputs[0]):
        return op.Div(dy, twice)
    # Else the slope of a square, 0, comes times infinity: silence in a spectrum has no gradient.
    none = op.Equal(twice, 0)
    return op.Where(none, 0, op.Div(dy, op.Where(none, 1, twice)))


def _is_square(x: Tensor, far: int = _FAR) -> bool:
    """Tell whether a tensor is a square, or a sum or mean of squares and nothing else."""
    node = x.inputs[0] if x.inputs and far else None
    if node is None or node.domain not in (None, "", "ai.onnx"):
        return False
    first, *others = node.inputs or [x]
    if node.op == "ReduceSumSquare" or (node.op == "Mul" and others[0] is first):
        return True
    if node.op == "Pow":
        power = const_value(others[0])
        return power is not None and bool((power == 2).all())
    if node.op in ("Add", "Sum"):
        return all(_is_square(t, far - 1) for t in node.inputs)
    return node.op in _SUMS and _is_square(first, far - 1)


@vjp("Exp")
def exp(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy y."""
    return op.Mul(dy, node.outputs[0])


@vjp("Log")
def log(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy / x."""
    return op.Div(dy, node.inputs[0])


@vjp("Erf")
def erf(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy 2 / sqrt(pi) exp(-x^2)."""
    x = node.inputs[0]
    return op.Mul(dy, op.Mul(op.Exp(op.Neg(op.Mul(x, x))), 2 / math.sqrt(math.pi)))


@vjp("Sin")
def sin(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy cos(x)."""
    return op.Mul(dy, op.Cos(node.inputs[0]))


@vjp("Cos")
def cos(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = -dy sin(x)."""
    return op.Neg(op.Mul(dy, op.Sin(node.inputs[0])))


@vjp("Tan")
def tan(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy (1 + y^2)."""
    return op.Mul(dy, op.Add(_square(op, node.outputs[0]), 1))


@vjp("Asin")
def asin(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy / sqrt(1 - x^2)."""
    return op.Div(dy, op.Sqrt(op.Sub(1, _square(op, node.inputs[0]))))


@vjp("Acos")
def acos(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = -dy / sqrt(1 - x^2)."""
    return op.Neg(op.Div(dy, op.Sqrt(op.Sub(1, _square(op, node.inputs[0])))))


@vjp("Atan")
def atan(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy / (1 + x^2)."""
    return op.Div(dy, op.Add(_square(op, node.inputs[0]), 1))


@vjp("Sinh")
def sinh(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy cosh(x)."""
    return op.Mul(dy, op.Cosh(node.inputs[0]))


@vjp("Cosh")
def cosh(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy sinh(x)."""
    return op.Mul(dy, op.Sinh(node.inputs[0]))


@vjp("Asinh")
def asinh(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy / sqrt(x^2 + 1)."""
    return op.Div(dy, op.Sqrt(op.Add(_square(op, node.inputs[0]), 1)))


@vjp("Acosh")
def acosh(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy / sqrt(x^2 - 1)."""
    return op.Div(dy, op.Sqrt(op.Sub(_square(op, node.inputs[0]), 1)))


@vjp("Atanh")
def atanh(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy / (1 - x^2)."""
    return op.Div(dy, op.Sub(1, _square(op, node.inputs[0])))


@vjp("Det")
def det(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dX = dy cofactor(X), which also holds where X is singular."""
    x = node.inputs[0]
    rank = len(shape_of(x) or (None, None))
    cotangent = op.Unsqueeze(dy, axes=[rank - 2, rank - 1])
    return op.Mul(cotangent, _cofactors(op, x, rank))


@vjp("CumSum")
def cumsum(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor | None, ...]:
    """dx = the same sum of dy from the other end."""
    return _cumulated(op, node, "CumSum", dy), None


@vjp("CumProd")
def cumprod(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor | None, ...]:
    """dx_k = sum over j of dy_j y_j / x_k; at the first zero z with x_z set to 1 in y, not y / 0.

    Exact at zeros; the second derivative is where no line of x holds more than one.
    """
    x, axis = node.inputs[0], node.inputs[1]
    zero = op.Equal(x, 0)
    count = op.CumSum(op.cast(zero, x), axis, reverse=node.attr("reverse"))
    first = op.And(zero, op.Equal(count, 1))
    others = node.emit_forward(op, [op.Where(first, 1, x), axis])
    at_first = _cumulated(op, node, "CumSum", op.Mul(dy, others))
    elsewhere = _cumulated(op, node, "CumSum", op.Mul(dy, node.outputs[0]))
    return op.Where(first, at_first, op.Div(elsewhere, op.Where(zero, 1, x))), None


def _cumulated(op: Emitter, node: NodeView, op_type: str, dy: Tensor) -> Tensor:
    """Return the adjoint of a cumulative sum that runs as the node does."""
    flags = {"exclusive": node.attr("exclusive"), "reverse": 1 - int(node.attr("reverse"))}
    total: Tensor = op.call(op_type, [dy, node.inputs[1]], flags)
    return total


def _cofactors(op: Emitter, x: Tensor, rank: int) -> Tensor:
    """Return the cofactor of every entry: determinants of what row i and column j leave over."""
    all_ = arange(op, op.dim(x, -1))
    row = op.Unsqueeze(all_, axes=[1])
    rest = op.Slice(op.Unsqueeze(all_, axes=[0]), starts=[0], ends=[-1], axes=[1])
    rest = op.Add(rest, op.cast(op.GreaterOrEqual(rest, row), rest))  # [n, n - 1], i left out
    minors = op.Gather(op.Gather(x, rest, axis=rank - 2), rest, axis=rank)
    batch = list(range(rank - 2))
    i, k, j, m = range(rank - 2, rank + 2)
    minors = op.Det(op.Transpose(minors, perm=[*batch, i, j, k, m]))
    parity = op.Mod(op.Add(row, op.Unsqueeze(all_, axes=[0])), 2)
    return op.Mul(minors, op.cast(op.Sub(1, op.Mul(parity, 2)), x))


def _square(op: Emitter, x: Tensor) -> Tensor:
    return op.Mul(x, x)
