"""Layer-wise relevance propagation by the z-plus rule below, the epsilon rule above."""

from __future__ import annotations

from onnxcam.autodiff.view import Overrides
from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.lrp import composites, lrp_alpha_beta
from onnxcam.methods.lrp.first import FIRST, HIGH, LOW
from onnxcam.methods.lrp.lrp_epsilon import EPSILON
from onnxcam.methods.lrp.record import relevance_method
from onnxcam.methods.registry import Axes


def composite(
    epsilon: float = 1e-6, first: str = "same", low: float = 0, high: float = 0
) -> Overrides:
    """Return which node hands its relevance on by which rule: that of lrp-alpha-beta, alpha 1."""
    return lrp_alpha_beta.composite(1.0, epsilon, first, low, high)


@relevance_method(
    "lrp-epsilon-plus",
    handed="either",
    cite="Montavon et al., Deep Taylor Decomposition, Pattern Recognition 2017, equation 14",
    overrides=composite,
    parameters=(EPSILON, FIRST, LOW, HIGH),
    claim="Which inputs pull up what the score is made of; little noise.",
    limits=(
        "What pulls a feature down is never seen in convolutions: classes look alike. The rest as "
        "lrp-epsilon."
    ),
)
def lrp_epsilon_plus(op: Emitter, x: Tensor, r: Tensor, axes: Axes, *, first: str) -> Tensor:
    """M = sum_c R_c, R_i = sum_j (x_i w_ij)+ / (sum_i (x_i w_ij)+ + b_j+) R_j in convolutions.

    The z-plus rule, which is the alpha-beta rule with alpha 1 and beta 0, for inputs of both
    signs; linear layers have the epsilon rule. It is zennit's EpsilonPlus, and with
    ``first="flat"`` EpsilonPlusFlat. The rest is as in lrp-epsilon.
    """
    return composites.as_map(op, x, r, axes, first)
