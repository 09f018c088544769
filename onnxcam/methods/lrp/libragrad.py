"""LibraGrad."""

from __future__ import annotations

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import channel_sum
from onnxcam.methods.lrp.attention import composite
from onnxcam.methods.lrp.record import relevance_method
from onnxcam.methods.registry import Axes


@relevance_method(
    "libragrad",
    cite="Mehri et al., LibraGrad: Balancing Gradient Flow, CVPR 2025",
    overrides=composite(attention_moves=False),
    claim="How the score of a transformer is shared out among the inputs, given where it attends.",
    limits="Why a transformer attends where it does is left out. A bias, a class token and "
    "position embeddings keep their share: without them the map sums up to the score.",
)
def libragrad(op: Emitter, x: Tensor, r: Tensor, axes: Axes) -> Tensor:
    """M = sum_c x_c r_c, r = dy/dx with gates, norms and attention weights taken as constant.

    Input times gradient, its backward paths pruned so that a layer's relevance is that of its
    output: a gated activation (GELU, SiLU) has the gradient of its gate left out, a normalisation
    that of what it divides by, an attention that of its softmax; other products of two values have
    half of their gradient each. Signed, summed over the channels. The paper prunes and scales
    these for any method on gradients; this is its input times gradient.
    """
    return channel_sum(op, op.Mul(x, r), axes)
