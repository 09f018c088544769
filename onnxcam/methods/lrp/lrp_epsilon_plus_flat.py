"""The composite epsilon-plus-flat."""

from __future__ import annotations

from onnxcam.autodiff.view import Overrides
from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.lrp import composites, lrp_epsilon_plus
from onnxcam.methods.lrp.lrp_epsilon import EPSILON
from onnxcam.methods.lrp.record import relevance_method
from onnxcam.methods.registry import Axes


def composite(epsilon: float = 1e-6) -> Overrides:
    """Return which node hands its relevance on by which rule."""
    return lrp_epsilon_plus.composite(epsilon, "flat")


@relevance_method(
    "lrp-epsilon-plus-flat",
    handed="relevance",
    cite="EpsilonPlusFlat of zennit; Lapuschkin et al., Nature Communications 2019 (flat rule)",
    overrides=composite,
    parameters=(EPSILON,),
    claim="As lrp-epsilon-plus, down to the first layer, which blurs: a clear picture of where.",
    limits="The first layer shares out alike, whatever its inputs are: no finer than its windows.",
)
def lrp_epsilon_plus_flat(op: Emitter, x: Tensor, r: Tensor, axes: Axes) -> Tensor:
    """M = sum_c R_c by lrp-epsilon-plus; R_i = sum_j R_j / (inputs of j) in the first layers."""
    return composites.as_map(op, x, r, axes, "flat")
