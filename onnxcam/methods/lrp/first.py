"""What the layers at the input do otherwise: relevance that is no multiple of the input.

The other rules hand on a gradient, of which relevance is the product with the value. A pixel of 0
would get nothing then. From the first layers on these rules hand on the relevance itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxcam.autodiff.overrides import own_rule
from onnxcam.autodiff.route import Node
from onnxcam.autodiff.view import NodeView, Override, Rule
from onnxcam.errors import UnsupportedOp
from onnxcam.graph.emit import Emitter, Tensor, shape_of
from onnxcam.graph.ops import Trait, has
from onnxcam.methods.lrp import layers, rules
from onnxcam.methods.parameters import Parameter

FIRST = Parameter(
    "first", str, "same", None, None,
    "rule of the layers at the input: that of the others, or one that pixels of 0 take part in",
    ("same", "flat", "w2", "zbox"),
)  # fmt: skip
LOW = Parameter("low", float, 0.0, -1e6, 1e6, "smallest value of the prepared input, for zbox")
HIGH = Parameter(
    "high", float, 0.0, -1e6, 1e6,
    "largest value of the prepared input, for zbox; where both are 0, those of each input",
)  # fmt: skip


def overrides(first: str, *, low: float, high: float, epsilon: float) -> tuple[Override, ...]:
    """Return the overrides for the layers at the input and what lies before; () for "same".

    Args:
        first: "flat", "w2", "zbox", or "same".
        low: For zbox the smallest value of the input, in the units of the first layer.
        high: The largest; where both are 0, the smallest and largest of each input.
        epsilon: What is added to the size of what is divided by.
    """
    if first == "same":
        return ()
    values = {"epsilon": epsilon, **({"low": low, "high": high} if first == "zbox" else {})}
    named: dict[str, Rule] = {"flat": flat_rule, "w2": w2_rule, "zbox": zbox_rule}
    return (
        Override(_opens, named[first], values, _is_first, "the first layers"),
        Override(_follows, rules.handed_on, where=_is_first),
        Override(lambda node: True, before_rule, where=_touches_input),
    )


def flat_rule(op: Emitter, node: NodeView, dy: Tensor, *, epsilon: float) -> Any:
    """R_i = sum_j R_j / (number of inputs of j), over the inputs i of j.

    Lapuschkin et al., Unmasking Clever Hans Predictors, Nature Communications 2019.
    """
    ones = op.Add(op.zeros_like(node.inputs[1]), 1)
    return _spread(op, node, dy, ones, None, epsilon)


def w2_rule(op: Emitter, node: NodeView, dy: Tensor, *, epsilon: float) -> Any:
    """R_i = sum_j w_ij^2 / (sum_i w_ij^2 + b_j^2) R_j.

    Montavon et al., Explaining Nonlinear Classification Decisions with Deep Taylor Decomposition,
    Pattern Recognition 2017, table 1; the bias keeps its share, as in zennit.
    """
    weight, bias = rules.merged(op, node, layers.layer(node))
    square = None if bias is None else op.Mul(bias, bias)
    return _spread(op, node, dy, op.Mul(weight, weight), square, epsilon)


def zbox_rule(
    op: Emitter, node: NodeView, dy: Tensor, *, low: float, high: float, epsilon: float
) -> Any:
    """R_i = sum_j (x_i w_ij - l w_ij+ - h w_ij-) / (sum over i of the same) R_j, l <= x_i <= h.

    Montavon et al. 2017, equation 16.
    """
    x = node.inputs[0]
    weight, _ = rules.merged(op, node, layers.layer(node))
    up = op.Relu(weight)
    down = op.Sub(weight, up)
    values = (x, *_limits(op, x, low, high))
    pairs = list(zip(values, (weight, up, down), strict=True))
    whole, *less = (rules.product(op, node, value, w) for value, w in pairs)
    share = _shared(op, node, dy, op.Sub(op.Sub(whole, less[0]), less[1]), epsilon)
    found, *taken = (op.Mul(value, rules.back(op, node, (w, share))) for value, w in pairs)
    return [op.Sub(op.Sub(found, taken[0]), taken[1]), *[None] * (len(node.inputs) - 1)]


def before_rule(op: Emitter, node: NodeView, dy: Tensor, *others: Tensor) -> Any:
    """R_x = R_y before the first layers: what scales and shifts the input takes nothing.

    Raises:
        UnsupportedOp: Relevance goes another way here than through the first layers.
    """
    more = list(node.route.moving(node.raw))[1:]
    if not more and _depth(node) == 0:
        if has(node, Trait.ELEMENTWISE) or node.op_type == "BatchNormalization":
            return rules.handed_on(op, node, dy)
        if has(node, Trait.SAME, Trait.PICKS, Trait.VIEW, Trait.HOMOGENEOUS):
            return own_rule(op, node, dy)
    raise UnsupportedOp(
        f"LRP has no rule for {node.op_type}, node {node.name!r}: the input reaches it beside its "
        "first layers, or it is a first layer of another kind than convolution or linear layer",
        "take the same rule for the first layers as for the others: `first='same'`",
    )


def is_linear(node: Node) -> bool:
    """Tell whether a node is a convolution or a product: for places."""
    return has(node, Trait.CONVOLUTION, Trait.PRODUCT)


def _depth(node: NodeView) -> int:
    return node.route.depth(node.raw, is_linear)


def _is_first(node: NodeView) -> bool:
    """Tell whether a node is of a layer that no other lies before."""
    nodes = layers.layer(node)
    return bool(nodes) and is_linear(nodes[0]) and node.route.depth(nodes[0], is_linear) == 1


def _touches_input(node: NodeView) -> bool:
    """Tell whether a value that no layer lies before goes into a node."""
    sources = [node.raw.inputs[i] for i in node.route.moving(node.raw)]
    made = [t.inputs[0] for t in sources if t.inputs]
    return len(made) < len(sources) or any(node.route.depth(n, is_linear) == 0 for n in made)


def _opens(node: NodeView) -> bool:
    """Tell whether a node is the product of a layer whose weights are known with their scales."""
    if layers.opens_convolution(node):
        return True
    nodes = layers.layer(node)
    if not nodes or nodes[0] is not node.raw or node.op_type not in ("Gemm", "MatMul"):
        return False
    plain = all(n.op in ("Add", "Sub") or layers.closes(node, n) for n in nodes[1:])
    return plain and node.route.moving(node.raw) == [0]


def _follows(node: NodeView) -> bool:
    nodes = layers.layer(node)
    return len(nodes) > 1 and nodes[0] is not node.raw and _opens(node.beside(nodes[0]))


def _spread(
    op: Emitter, node: NodeView, dy: Tensor, weight: Tensor, bias: Tensor | None, epsilon: float
) -> list[Tensor | None]:
    """Return the relevance that inputs of 1 have by these weights."""
    ones = op.Add(op.zeros_like(node.inputs[0]), 1)
    total = rules.product(op, node, ones, weight)
    total = total if bias is None else op.Add(total, bias)
    share = _shared(op, node, dy, total, epsilon)
    return [rules.back(op, node, (weight, share)), *[None] * (len(node.inputs) - 1)]


def _shared(op: Emitter, node: NodeView, dy: Tensor, total: Tensor, epsilon: float) -> Tensor:
    """Return R_j / total_j, which a small number keeps from 0."""
    y = layers.layer(node)[-1].outputs[0]
    small = rules.stable(y, epsilon or rules.TINY)
    away = op.Where(op.Less(total, 0), op.Sub(total, small), op.Add(total, small))
    share: Tensor = op.Div(op.Mul(y, dy), away)
    return share


def _limits(op: Emitter, x: Tensor, low: float, high: float) -> list[Tensor]:
    """Return the smallest and the largest value that an input can have, in its shape."""
    zeros = op.zeros_like(x)
    if low == high == 0:
        rest = list(range(1, len(shape_of(x) or ())))
        found = [reduce(x, axes=rest, keepdims=1) for reduce in (op.ReduceMin, op.ReduceMax)]
    else:
        found = [op.cast(op.const(np.float32(limit)), x) for limit in (low, high)]
    return [op.Add(zeros, limit) for limit in found]
