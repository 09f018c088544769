"""Regions of a detector of two stages: what is seen in them is explained, not where they lie.

Proposals are fixed while such a detector learns (Ren et al., Faster R-CNN, NeurIPS 2015, section
3.2; libraries detach them), so that the derivative of a score along the edges of a region was never
trained, and drowns that of what the region holds.
"""

from __future__ import annotations

from dataclasses import replace

from onnxcam.autodiff.overrides import by_operator
from onnxcam.autodiff.registry import lookup
from onnxcam.autodiff.view import NodeView, Override, Overrides
from onnxcam.graph.emit import Emitter, Tensor


def _seen(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """Return the gradient of the map alone."""
    entry = lookup(node.domain, node.op_type, node.opset)
    assert entry is not None, "RoiAlign has a rule"
    first, *rest = entry.rule(op, node, dy)
    return [first, *(None for _ in rest)]


_FIXED = Override(by_operator("RoiAlign"), _seen, what="RoiAlign")


def fixed(rules: Overrides) -> Overrides:
    """Return rules under which regions stay where they are."""
    return replace(rules, items=(*rules.items, _FIXED))
