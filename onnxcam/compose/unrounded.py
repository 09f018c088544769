"""The score before its final rounding: for quantised models.

The scores of a quantised model end where those of its calibration did. Beyond, as for a picture
that it is surer of than of any other, they stay the same: a gradient of 0, and no map.
"""

from __future__ import annotations

from onnxcam.graph.contrib import before_rounding
from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.graph.ops import Trait, has


def unrounded(op: Emitter, z: Tensor) -> Tensor:
    """Return what a score is made of by rounding; itself where it is not rounded.

    Args:
        op: Emitter of the graph.
        z: The score.
    """
    moves = []
    found, behind, tensor = z, 0, z
    while tensor.inputs:
        node = tensor.inputs[0]
        if has(node, Trait.VIEW):
            moves.append(node)
        if has(node, Trait.VIEW, Trait.DEQUANTISES):
            tensor = node.inputs[0]
            continue
        before = before_rounding(op, tensor)
        if before is None:
            break
        found, behind, tensor = before, len(moves), before
    for node in reversed(moves[:behind]):
        found = op.again(node, [found, *node.inputs[1:]], node.attrs)[0]
    return found
