"""Element-wise Grad-CAM."""

from __future__ import annotations

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import channel_sum
from onnxcam.methods.registry import Axes, graph_method


@graph_method(
    "gradcam-elementwise",
    needs=("activation", "gradient"),
    cite="GradCAMElementWise of pytorch-grad-cam, Gildenblat and contributors, 2021",
)
def gradcam_elementwise(op: Emitter, a: Tensor, da: Tensor, axes: Axes) -> Tensor:
    """L = sum_k relu(A_k dy/dA_k), position by position."""
    return channel_sum(op, op.Relu(op.Mul(a, da)), axes)
