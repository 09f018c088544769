"""What transformers add to relevance: products of two values, softmax, normalisations, gates.

As in ``rules.py`` relevance is a value times its modified gradient. AttnLRP and LibraGrad are two
tables of these rules, which part at the softmax of an attention.
"""

from __future__ import annotations

from typing import Any

from onnxcam.autodiff.overrides import own_rule
from onnxcam.autodiff.view import NodeView, Override, Overrides
from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.graph.ops import Trait, has
from onnxcam.methods.lrp import layers, rules

_NORMS = {
    "LayerNormalization": "layer_normalization",
    "RMSNormalization": "rms_normalization",
    "InstanceNormalization": "instance_normalization",
    "GroupNormalization": "group_normalization",
}
_PRODUCTS = ("MatMul", "Mul", "Einsum", "Gemm")
_OVER = ("Div", "Reciprocal", "Pow")  # a norm is divided by in one of these
_FAR = 12  # nodes between a norm and what is divided by it


def composite(*, attention_moves: bool) -> Overrides:
    """Return which node hands its relevance on by which rule.

    Args:
        attention_moves: Whether relevance flows through the softmax of an attention, by its own
            gradient, and is shared out in halves where it meets the values; else the attention is
            a constant that weighs them.
    """
    softmax = own_rule if attention_moves else pruned
    shared = shared_out if attention_moves else weighed
    return Overrides(
        (
            Override(_is_norm, fixed_norm, what="normalisations"),
            Override(lambda node: scaled(node) is not None, scaled_rule),
            Override(
                _is_softmax, softmax, where=None if attention_moves else _weighs, what="softmax"
            ),
            Override(lambda node: layers.gated(node) is not None, rules.gate_rule),
            Override(_is_product, shared, what="products"),
            Override(layers.bends, rules.activation_rule, what="activations"),
            Override(lambda node: not layers.keeps(node), rules.refusal),
        ),
        complete=True,
    )


def scaled(view: NodeView) -> int | None:
    """Return which input of a node is divided by its own norm, as in normalisations spelled out.

    Returns:
        The number of the input that is the signal, where the other one is (one over) a mean, sum
        or norm over axes; None where the node is no such quotient or product.
    """
    if view.domain or view.route.moving(view.raw) != [0, 1]:
        return None
    if view.op_type == "Div":
        above, below = view.raw.inputs
        softmax = bool(above.inputs) and above.inputs[0].op == "Exp"
        return 0 if not softmax and _is_of_norm(view, below, over=True) else None
    if view.op_type == "Mul":
        norms = [_is_of_norm(view, t) for t in view.raw.inputs]
        return norms.index(False) if sum(norms) == 1 else None
    return None


def fixed_norm(op: Emitter, node: NodeView, dy: Tensor, *_: Tensor | None) -> Any:
    """R_x = R_y but for bias and mean: the statistic that is divided by counts as a constant.

    Achtibat et al., AttnLRP, ICML 2024, proposition 3.4.
    """
    from onnxcam.autodiff.rules import normalization  # late: a list of methods needs none

    return getattr(normalization, _NORMS[node.op_type])(op, node, dy, fixed=True)


def scaled_rule(op: Emitter, node: NodeView, dy: Tensor) -> Any:
    """R_x = R_y, for y = x / norm(x): the norm counts as a constant."""
    signal = scaled(node)
    assert signal is not None, "the predicate is asked before"
    return _only(own_rule(op, node, dy), {signal})


def shared_out(op: Emitter, node: NodeView, dy: Tensor) -> Any:
    """R_a = R_b = R_y / 2 in sum, for y = a b: half of the node's own gradient.

    Achtibat et al., AttnLRP, ICML 2024, proposition 3.3 (the uniform rule).
    """
    return own_rule(op, node, op.Mul(dy, 0.5))


def weighed(op: Emitter, node: NodeView, dy: Tensor) -> Any:
    """R_v = R_y, for y = a v with an attention a; other products are shared out in halves."""
    attention = {i for i in node.route.moving(node.raw) if _is_attention(node, node.raw.inputs[i])}
    if len(attention) != 1:
        return shared_out(op, node, dy)
    return _only(own_rule(op, node, dy), set(node.route.moving(node.raw)) - attention)


def pruned(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """No relevance flows here: what a softmax weighs by counts as a constant."""
    return [None] * len(node.inputs)


def _only(grads: list[Tensor | None], wanted: set[int]) -> list[Tensor | None]:
    return [dx if i in wanted else None for i, dx in enumerate(grads)]


def _is_norm(view: NodeView) -> bool:
    return not view.domain and view.op_type in _NORMS and 0 in view.route.moving(view.raw)


def _is_softmax(view: NodeView) -> bool:
    return not view.domain and view.op_type == "Softmax"


def _weighs(view: NodeView) -> bool:
    """Tell whether a softmax is an attention: what it gives is multiplied with something."""
    return _is_multiplied(view, view.raw.outputs[0])


def _is_multiplied(view: NodeView, x: Tensor, far: int = _FAR) -> bool:
    nodes = view.route.takers(x) if far else []
    return any(
        node.op in _PRODUCTS or (node.outputs and _is_multiplied(view, node.outputs[0], far - 1))
        for node in nodes
    )


def _is_product(view: NodeView) -> bool:
    """Tell whether a node multiplies two values that both come from the input."""
    return (
        not view.domain
        and view.op_type in _PRODUCTS
        and len([i for i in view.route.moving(view.raw) if i < 2]) == 2
    )


def _is_attention(view: NodeView, x: Tensor, far: int = _FAR) -> bool:
    """Tell whether a tensor is a softmax, moved, masked or scaled at most."""
    node = x.inputs[0] if x.inputs and far else None
    if node is None:
        return False
    if node.op == "Softmax":
        return True
    moving = view.route.moving(node)
    keeps = has(node, Trait.SAME, Trait.PICKS) or node.op in ("Mul", "Div", "Where")
    return len(moving) == 1 and keeps and _is_attention(view, node.inputs[moving[0]], far - 1)


def _is_of_norm(view: NodeView, x: Tensor, *, over: bool = False, far: int = _FAR) -> bool:
    """Tell whether a tensor is one over a mean, sum or norm over axes (``over``: that itself)."""
    node = x.inputs[0] if x.inputs and far else None
    if node is None:
        return False
    if has(node, Trait.REDUCES):
        return over
    moving = view.route.moving(node)
    if len(moving) != 1 or not has(node, Trait.ELEMENTWISE, Trait.SAME):
        return False
    turned = node.op in _OVER and (node.op != "Div" or moving == [1])
    return _is_of_norm(view, node.inputs[moving[0]], over=over or turned, far=far - 1)
