"""Shapley-CAM."""

from __future__ import annotations

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import space_mean, weighted_sum
from onnxcam.methods.needs import Activation, Curvature, Gradient
from onnxcam.methods.registry import SMOOTHING, Axes, graph_method


@graph_method(
    "shapley-cam",
    needs=(Activation, Gradient, Curvature),
    parameters=(SMOOTHING,),
    cite="Cai, CAMs as Shapley Value-based Explainers, 2025, arXiv:2501.06261",
    claim=(
        "As Grad-CAM, with weights that take into account to second order how channels act "
        "together."
    ),
    limits=(
        "Of a head that is linear piece by piece, as behind ReLU, it is Grad-CAM. The averaged "
        "gradient forgets where a channel matters. As coarse as the layer."
    ),
)
def shapley_cam(op: Emitter, a: Tensor, da: Tensor, ha: Tensor, axes: Axes) -> Tensor:
    """L = relu(sum_k w_k A_k), w_k = mean over positions of dy/dA_k - (H A)_k / 2.

    H is the Hessian of the score at the layer; H A is a derivative of the gradient along A, and H
    itself is never made. It counts the whole layer, class and register tokens and all.
    """
    return weighted_sum(op, space_mean(op, op.Sub(da, op.Mul(ha, 0.5)), axes), a, axes)
