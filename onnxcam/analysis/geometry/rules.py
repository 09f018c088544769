"""What operators do with the cells of a direction of space, and which of them do anything."""

from __future__ import annotations

from onnxcam.analysis.geometry import joins, picks, sampling  # noqa: F401 - they enter rules
from onnxcam.analysis.geometry.site import RULES, Rule
from onnxcam.analysis.geometry.windows import spread, windowed
from onnxcam.graph import ir
from onnxcam.graph.ops import Trait, has


def rule_of(node: ir.Node) -> Rule | None:
    """Return what a node does with cells; None for one that leaves them where they are."""
    if has(node, Trait.CONVOLUTION, Trait.POOL):
        return windowed if "Transpose" not in node.op else spread
    return RULES.get(node.op)
