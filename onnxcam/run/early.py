"""In which order ONNX Runtime shall take the nodes of a compiled model."""

from __future__ import annotations

from collections import Counter

from onnxcam.model.model import Model


def best_early(model: Model) -> bool:
    """Tell whether nodes should run as soon as they can, and not when they are needed.

    A ReLU6 whose relevance is asked for hands its input to the way back as well: two tensors as
    large as the layer, which have left the cache when the gradient comes by. Taken early, while
    they are there, they leave one, the share that the gradient is multiplied with: MobileNetV2's
    relevance takes a tenth less time. Where a mask of bits is all that is kept (every ReLU's
    gradient, and a ReLU6's) the late order is the faster one by a few parts in a hundred.

    Args:
        model: The model that is run.
    """
    nodes = model.light.graph.node
    clipped = [node.input[0] for node in nodes if node.op_type == "Clip" and node.input]
    if not clipped:
        return False
    takers = Counter(name for node in nodes for name in set(node.input))
    return sum(takers[name] > 1 for name in clipped) > len(clipped) / 2
