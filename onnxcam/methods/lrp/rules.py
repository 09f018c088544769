"""Rules of layer-wise relevance propagation, as gradients.

The relevance of a tensor is R = x dx, its value times its modified gradient. A layer's own gradient
is then the rule LRP-0, and what hands relevance on needs no rule; the others multiply the gradient
with a number between 0 and 1, where propagating R itself would divide by values near 0.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from onnxcam.autodiff.cotangents import scaled
from onnxcam.autodiff.engine import vjp
from onnxcam.autodiff.overrides import own_rule, rectifies
from onnxcam.autodiff.route import Node
from onnxcam.autodiff.view import NodeView
from onnxcam.errors import UnsupportedOp
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, shape_of
from onnxcam.graph.ops import Trait, has
from onnxcam.methods.lrp.layers import closes, gated, is_positive, layer

TINY = 1e-12  # where epsilon is 0, for 0 / 0
_SMALLEST_HALF = 6.2e-5  # of float16, with all its digits


def epsilon_rule(op: Emitter, node: NodeView, dy: Tensor, *, epsilon: float) -> Any:
    """R_i = sum_j x_i w_ij / (z_j + epsilon sign(z_j)) R_j, z_j = sum_i x_i w_ij + b_j.

    Bach et al., On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise
    Relevance Propagation, PLOS ONE 2015, equation 58. As a gradient: dx = W^T (dy |z| / (|z| +
    epsilon)). It stands at the last node of a layer; a ReLU there is part of it.
    """
    y = node.outputs[0]
    if closes(node, node.raw):  # R_z = R_y, and 0 where z < 0: dz = dy y / (z + epsilon)
        # Where z < 0 is y = 0. A Relu would keep z in the layout that convolutions like, and bring
        # it out of that beside what y needs of it.
        (i,) = node.route.moving(node.raw)
        size = y if node.op_type == "Relu" else op.Abs(node.inputs[i])
        share = op.Div(y, op.Add(size, stable(y, epsilon or TINY)))
        dx = op.Mul(dy, share)
        return [dx if k == i else None for k in range(len(node.inputs))]
    if epsilon:
        size = op.Abs(y)
        dy = scaled(op, dy, op.Div(size, op.Add(size, stable(y, epsilon))))
    return own_rule(op, node, dy)


def rectified(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """R_x = R_y of a ReLU or ReLU6: its own gradient, and dy y / x where it has an upper limit."""
    if node.op_type == "Relu":
        return own_rule(op, node, dy)
    (i,) = node.route.moving(node.raw)
    x, y = node.inputs[i], node.outputs[0]
    dx = op.Mul(dy, op.Div(y, op.Clip(x, min=stable(y, TINY))))  # y is 0 where x is not above 0
    return [dx if k == i else None for k in range(len(node.inputs))]


def gamma_rule(op: Emitter, node: NodeView, dy: Tensor, *, gamma: float, epsilon: float) -> Any:
    """R_i = sum_j x_i (w_ij + gamma w_ij+) / (z_j + gamma p_j) R_j where x_i > 0 and z_j > 0.

    Montavon et al., Layer-Wise Relevance Propagation: An Overview, 2019, equation 10.2.2, and its
    general form (Andeol et al. 2021) for inputs and outputs of both signs: what pulls an output
    the way it went, p_j = sum_i (x_i w_ij)+ + b_j+ for a positive one, counts 1 + gamma times.
    """
    nodes = layer(node)
    closed = closes(node, nodes[-1])
    x, y = node.inputs[0], nodes[-1].outputs[0]
    z = y
    if closed and nodes[-1].op != "Relu":
        z = nodes[-1].inputs[node.route.moving(nodes[-1])[0]]
    weight, bias = merged(op, node, nodes)
    up = op.Relu(weight)
    down = op.Sub(weight, up)
    signs = [(x, up)] if is_positive(node, x) else [(op.Relu(x), up), (op.Min(x, 0), down)]
    parts = [product(op, node, part, w) for part, w in signs]
    helped = reduce(op.Add, parts if bias is None else [*parts, op.Relu(bias)])
    small = stable(y, epsilon or TINY)
    total = op.Add(z, op.Mul(helped, gamma))
    rising = op.Mul(dy, op.Div(y if closed else op.Relu(y), op.Add(op.Relu(total), small)))
    falling = None  # the share of outputs below 0, of which a ReLU leaves none
    if not closed:
        total = op.Add(y, op.Mul(op.Sub(y, helped), gamma))
        falling = op.Mul(dy, op.Div(op.Min(y, 0), op.Sub(op.Min(total, 0), small)))
    plus, minus = (op.Add(weight, op.Mul(w, gamma)) for w in (up, down))
    dx = back(op, node, (plus, rising), (minus, falling))
    if len(signs) > 1:
        other = back(op, node, (minus, rising), (plus, falling))
        dx = op.Where(op.Greater(x, 0), dx, other)
    return [dx, *[None] * (len(node.inputs) - 1)]


def alpha_beta_rule(
    op: Emitter, node: NodeView, dy: Tensor, *, alpha: float, beta: float, epsilon: float
) -> Any:
    """R_i = sum_j (alpha (x_i w_ij)+ / p_j - beta (x_i w_ij)- / n_j) R_j, p_j and n_j their sums.

    Bach et al. 2015, equation 60; p_j holds b_j+, n_j b_j-. For inputs of both signs, as in zennit.
    """
    nodes = layer(node)
    x, y = node.inputs[0], nodes[-1].outputs[0]
    weight, bias = merged(op, node, nodes)
    up = op.Relu(weight)
    down = op.Sub(weight, up)
    positive = is_positive(node, x)
    parts = [x] if positive else [op.Relu(x), op.Min(x, 0)]
    small, r = stable(y, epsilon or TINY), op.Mul(y, dy)

    def share(signs: tuple[Tensor, Tensor], own: Tensor | None, sign: int) -> Tensor:
        sums = [product(op, node, part, w) for part, w in zip(parts, signs, strict=False)]
        total = reduce(op.Add, sums if own is None else [*sums, own])
        return op.Div(r, op.Add(total, sign * small))

    rising = share((up, down), None if bias is None else op.Relu(bias), 1)
    dx = op.Mul(back(op, node, (up, rising)), alpha)
    other = None if positive else op.Mul(back(op, node, (down, rising)), alpha)
    if beta:
        falling = share((down, up), None if bias is None else op.Min(bias, 0), -1)
        dx = op.Sub(dx, op.Mul(back(op, node, (down, falling)), beta))
        if other is not None:
            other = op.Sub(other, op.Mul(back(op, node, (up, falling)), beta))
    dx = dx if other is None else op.Where(op.Greater(x, 0), dx, other)
    return [dx, *[None] * (len(node.inputs) - 1)]


def handed_on(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """Leave a bias, a scale or a ReLU to the rule of the layer that it is part of."""
    moving = node.route.moving(node.raw)
    return [dy if i in moving else None for i in range(len(node.inputs))]


def activation_rule(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """R_x = R_y: dx = dy y / x; 0 where x is 0."""
    if rectifies(node):
        return rectified(op, node, dy)
    (i,) = node.route.moving(node.raw)
    x, y = node.inputs[i], node.outputs[0]
    if has(node, Trait.QUANTISES):
        op.straight_through.add(node.op_type)
        zero = node.input(2)
        y = y if zero is None else op.Sub(y, op.cast(zero, y))
    nonzero = op.Cast(x, to=9)
    dx = op.Mul(dy, op.Div(y, op.Add(x, op.cast(op.Not(nonzero), x))))
    dx = op.Mul(dx, op.cast(nonzero, dy))
    return [dx if k == i else None for k in range(len(node.inputs))]


def gate_rule(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """R_x = R_y, for y = x g(x) with a gate g in nodes of its own: dx = dy g."""
    signal = gated(node)
    assert signal is not None, "the predicate is asked before"
    return [op.Mul(dy, node.inputs[1 - i]) if i == signal else None for i in range(2)]


def refusal(op: Emitter, node: NodeView, *dys: Tensor | None) -> Any:
    """Refuse what no rule is for.

    Raises:
        UnsupportedOp: Always.
    """
    kind = f"{node.domain or 'ai.onnx'}::{node.op_type}, node {node.name!r}"
    raise UnsupportedOp(
        f"LRP has no rule for {kind}: {_reason(node)}",
        "use the method input-x-gradient, which follows the function as it is",
    )


def _reason(node: NodeView) -> str:
    if has(node, Trait.NORMALISES):
        return "what it divides by comes from the input as well, and would have a share"
    if has(node, Trait.PROBABILITIES, Trait.ATTENDS):
        return "a softmax is no sum of what its inputs contribute (behind logits, take these)"
    if len(node.route.moving(node.raw)) > 1:
        return "two values that come from the input meet in it, and not in a sum"
    return "it is no linear layer, no activation, and does not hand values on"


def stable(like: Tensor, epsilon: float) -> float:
    """Return an epsilon that a tensor's dtype can hold."""
    return max(epsilon, _SMALLEST_HALF) if dtype_of(like) == np.float16 else epsilon


