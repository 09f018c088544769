"""DeepLIFT."""

from __future__ import annotations

from onnxcam.autodiff.view import Overrides
from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import channel_sum
from onnxcam.methods.gradient.integrated_gradients import BASELINE
from onnxcam.methods.lrp.differences import Differences
from onnxcam.methods.needs import Input, InputGradient
from onnxcam.methods.registry import Axes, Cost, graph_method


def composite(baseline: float = 0.0) -> Overrides:
    """Return which node hands its multipliers on by which rule; for one graph.

    Args:
        baseline: The value of every number of the reference.
    """
    return Differences(baseline).overrides()


@graph_method(
    "deeplift",
    needs=(Input, InputGradient),
    cite="Shrikumar et al., Learning Important Features Through Propagating Activation "
    "Differences, ICML 2017, section 3.5.2",
    rectify=False,
    signed=True,
    overrides=composite,
    parameters=(BASELINE,),
    cost=Cost(4),
    claim=(
        "The share of each input value in the difference between the score and that of the "
        "baseline, in one backward pass; the map sums up to it."
    ),
    limits=(
        "Everything is against the baseline: what equals it gets nothing, and another baseline "
        "gives another map. Two networks of the same function may have different maps. No softmax "
        "inside, no normalisation by statistics of the input."
    ),
)
def deeplift(op: Emitter, x: Tensor, m: Tensor, axes: Axes, *, baseline: float) -> Tensor:
    """M = sum_c (x_c - b_c) m_c, m = dy/dx in which a curve has the slope (y - y0) / (x - x0).

    The rescale rule: x0 and y0 are what a curve has where the input is the baseline, which the
    model runs on beside it. Linear layers have their own gradient. Maxima are as in Captum:
    what the larger one of y and y0 adds goes to the place of the largest x, the rest to that of
    the largest x0. Products of two values (gates) share the difference evenly, and so does what
    is spelled out; the paper has no rule for these. The rule reveal-cancel is not here.
    """
    return channel_sum(op, op.Mul(op.Sub(x, baseline), m), axes)
