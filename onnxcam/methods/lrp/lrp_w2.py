"""Layer-wise relevance propagation with the w-square rule at the input."""

from __future__ import annotations

from onnxcam.autodiff.view import Overrides
from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.lrp import composites, lrp_epsilon_plus
from onnxcam.methods.lrp.lrp_epsilon import EPSILON
from onnxcam.methods.lrp.record import relevance_method
from onnxcam.methods.registry import Axes


def composite(epsilon: float = 1e-6) -> Overrides:
    """Return which node hands its relevance on by which rule."""
    return lrp_epsilon_plus.composite(epsilon, "w2")


@relevance_method(
    "lrp-w2",
    handed="relevance",
    cite="Montavon et al., Deep Taylor Decomposition, Pattern Recognition 2017, equation 12",
    overrides=composite,
    parameters=(EPSILON,),
    claim="As lrp-epsilon-plus, for inputs without limits, of which 0 is no special one.",
    limits="What the input is does not matter in the first layer, only its weights.",
)
def lrp_w2(op: Emitter, x: Tensor, r: Tensor, axes: Axes) -> Tensor:
    """M = sum_c R_c, R_i = sum_j w_ij^2 / (sum_i w_ij^2 + b_j^2) R_j in the first layers.

    Behind these it is lrp-epsilon-plus. The bias keeps its share, as in zennit; the paper has none.
    """
    return composites.as_map(op, x, r, axes, "w2")
