"""Whether indices are found in what the model is given, or follow from sizes and constants."""

from __future__ import annotations

from onnxcam.graph.emit import Tensor, const_value

_MOST = 200  # tensors that sizes and constants are expected to be behind


def is_found(indices: Tensor) -> bool:
    """Tell whether indices follow from what the model is given, not from sizes and constants.

    What a Gather picks by them are no longer the places of its input in their order: ends of
    sentences that lie one behind the other, boxes that suppression left, tokens that are kept.
    """
    ahead, seen = [indices], set[int]()
    while ahead and len(seen) < _MOST:
        tensor = ahead.pop()
        if id(tensor) in seen or const_value(tensor) is not None:
            continue
        seen.add(id(tensor))
        if not tensor.inputs:
            return True
        node = tensor.inputs[0]
        if node.op not in ("Shape", "Size"):
            ahead += [t for t in node.inputs if t.name]
    return bool(ahead)
