"""What operators do with the cells of a direction of space, and which of them do anything."""

from __future__ import annotations

from onnxcam.analysis.geometry import joins, picks, sampling  # noqa: F401 - they enter rules
from onnxcam.analysis.geometry.site import RULES, Rule
from onnxcam.analysis.geometry.windows import keeps_size, spread, windowed
from onnxcam.analysis.layout import SPACE, Layout
from onnxcam.graph import ir
from onnxcam.graph.ops import Trait, has


def rule_of(node: ir.Node) -> Rule | None:
    """Return what a node does with cells; None for one that leaves them where they are."""
    if has(node, Trait.CONVOLUTION, Trait.POOL):
        return windowed if "Transpose" not in node.op else spread
    return RULES.get(node.op)


def may_move(node: ir.Node, layout: Layout | None) -> bool:
    """Tell whether a node may put cells elsewhere; most do not, and most networks hold no other.

    Args:
        node: The node.
        layout: The meaning of the axes of its first input.
    """
    if has(node, Trait.CONVOLUTION, Trait.POOL):
        return not keeps_size(node)
    if node.op not in RULES or layout is None:
        return False
    if node.op in ("Resize", "Upsample"):
        return "crop" in str(node.attrs.get("coordinate_transformation_mode", ""))
    axes = layout.axes
    if node.op in ("Concat", "Split", "Gather"):
        axis = int(node.attrs.get("axis", 0))
        return -len(axes) <= axis < len(axes) and axes[axis] in SPACE[3]
    return any(c in SPACE[3] for c in axes)
