"""Layer-wise relevance propagation by the gamma rule below, the epsilon rule above."""

from __future__ import annotations

import math

from onnxcam.autodiff.view import NodeView, Override, Overrides
from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import channel_sum
from onnxcam.methods.lrp import layers, lrp_epsilon, rules
from onnxcam.methods.lrp.record import relevance_method
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.registry import Axes

GAMMA = Parameter("gamma", float, 0.25, 0, 1000, "weight of what pulls an output its way")
SHARE = Parameter("share", float, 0.5, 0, 1, "part of the convolutions with the gamma rule")


def composite(gamma: float = 0.25, epsilon: float = 1e-6, share: float = 0.5) -> Overrides:
    """Return which node hands its relevance on by which rule.

    Args:
        gamma: How much more what pulls an output the way it went counts, from 0 on.
        epsilon: What is added to the size of each output of a linear layer, in its own unit.
        share: Which part of the convolutions on the longest way, from the input, has the gamma
            rule: 0 for none, 1 for all.
    """

    def early(node: NodeView) -> bool:
        root = (layers.layer(node) or (node.raw,))[0]
        last = math.ceil(share * node.route.deepest(layers.is_convolution))
        return node.route.depth(root, layers.is_convolution) <= last

    values = {"gamma": gamma, "epsilon": epsilon}
    opening = Override(layers.opens_convolution, rules.gamma_rule, values, early, "convolutions")
    behind = Override(layers.follows_convolution, rules.handed_on, where=early)
    return Overrides((opening, behind, *lrp_epsilon.composite(epsilon).items))


@relevance_method(
    "lrp-gamma",
    cite="Montavon et al., Layer-Wise Relevance Propagation: An Overview, 2019, section 10.2",
    overrides=composite,
    parameters=(GAMMA, lrp_epsilon.EPSILON, SHARE),
    claim="As lrp-epsilon, with less noise: what pulled an early feature its way counts more.",
    limits="What speaks against the class is weakened in early layers. The rest as lrp-epsilon.",
)
def lrp_gamma(op: Emitter, x: Tensor, r: Tensor, axes: Axes) -> Tensor:
    """M = sum_c x_c r_c as lrp-epsilon, with w_ij + gamma w_ij+ for w_ij in early convolutions.

    Early is the first half of the convolutions on the longest way from the input; gamma is 0.25.
    What pulls an output the way it went counts more there, so that less noise is left of what
    cancels out. Inputs and outputs of both signs have the general form of the rule, as in zennit;
    ConvTranspose and linear layers have the epsilon rule. The rest is as in lrp-epsilon.
    """
    return channel_sum(op, op.Mul(x, r), axes)
