"""Modified backward passes: tables of other rules for the rectifiers of a network.

A table goes into ``vjp(..., overrides=...)``. Rectifiers are Relu and the Clip that begins at 0
(ReLU6); a Clip of any other range keeps its own rule.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np

from onnxcam.autodiff.engine import Overrides
from onnxcam.autodiff.registry import NodeView, Rule, lookup
from onnxcam.graph.emit import Emitter, Tensor


def _table(change: Callable[[Emitter, NodeView, Tensor, Rule], Any]) -> Overrides:
    """Return the table in which every rectifier's rule is changed in this way."""

    def rule(op: Emitter, node: NodeView, dy: Tensor) -> Any:
        entry = lookup(node.domain, node.op_type, node.opset)
        assert entry is not None, f"{node.op_type} has no rule"
        return change(op, node, dy, entry.rule) if rectifies(node) else entry.rule(op, node, dy)

    return MappingProxyType({"Relu": rule, "Clip": rule})


def rectifies(node: NodeView) -> bool:
    """Tell whether a node sets what is negative to 0: Relu, or a Clip from 0 on."""
    if node.op_type == "Relu":
        return True
    low = node.setting("min", 1) if node.op_type == "Clip" else None
    return isinstance(low, int | float | np.ndarray) and bool(np.all(np.asarray(low) == 0))


def _guided(op: Emitter, node: NodeView, dy: Tensor, rule: Rule) -> Any:
    """Return the rule's dx of the positive part of dy."""
    return rule(op, node, op.Relu(dy))


def _deconvolved(op: Emitter, node: NodeView, dy: Tensor, rule: Rule) -> Any:
    """Return the positive part of dy, wherever the input was."""
    return [op.Relu(dy), *[None] * (len(node.inputs) - 1)]


GUIDED = _table(_guided)
DECONVOLVED = _table(_deconvolved)
