"""Which tensors only go into a normalisation over space: their mean gradient is zero.

What subtracts the mean over the positions of each channel does not see a constant that is added to
a channel. So the gradient before it sums to zero over the positions, for every channel, and weights
that are its mean are what rounding leaves.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnxcam.analysis.layers.finals import axes_of
from onnxcam.analysis.layers.path import moves
from onnxcam.analysis.layout import Layout
from onnxcam.graph import ir
from onnxcam.graph.emit import Tensor, shape_of


def users(tensor: Tensor, nodes: Sequence[ir.Node]) -> list[ir.Node]:
    """Return the nodes that take a tensor, in order."""
    return [n for n in nodes if any(t is tensor for t in n.inputs)]


def centring(tensor: Tensor, layout: Layout | None, nodes: Sequence[ir.Node]) -> ir.Node | None:
    """Return what subtracts the means of a tensor's channels over space before all else.

    Args:
        tensor: A feature tensor.
        layout: The meaning of its axes.
        nodes: The path to the score, producers first.

    Returns:
        A normalisation, or the Sub of one that is spelled out; None where some use of the tensor
        sees its means.
    """
    if layout is None or layout.channel is None or layout.pieces or layout.prefix or layout.suffix:
        return None
    shape = shape_of(tensor)
    channels = None if shape is None else shape[layout.channel]
    current, found = tensor, users(tensor, nodes)
    while len(found) == 1 and (moves(found[0]) or found[0].op == "BatchNormalization"):
        current = found[0].outputs[0]
        found = users(current, nodes)
    if len(found) == 1:
        own = layout if current is tensor else None
        return found[0] if _centres(found[0], current, channels, own) else None
    return _subtracts_mean(found, nodes, layout) if current is tensor else None


def _centres(node: ir.Node, tensor: Tensor, channels: object, layout: Layout | None) -> bool:
    """Tell whether a normalisation takes its means over space, for each channel by itself."""
    if node.inputs[0] is not tensor:
        return False
    shape = shape_of(tensor)
    if node.op in ("InstanceNormalization", "GroupNormalization"):
        groups = node.attrs.get("num_groups", channels)
        return shape is not None and channels is not None and shape[1] == channels == groups
    if layout is None:
        return False
    if node.op == "MeanVarianceNormalization":
        return _over_space(node.attrs.get("axes", (0, 2, 3)), layout)
    if node.op == "LayerNormalization":
        rank = len(layout.axes)
        return _over_space(range(int(node.attrs.get("axis", -1)) % rank, rank), layout)
    return False


def _subtracts_mean(
    found: Sequence[ir.Node], nodes: Sequence[ir.Node], layout: Layout
) -> ir.Node | None:
    """Return the Sub of a tensor and its mean over space, where they are all that takes it."""
    if len(found) != 2 or [n.op for n in found] != ["ReduceMean", "Sub"]:
        return None
    mean, difference = found
    axes = axes_of(mean)
    if axes is None or not _over_space(axes, layout):
        return None
    alone = users(mean.outputs[0], nodes) == [difference]
    return difference if alone and difference.inputs[1] is mean.outputs[0] else None


def _over_space(axes: Sequence[int], layout: Layout) -> bool:
    """Tell whether axes are all of space, and none of the channels."""
    found = {a % len(layout.axes) for a in axes}
    return found >= set(layout.space) and layout.channel not in found
