"""The composite epsilon-alpha2-beta1-flat."""

from __future__ import annotations

from onnxcam.autodiff.view import Overrides
from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.lrp import composites, lrp_alpha_beta
from onnxcam.methods.lrp.lrp_epsilon import EPSILON
from onnxcam.methods.lrp.record import relevance_method
from onnxcam.methods.registry import Axes


def composite(epsilon: float = 1e-6) -> Overrides:
    """Return which node hands its relevance on by which rule."""
    return lrp_alpha_beta.composite(2.0, epsilon, "flat")


@relevance_method(
    "lrp-epsilon-alpha2-beta1-flat",
    handed="relevance",
    cite="EpsilonAlpha2Beta1Flat of zennit; Lapuschkin et al., Nature Communications 2019",
    overrides=composite,
    parameters=(EPSILON,),
    claim="As lrp-alpha-beta, down to the first layer, which blurs: a clear picture of where.",
    limits="The first layer shares out alike, whatever its inputs are: no finer than its windows.",
)
def lrp_alpha2_beta1_flat(op: Emitter, x: Tensor, r: Tensor, axes: Axes) -> Tensor:
    """M = sum_c R_c by lrp-alpha-beta; R_i = sum_j R_j / (inputs of j) in the first layers."""
    return composites.as_map(op, x, r, axes, "flat")
