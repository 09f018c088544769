"""Layer-wise relevance propagation by the alpha-beta rule."""

from __future__ import annotations

from onnxcam.autodiff.view import Overrides
from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.lrp import composites, rules
from onnxcam.methods.lrp.first import FIRST, HIGH, LOW
from onnxcam.methods.lrp.lrp_epsilon import EPSILON
from onnxcam.methods.lrp.record import relevance_method
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.registry import Axes

ALPHA = Parameter(
    "alpha", float, 2.0, 1, 1000, "weight of what pulls an output up; what pulls down has alpha - 1"
)


def composite(
    alpha: float = 2.0, epsilon: float = 1e-6, first: str = "same", low: float = 0, high: float = 0
) -> Overrides:
    """Return which node hands its relevance on by which rule.

    Args:
        alpha: Weight of positive contributions, from 1 on; negative ones have alpha - 1.
        epsilon: What is added to the size of what is divided by.
        first: Rule of the layers at the input: "same", "flat", "w2" or "zbox".
        low: Smallest value of the input, for zbox.
        high: Largest.
    """
    values = {"alpha": alpha, "beta": alpha - 1}
    return composites.of_convolutions(
        rules.alpha_beta_rule, values, epsilon=epsilon, first=first, low=low, high=high
    )


@relevance_method(
    "lrp-alpha-beta",
    handed="either",
    cite="Bach et al., On Pixel-Wise Explanations, PLOS ONE 2015, equation 60",
    overrides=composite,
    parameters=(ALPHA, EPSILON, FIRST, LOW, HIGH),
    claim="How the score is shared out, with what speaks for and against it weighed apart.",
    limits="How much evidence against counts is a convention (alpha). The rest as lrp-epsilon.",
)
def lrp_alpha_beta(op: Emitter, x: Tensor, r: Tensor, axes: Axes, *, first: str) -> Tensor:
    """M = sum_c R_c, R_i = sum_j (alpha (x_i w_ij)+ / p_j - beta (x_i w_ij)- / n_j) R_j.

    p_j = sum_i (x_i w_ij)+ + b_j+ and n_j = sum_i (x_i w_ij)- + b_j-, beta = alpha - 1; in
    convolutions with their BatchNormalization. Linear layers have the epsilon rule: with alpha 2
    it is zennit's EpsilonAlpha2Beta1. ``first`` gives the layers at the input another rule. The
    rest is as in lrp-epsilon.
    """
    return composites.as_map(op, x, r, axes, first)
