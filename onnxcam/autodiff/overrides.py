"""Modified backward passes: ordered lists of other rules, and what their predicates are made of.

A list goes into ``vjp(..., overrides=...)``; see ``onnxcam.autodiff.view.Override``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from onnxcam.autodiff.broadcast import unbroadcast
from onnxcam.autodiff.registry import NodeView, fallback_for, lookup
from onnxcam.autodiff.route import Counted
from onnxcam.autodiff.view import Override, Overrides, Predicate, Rule
from onnxcam.errors import UnsupportedOp
from onnxcam.graph.curves import nearest, rectifier
from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.graph.ops import Trait, has

Rules: TypeAlias = Overrides | Sequence[Override] | Mapping[str, Rule]


def overriding(rules: Rules | None) -> Overrides:
    """Return overrides from any way to write them.

    Args:
        rules: Overrides, or a mapping from names of nodes or operator types to rules: a node's
            name goes before its type, and what is named is differentiated even where the
            derivative is zero by definition.
    """
    if rules is None or isinstance(rules, Overrides):
        return rules or Overrides()
    if not isinstance(rules, Mapping):
        return Overrides(tuple(rules))
    named = {kind: kind for kind in rules if kind}
    makers = (by_name, by_operator)
    return Overrides(
        tuple(
            Override(make(key), rules[key], what=key, revives=True)
            for make in makers
            for key in named
        )
    )


# ---- predicates


def by_operator(*op_types: str) -> Predicate:
    """Return the predicate of some operator types, of whatever domain."""
    return lambda node: node.op_type in op_types


def by_name(*names: str) -> Predicate:
    """Return the predicate of the nodes of these names, also where they are copied."""
    return lambda node: node.origin in names


def before(k: int, counted: Counted) -> Predicate:
    """Return the predicate (for ``where``) of what lies before the k-th counted node on its way.

    Args:
        k: Its number; what lies before the second is the first counted node and all before it.
        counted: Which onnx-graphsurgeon nodes are counted: ``lambda node: node.op == "Conv"``.
    """
    return lambda node: node.route.depth(node.raw, counted) < k


def below(tensor: str) -> Predicate:
    """Return the predicate (for ``where``) of what a tensor depends on: what makes it, and before.

    Args:
        tensor: Its name.
    """
    return lambda node: id(node.raw) in node.route.below(tensor)


def rectifies(node: NodeView) -> bool:
    """Tell whether a node sets what is negative to 0: Relu, a Clip from 0 on, Max(x, 0) ...

    What is spelled out in several nodes is told by what it computes; its last node is the one.
    """
    if node.op_type == "Relu":
        return True
    if node.op_type == "Clip":  # its upper limit may be computed
        low = node.setting("min", 1)
        return isinstance(low, int | float | np.ndarray) and bool(np.all(np.asarray(low) == 0))
    return has(node, Trait.ELEMENTWISE) and rectifier(node.raw.outputs[0]) is not None


# ---- rules


def own_rule(op: Emitter, node: NodeView, *dys: Tensor | None) -> list[Tensor | None]:
    """Return the gradients of a node's inputs by its own rule, as if there were no override."""
    entry = lookup(node.domain, node.op_type, node.opset) or fallback_for(node)
    assert entry is not None, f"{node.op_type} has no rule"
    if entry.straight_through:
        op.straight_through.add(node.op_type)
    grads = entry.rule(op, node, *dys)
    grads = list(grads) if isinstance(grads, tuple | list) else [grads]
    if not entry.broadcasts:
        return grads
    return [
        unbroadcast(op, dx, node.inputs[i]) if dx is not None and node.wants(i) else None
        for i, dx in enumerate(grads)
    ]


def guided(op: Emitter, node: NodeView, dy: Tensor) -> Any:
    """Return the rule's dx of the positive part of dy."""
    return own_rule(op, node, op.Relu(dy))


def deconvolved(op: Emitter, node: NodeView, dy: Tensor) -> Any:
    """Return the positive part of dy, wherever the input was.

    Raises:
        UnsupportedOp: The rectifier is spelled out so that no input of its last node is its input.
    """
    dx = op.Relu(dy)
    if node.op_type in ("Relu", "Clip"):
        return [dx, *[None] * (len(node.inputs) - 1)]
    source, slope = nearest(node.raw.outputs[0]) or (None, 0.0)
    places = [i for i in node.route.moving(node.raw) if node.inputs[i] is source]
    if not places or slope <= 0:
        raise UnsupportedOp(
            f"the ReLU that ends in {node.op_type}, node {node.name!r}, is spelled out in a way "
            "that a deconvnet cannot go back through",
            "use the method guided-backprop",
        )
    dx = dx if abs(slope - 1) < 1e-6 else op.Mul(dx, slope)
    return [dx if i == places[0] else None for i in range(len(node.inputs))]


GUIDED = Overrides((Override(rectifies, guided, what="ReLU"),))
DECONVOLVED = Overrides((Override(rectifies, deconvolved, what="ReLU"),))
