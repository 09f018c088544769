"""DeepLIFT with the rule reveal-cancel."""

from __future__ import annotations

from onnxcam.autodiff.view import Overrides
from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import channel_sum
from onnxcam.methods.gradient.integrated_gradients import BASELINE
from onnxcam.methods.lrp.reveal import Revealed
from onnxcam.methods.needs import Input, InputGradient
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.registry import Axes, Cost, graph_method

WHERE = Parameter(
    "layers", str, "all", None, None,
    "layers with the rule: all that end in a ReLU, or dense ones only, and convolutions rescale, "
    "as the authors advise", ("all", "dense"),
)  # fmt: skip


def composite(baseline: float = 0.0, layers: str = "all") -> Overrides:
    """Return which node hands its multipliers on by which rule; for one graph.

    Args:
        baseline: The value of every number of the reference.
        layers: See :data:`WHERE`.
    """
    return Revealed(baseline, dense=layers == "dense").overrides()


@graph_method(
    "deeplift-reveal-cancel",
    needs=(Input, InputGradient),
    cite="Shrikumar et al., Learning Important Features Through Propagating Activation "
    "Differences, ICML 2017, section 3.5.3",
    rectify=False,
    signed=True,
    overrides=composite,
    parameters=(BASELINE, WHERE),
    cost=Cost(9),
    claim=(
        "As deeplift, where what pulls a unit up and what pulls it down have shares apart: inputs "
        "that cancel each other, or saturate a unit together, are seen. The map sums up to the "
        "difference."
    ),
    limits=(
        "Linear layers that end in a ReLU or ReLU6 have the rule, everything else that of "
        "deeplift; a model without such layers is refused. Everything is against the baseline. No "
        "softmax inside, no normalisation by statistics of the input."
    ),
)
def deeplift_reveal_cancel(
    op: Emitter, x: Tensor, m: Tensor, axes: Axes, *, baseline: float
) -> Tensor:
    """M = sum_c (x_c - b_c) m_c, m with Shapley's mean over a unit's positive and negative part.

    Both parts are the products of the layer's weights and the differences of its inputs, by their
    signs; the ReLU is asked with each of them first and last. Captum has no such rule; the
    authors' package applies it by the layer's kind, as `layers` does.
    """
    return channel_sum(op, op.Mul(op.Sub(x, baseline), m), axes)
