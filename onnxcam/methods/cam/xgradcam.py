"""XGrad-CAM."""

from __future__ import annotations

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import narrow, ratio, space_product, space_sum, weighted_sum
from onnxcam.methods.needs import Activation, Gradient
from onnxcam.methods.registry import SMOOTHING, Axes, graph_method


@graph_method(
    "xgradcam",
    needs=(Activation, Gradient),
    parameters=(SMOOTHING,),
    cite="Fu et al., Axiom-based Grad-CAM, BMVC 2020",
    claim=(
        "As Grad-CAM, with weights that make the map add up to the score as nearly as "
        "one weight a channel can."
    ),
    limits=(
        "Made for features that are not negative: a channel whose sum is near 0 gets an "
        "arbitrary weight. As coarse as the layer."
    ),
)
def xgradcam(op: Emitter, a: Tensor, da: Tensor, axes: Axes) -> Tensor:
    """L = relu(sum_k w_k A_k), w_k = sum(A_k dy/dA_k) / sum(A_k), 0 where sum(A_k) is 0.

    The paper's features are not negative. pytorch-grad-cam adds 1e-7 to the denominator.
    """
    product = space_product(op, a, narrow(op, da, axes), axes)
    weights = ratio(op, product, space_sum(op, a, axes))
    return weighted_sum(op, weights, a, axes)
