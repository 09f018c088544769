"""Eigen-Grad-CAM."""

from __future__ import annotations

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.principal import projected
from onnxcam.methods.needs import Activation, Gradient
from onnxcam.methods.registry import Axes, graph_method


@graph_method(
    "eigen-gradcam",
    needs=(Activation, Gradient),
    cite="EigenGradCAM of pytorch-grad-cam, after Muhammad and Yeasin, Eigen-CAM, IJCNN 2020",
    claim="Where the products of features and gradients differ most from their means.",
    limits=(
        "A direction of much variance, not a sum: magnitudes add up to nothing. As coarse as the "
        "layer."
    ),
)
def eigen_gradcam(op: Emitter, a: Tensor, da: Tensor, axes: Axes) -> Tensor:
    """L = relu(X v), X = A_k dy/dA_k less each channel's mean, v its principal direction.

    The sign of v is that with which the map goes with HiResCAM's, the sum of the columns of X;
    pytorch-grad-cam leaves it to its decomposition.
    """
    return projected(op, op.Mul(a, da), axes)
