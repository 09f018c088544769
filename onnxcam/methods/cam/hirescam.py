"""HiResCAM."""

from __future__ import annotations

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import narrow, weighted_sum
from onnxcam.methods.needs import Activation, Gradient
from onnxcam.methods.registry import SMOOTHING, Axes, graph_method


@graph_method(
    "hirescam",
    needs=(Activation, Gradient),
    parameters=(SMOOTHING,),
    cite="Draelos and Carin, Use HiResCAM instead of Grad-CAM, 2020, arXiv:2011.08891",
    claim=(
        "The share of each position in the score to first order; exact where the head is linear."
    ),
    limits="First order only where the head is not linear; as coarse as the layer.",
)
def hirescam(op: Emitter, a: Tensor, da: Tensor, axes: Axes) -> Tensor:
    """L = relu(sum_k A_k dy/dA_k), position by position.

    The paper leaves the ReLU to the display. Before it, the map of a layer with a linear head
    sums up to the score without its bias.
    """
    return weighted_sum(op, narrow(op, da, axes), a, axes)
