"""The score before its final rounding: for quantised models.

The scores of a quantised model end where those of its calibration did. Beyond, as for a picture
that it is surer of than of any other, they stay the same: a gradient of 0, and no map.
"""

from __future__ import annotations

from onnxcam.graph import ir
from onnxcam.graph.contrib import before_rounding
from onnxcam.graph.emit import Emitter, Tensor, const_value
from onnxcam.graph.ops import Trait, has


def unrounded(op: Emitter, z: Tensor) -> Tensor:
    """Return what a score is made of by rounding; itself where it is not rounded.

    What was moved, or had a constant added, between two roundings is done again without them.

    Args:
        op: Emitter of the graph.
        z: The score.
    """
    moves: list[tuple[ir.Node, int]] = []
    found, behind, tensor = z, 0, z
    while tensor.inputs:
        node = tensor.inputs[0]
        place = _repeated(node)
        if place is not None:
            moves.append((node, place))
        if place is not None or has(node, Trait.DEQUANTISES):
            tensor = node.inputs[place or 0]
            continue
        before = before_rounding(op, tensor)
        if before is None:
            break
        found, behind, tensor = before, len(moves), before
    for node, place in reversed(moves[:behind]):
        inputs = list(node.inputs)
        inputs[place] = found
        found = op.again(node, inputs, node.attrs)[0]
    return found


def _repeated(node: ir.Node) -> int | None:
    """Return which input a node moves, shifts or scales by constants; None for other nodes."""
    if has(node, Trait.VIEW):
        return 0
    if node.op not in ("Add", "Sub", "Mul", "Div") or len(node.inputs) != 2:
        return None
    data = [i for i, t in enumerate(node.inputs) if not _is_constant(t)]
    return data[0] if len(data) == 1 else None


def _is_constant(tensor: Tensor) -> bool:
    """Tell whether a tensor is a constant, or a quantised one."""
    if tensor.inputs and has(tensor.inputs[0], Trait.DEQUANTISES):
        tensor = tensor.inputs[0].inputs[0]
    return const_value(tensor) is not None
