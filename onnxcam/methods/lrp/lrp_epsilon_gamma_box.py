"""The composite epsilon-gamma-box."""

from __future__ import annotations

from onnxcam.autodiff.view import Overrides
from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.lrp import composites, rules
from onnxcam.methods.lrp.first import HIGH, LOW
from onnxcam.methods.lrp.lrp_epsilon import EPSILON
from onnxcam.methods.lrp.lrp_gamma import GAMMA
from onnxcam.methods.lrp.record import relevance_method
from onnxcam.methods.registry import Axes


def composite(
    gamma: float = 0.25, epsilon: float = 1e-6, low: float = 0, high: float = 0
) -> Overrides:
    """Return which node hands its relevance on by which rule.

    Args:
        gamma: How much more what pulls an output the way it went counts.
        epsilon: What is added to the size of what is divided by.
        low: Smallest value of the input, in the units of the first layer.
        high: Largest; where both are 0, those of each input.
    """
    return composites.of_convolutions(
        rules.gamma_rule, {"gamma": gamma}, epsilon=epsilon, first="zbox", low=low, high=high
    )


@relevance_method(
    "lrp-epsilon-gamma-box",
    handed="relevance",
    cite="Montavon et al., Layer-Wise Relevance Propagation: An Overview, 2019, section 10.3",
    overrides=composite,
    parameters=(GAMMA, EPSILON, LOW, HIGH),
    claim="How the score is shared out among pixels that have a smallest and a largest value.",
    limits=(
        "The limits of the pixels are those of each input unless they are said. The rest as "
        "lrp-gamma."
    ),
)
def lrp_epsilon_gamma_box(op: Emitter, x: Tensor, r: Tensor, axes: Axes) -> Tensor:
    """M = sum_c R_c, R_i by z_ij = x_i w_ij - l w_ij+ - h w_ij- in the first layers, gamma above.

    All convolutions but the first have the gamma rule, linear layers the epsilon rule: zennit's
    EpsilonGammaBox. l and h are the smallest and the largest value that an input can have.
    """
    return composites.as_map(op, x, r, axes, "zbox")
