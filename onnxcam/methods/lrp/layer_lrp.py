"""Layer-wise relevance propagation down to a feature layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from onnxcam.autodiff.view import Overrides
from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import channel_sum
from onnxcam.methods.lrp import attention, lrp_alpha_beta, lrp_epsilon, lrp_gamma
from onnxcam.methods.needs import Activation, Gradient
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.registry import Axes, Cost, graph_method

_COMPOSITES: Mapping[str, Callable[[float], Overrides]] = {
    "epsilon": lrp_epsilon.composite,
    "epsilon-plus": lambda epsilon: lrp_alpha_beta.composite(1.0, epsilon),
    "alpha2-beta1": lambda epsilon: lrp_alpha_beta.composite(2.0, epsilon),
    "gamma": lambda epsilon: lrp_gamma.composite(epsilon=epsilon, share=1.0),
    "attention": lambda epsilon: attention.composite(attention_moves=True),
}
COMPOSITE = Parameter(
    "composite", str, "epsilon", None, None,
    "rules of the layers behind: those of lrp-epsilon, lrp-epsilon-plus, "
    "lrp-epsilon-alpha2-beta1, lrp-gamma in all convolutions, or attnlrp",
    tuple(_COMPOSITES),
)  # fmt: skip


def composite(composite: str = "epsilon", epsilon: float = 1e-6) -> Overrides:
    """Return which node hands its relevance on by which rule.

    Args:
        composite: Name of the rules.
        epsilon: As in lrp-epsilon; attention has none.
    """
    return replace(_COMPOSITES[composite](epsilon), complete=True)  # a pool alone has no rule


@graph_method(
    "layer-lrp",
    needs=(Activation, Gradient),
    parameters=(COMPOSITE, lrp_epsilon.EPSILON),
    cite="Bach et al., On Pixel-Wise Explanations, PLOS ONE 2015, equation 58; LayerLRP of Captum",
    overrides=composite,
    rectify=False,
    signed=True,
    cost=Cost(3),
    claim=(
        "How the score is shared out among the positions of the layer by the rules behind it. At "
        "an embedding: among the tokens."
    ),
    limits=(
        "As coarse as the layer. What reaches the score without passing the layer has no share. "
        "The rest as the method whose rules it has."
    ),
)
def layer_lrp(op: Emitter, a: Tensor, r: Tensor, axes: Axes) -> Tensor:
    """M = sum_k A_k r_k, r = dy/dA by the rules of a method of relevance; signed.

    What such a method has handed on when it reaches the layer: at the input it is that method.
    A layer within a linear one, before its BatchNormalization or ReLU, has the relevance that
    these hand on.
    """
    return channel_sum(op, op.Mul(a, r), axes)
