"""Activation functions. At a kink the derivative is the one of the flatter side."""

from __future__ import annotations

import math

import numpy as np

from onnxcam.autodiff.registry import NodeView, vjp
from onnxcam.graph.emit import Emitter, Tensor, dtype_of


@vjp("Relu")
def relu(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy where y > 0, else 0 (also at 0)."""
    # Two casts are faster than a comparison or a Where: y is 0 or positive.
    return op.Mul(dy, op.cast(op.Cast(node.outputs[0], to=9), dy))


@vjp("LeakyRelu")
def leaky_relu(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy where x > 0, else alpha dy."""
    alpha = node.attr("alpha")
    # y has the sign of x, save for a negative slope. What uses x keeps it from being fused.
    sign = node.outputs[0] if alpha >= 0 else node.inputs[0]
    positive = op.cast(op.Greater(sign, 0), dy)
    return op.Mul(dy, op.Add(op.Mul(positive, 1 - alpha), alpha))


@vjp("PRelu", broadcasts=True)
def prelu(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor, ...]:
    """dx = dy where x > 0, else slope dy; dslope = dy min(x, 0)."""
    x, slope = node.inputs
    dx = op.Where(op.Greater(x, 0), dy, op.Mul(dy, slope))
    return dx, op.Mul(dy, op.Min(x, 0))


@vjp("ThresholdedRelu")
def thresholded_relu(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy where x > alpha, else 0."""
    return op.Mul(dy, op.cast(op.Greater(node.inputs[0], node.attr("alpha")), dy))


@vjp("Shrink")
def shrink(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy where |x| > lambd, else 0."""
    outside = op.Greater(op.Abs(node.inputs[0]), node.attr("lambd"))
    return op.Mul(dy, op.cast(outside, dy))


@vjp("Elu")
def elu(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy where x > 0, else dy (y + alpha)."""
    x, y = node.inputs[0], node.outputs[0]
    return op.Where(op.Greater(x, 0), dy, op.Mul(dy, op.Add(y, node.attr("alpha"))))


@vjp("Selu")
def selu(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = gamma dy where x > 0, else dy (y + gamma alpha)."""
    x, y = node.inputs[0], node.outputs[0]
    alpha, gamma = node.attr("alpha"), node.attr("gamma")
    return op.Mul(dy, op.Where(op.Greater(x, 0), gamma, op.Add(y, gamma * alpha)))


@vjp("Celu")
def celu(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy where x > 0, else dy (y / alpha + 1)."""
    x, y = node.inputs[0], node.outputs[0]
    slope = op.Add(op.Mul(y, 1 / node.attr("alpha")), 1)
    return op.Where(op.Greater(x, 0), dy, op.Mul(dy, slope))


@vjp("Sigmoid")
def sigmoid(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy y (1 - y)."""
    y = node.outputs[0]
    return op.Mul(dy, op.Mul(y, op.Sub(1, y)))


@vjp("HardSigmoid")
def hard_sigmoid(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = alpha dy where 0 < y < 1, else 0."""
    y = node.outputs[0]
    inside = op.And(op.Greater(y, 0), op.Less(y, 1))
    return op.Mul(dy, op.Mul(op.cast(inside, dy), node.attr("alpha")))


@vjp("HardSwish")
def hard_swish(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy (h + x / 6 where |x| < 3), with h = max(0, min(1, x / 6 + 1 / 2))."""
    x = node.inputs[0]
    inside = op.cast(op.Less(op.Abs(x), 3), dy)
    gate = op.HardSigmoid(x, alpha=1 / 6, beta=0.5)
    return op.Mul(dy, op.Add(gate, op.Mul(op.Mul(x, inside), 1 / 6)))


@vjp("Swish")
def swish(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy (s + alpha y (1 - s)), with s = sigmoid(alpha x)."""
    x, y, alpha = node.inputs[0], node.outputs[0], node.attr("alpha")
    s = op.Sigmoid(op.Mul(x, alpha) if alpha != 1 else x)
    return op.Mul(dy, op.Add(s, op.Mul(op.Mul(y, alpha), op.Sub(1, s))))


@vjp("Mish")
def mish(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy (t + x s (1 - t^2)), with t = tanh(softplus(x)) and s = sigmoid(x)."""
    x = node.inputs[0]
    # tanh(log(1 + e)) = n / (n + 2) with n = e (e + 2): Softplus is slow. It is 1 long before 20.
    near = op.Min(x, 5 if dtype_of(x) == np.float16 else 20)
    e = op.Exp(near)
    n = op.Mul(e, op.Add(e, 2))
    t = op.Div(n, op.Add(n, 2))
    slope = op.Mul(op.Sigmoid(x), op.Sub(1, op.Mul(t, t)))
    return op.Mul(dy, op.Add(t, op.Mul(near, slope)))


@vjp("Tanh")
def tanh(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy (1 - y^2)."""
    y = node.outputs[0]
    return op.Mul(dy, op.Sub(1, op.Mul(y, y)))


@vjp("Softplus")
def softplus(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy sigmoid(x)."""
    return op.Mul(dy, op.Sigmoid(node.inputs[0]))


@vjp("Softsign")
def softsign(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy / (1 + |x|)^2."""
    d = op.Add(op.Abs(node.inputs[0]), 1)
    return op.Div(dy, op.Mul(d, d))


@vjp("Gelu")
def gelu(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy (P(x) + x p(x)), P and p the normal distribution or its approximation by tanh."""
    x = node.inputs[0]
    slope = _tanh_gelu if node.attr("approximate") == "tanh" else _erf_gelu
    return op.Mul(dy, slope(op, x))


def _erf_gelu(op: Emitter, x: Tensor) -> Tensor:
    p = op.Mul(op.Exp(op.Mul(op.Mul(x, x), -0.5)), 1 / math.sqrt(2 * math.pi))
    below = op.Mul(op.Add(op.Erf(op.Mul(x, math.sqrt(0.5))), 1), 0.5)
    return op.Add(below, op.Mul(x, p))


def _tanh_gelu(op: Emitter, x: Tensor) -> Tensor:
    """Return (1 + t) / 2 + x (1 - t^2) u' / 2, with t = tanh(u), u = c (x + 0.044715 x^3)."""
    x = op.Clip(x, min=-20, max=20)  # saturated long before; x^3 must not overflow in float16
    c, k = math.sqrt(2 / math.pi), 0.044715
    square = op.Mul(x, x)
    t = op.Tanh(op.Mul(x, op.Add(op.Mul(square, c * k), c)))
    inner = op.Add(op.Mul(square, 3 * c * k), c)
    curve = op.Mul(op.Mul(x, inner), op.Sub(1, op.Mul(t, t)))
    return op.Mul(op.Add(op.Add(t, 1), curve), 0.5)
