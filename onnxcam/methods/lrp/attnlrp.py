"""Attention-aware layer-wise relevance propagation."""

from __future__ import annotations

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import channel_sum
from onnxcam.methods.lrp.attention import composite
from onnxcam.methods.lrp.record import relevance_method
from onnxcam.methods.registry import Axes


@relevance_method(
    "attnlrp",
    cite="Achtibat et al., AttnLRP, ICML 2024, equations 7 to 15",
    overrides=composite(attention_moves=True),
    claim="How the score of a transformer is shared out among the inputs, attention included.",
    limits="Does not sum up to the score: a softmax adds to the relevance, a bias keeps some. The "
    "share of an attention goes in halves to where it looks and to what it finds: a convention.",
)
def attnlrp(op: Emitter, x: Tensor, r: Tensor, axes: Axes) -> Tensor:
    """M = sum_c x_c r_c, r = dy/dx with rules for attention, normalisations and activations.

    The relevance of an input, summed over its channels; signed. Linear layers and sums hand it on
    in proportion to what they add (LRP-0), activations and gates as it is, a softmax by its own
    gradient (proposition 3.1 of the paper), a product of two values in halves (3.3), and a
    normalisation as if what it divides by were constant (3.4). The paper has an epsilon in what it
    divides by and a gamma in the linear layers of vision transformers; here, as in the efficient
    form of its authors' code, lxt, they are 0.
    """
    return channel_sum(op, op.Mul(x, r), axes)