def merged(op: Emitter, node: NodeView, nodes: tuple[Node, ...]) -> tuple[Tensor, Tensor | None]:
    """Return weight and bias of a convolution and what shifts and scales it; bias [M, 1, ...]."""
    weight, bias = node.inputs[1], node.input(2)
    rank = len(shape_of(weight) or ())
    axes = list(range(1, rank - 1))
    bias = None if bias is None else op.Unsqueeze(bias, axes=axes)
    for part in nodes[1:]:
        if closes(node, part):
            break
        scale, shift = _scale_and_shift(op, node.beside(part), axes)
        if scale is not None:
            weight = op.Mul(weight, op.Reshape(scale, [-1, *[1] * (rank - 1)]))
            bias = None if bias is None else op.Mul(bias, scale)
        if shift is not None:
            bias = shift if bias is None else op.Add(bias, shift)
    return weight, bias


def _scale_and_shift(
    op: Emitter, part: NodeView, axes: list[int]
) -> tuple[Tensor | None, Tensor | None]:
    """Return what a node multiplies with and then adds, in a shape that broadcasts."""
    if part.op_type == "BatchNormalization":
        gain, beta, mean, variance = part.inputs[1:5]
        root = op.Sqrt(op.Add(variance, float(part.attr("epsilon"))))
        scale = op.Div(gain, root)
        shift = op.Sub(beta, op.Mul(mean, scale))
        return op.Unsqueeze(scale, axes=axes), op.Unsqueeze(shift, axes=axes)
    (moving,) = part.route.moving(part.raw)
    other, minus = part.inputs[1 - moving], np.float32(-1)
    if part.op_type == "Add":
        return None, other
    if part.op_type == "Sub":
        return (None, op.Neg(other)) if moving == 0 else (op.cast(op.const(minus), other), other)
    return (other if part.op_type == "Mul" else op.Reciprocal(other)), None


def product(op: Emitter, node: NodeView, x: Tensor, weight: Tensor) -> Tensor:
    """Return the convolution of other values with another weight, without a bias."""
    y: Tensor = node.emit_forward(op, [x, weight])
    return y


def back(op: Emitter, node: NodeView, *pairs: tuple[Tensor, Tensor | None]) -> Tensor:
    """Return the sum of what convolutions with these weights give back of these cotangents."""
    x = node.inputs[0]
    grads: list[Any] = []
    for weight, dy in pairs:
        if dy is not None:
            y = product(op, node, x, weight)
            (dx,) = vjp(op, [(y, op.typed(dy, y))], [x], stops=[x])
            grads.append(dx)
    total: Tensor = reduce(op.Add, grads)
    return total
