"""Layer-wise relevance propagation by the epsilon rule."""

from __future__ import annotations

from onnxcam.autodiff.view import Override, Overrides
from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import channel_sum
from onnxcam.methods.lrp import layers, rules
from onnxcam.methods.lrp.record import relevance_method
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.registry import Axes

EPSILON = Parameter(
    "epsilon", float, 1e-6, 0, 1e6, "size that is added to the outputs of linear layers"
)


def composite(epsilon: float = 1e-6) -> Overrides:
    """Return which node hands its relevance on by which rule.

    Args:
        epsilon: What is added to the size of each output of a linear layer, in its own unit.
    """
    return Overrides(
        (
            Override(
                layers.ends_layer, rules.epsilon_rule, {"epsilon": epsilon}, what="linear layers"
            ),
            Override(layers.bends, rules.activation_rule, what="activations"),
            Override(lambda node: layers.gated(node) is not None, rules.gate_rule),
            Override(lambda node: not layers.keeps(node), rules.refusal),
        )
    )


@relevance_method(
    "lrp-epsilon",
    cite="Bach et al., On Pixel-Wise Explanations, PLOS ONE 2015, equation 58",
    overrides=composite,
    parameters=(EPSILON,),
    claim="How the score is shared out among the inputs, layer by layer, as their products are.",
    limits="For ReLU networks nearly input times gradient. No transformers: products of two values "
    "and normalisations by statistics of the input are refused.",
)
def lrp_epsilon(op: Emitter, x: Tensor, r: Tensor, axes: Axes) -> Tensor:
    """M = sum_c x_c r_c, r = dy/dx with R_i = sum_j x_i w_ij / (z_j + epsilon sign z_j) R_j.

    The relevance of an input, summed over its channels; signed. It starts with the score and is
    handed on layer by layer: Conv, ConvTranspose, Gemm, MatMul and Einsum with weights, together
    with the bias, the BatchNormalization and the ReLU behind, and a BatchNormalization that stands
    alone, take it by the rule above (epsilon is 1e-6). A bias and epsilon keep their share: without
    biases, and with a small epsilon, the map sums up to the score. Activations hand it on as it is
    (for f(0) other than 0 this is unbounded near 0, as in zennit). Everything else has its own
    gradient, which loses nothing: sums in proportion to their terms (a residual Add, averages),
    the largest value of a window, reshapes and joins, Resize, factors that are constant.

    For a network whose activations are ReLU only it is nearly input times gradient (Ancona et al.
    2018): the two part with a larger epsilon, or with activations that saturate, as ReLU6.

    Refused are products of two values of the input (attention, squeeze and excitation; not SiLU or
    GELU spelled out), Softmax, normalisations by statistics of the input (LayerNormalization) and
    recurrent cells: no rule above says their shares.
    """
    return channel_sum(op, op.Mul(x, r), axes)
