"""XGrad-CAM."""

from __future__ import annotations

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import narrow, ratio, space_product, space_sum, weighted_sum
from onnxcam.methods.registry import Axes, graph_method


@graph_method(
    "xgradcam",
    needs=("activation", "gradient"),
    cite="Fu et al., Axiom-based Grad-CAM, BMVC 2020",
)
def xgradcam(op: Emitter, a: Tensor, da: Tensor, axes: Axes) -> Tensor:
    """L = relu(sum_k w_k A_k), w_k = sum(A_k dy/dA_k) / sum(A_k), 0 where sum(A_k) is 0.

    The paper's features are not negative. pytorch-grad-cam adds 1e-7 to the denominator.
    """
    product = space_product(op, a, narrow(op, da, axes), axes)
    weights = ratio(op, product, space_sum(op, a, axes))
    return weighted_sum(op, weights, a, axes)
