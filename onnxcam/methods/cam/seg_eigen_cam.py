"""Seg-Eigen-CAM."""

from __future__ import annotations

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.principal import projected
from onnxcam.methods.needs import Activation, Gradient
from onnxcam.methods.registry import Axes, graph_method


@graph_method(
    "seg-eigen-cam",
    needs=(Activation, Gradient),
    cite="Chung and Ying, Seg-Eigen-CAM, Applied Sciences 15(13), 2025, equations 10 to 13",
    claim="Where features that the score is sensitive to, either way, differ most from their mean.",
    limits=(
        "The gradient's sign is lost: evidence for and against count alike. Made for segmentation. "
        "As coarse as the layer."
    ),
)
def seg_eigen_cam(op: Emitter, a: Tensor, da: Tensor, axes: Axes) -> Tensor:
    """L = relu(X v), X = A_k |dy/dA_k| less each channel's mean, v its principal direction.

    The sign of v is the paper's: the largest value of the map is as far from 0 as the smallest or
    farther.
    """
    return projected(op, op.Mul(a, op.Abs(da)), axes, sign="range")
