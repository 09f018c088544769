"""HiResCAM."""

from __future__ import annotations

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import narrow, weighted_sum
from onnxcam.methods.registry import Axes, graph_method


@graph_method(
    "hirescam",
    needs=("activation", "gradient"),
    cite="Draelos and Carin, Use HiResCAM instead of Grad-CAM, 2020, arXiv:2011.08891",
)
def hirescam(op: Emitter, a: Tensor, da: Tensor, axes: Axes) -> Tensor:
    """L = relu(sum_k A_k dy/dA_k), position by position.

    The paper leaves the ReLU to the display. Before it, the map of a layer with a linear head
    sums up to the score without its bias.
    """
    return weighted_sum(op, narrow(op, da, axes), a, axes)
