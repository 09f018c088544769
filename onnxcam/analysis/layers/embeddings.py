"""Outputs that are embeddings: vectors scaled to length one, in whatever operators."""

from __future__ import annotations

from onnxcam.analysis.layers.finals import is_number, made_by, plain, quotient_of, unfloored
from onnxcam.graph.emit import Tensor
from onnxcam.graph.ops import Trait, has


def is_unit_length(tensor: Tensor) -> bool:
    """Tell whether a tensor is scaled to length one, as embeddings are."""
    node = made_by(tensor)
    while node is not None and has(node, Trait.SAME, Trait.VIEW):
        tensor = node.inputs[0]
        node = made_by(tensor)
    if node is None:
        return False
    if node.op == "LpNormalization":
        return int(node.attrs.get("p", 2)) == 2
    if node.op == "Normalizer":
        return node.attrs.get("norm", "MAX") in ("L2", b"L2")
    quotient = quotient_of(node)
    return quotient is not None and _is_length(quotient[1], quotient[0])


def _is_length(below: Tensor, above: Tensor | None) -> bool:
    """Tell whether one tensor is the length of another."""
    node = made_by(unfloored(below))
    if above is None or node is None:
        return False
    if node.op == "ReduceL2":
        return plain(node.inputs[0]) is plain(above)
    root = node.op == "Sqrt" or (node.op == "Pow" and is_number(node.inputs[1], 0.5))
    square = made_by(unfloored(node.inputs[0])) if root else None
    if square is None:
        return False
    if square.op == "ReduceSumSquare":
        return plain(square.inputs[0]) is plain(above)
    factors = made_by(plain(square.inputs[0])) if square.op == "ReduceSum" else None
    return factors is not None and any(plain(t) is plain(above) for t in factors.inputs)
