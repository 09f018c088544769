"""Element-wise Grad-CAM."""

from __future__ import annotations

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import channel_sum
from onnxcam.methods.needs import Activation, Gradient
from onnxcam.methods.registry import SMOOTHING, Axes, graph_method


@graph_method(
    "gradcam-elementwise",
    needs=(Activation, Gradient),
    parameters=(SMOOTHING,),
    cite="GradCAMElementWise of pytorch-grad-cam, Gildenblat and contributors, 2021",
    claim=(
        "Where features raise the score to first order; what lowers it is left out before the sum."
    ),
    limits="As coarse as the layer; channels that speak against the class cannot cancel.",
)
def gradcam_elementwise(op: Emitter, a: Tensor, da: Tensor, axes: Axes) -> Tensor:
    """L = sum_k relu(A_k dy/dA_k), position by position."""
    return channel_sum(op, op.Relu(op.Mul(a, da)), axes)
