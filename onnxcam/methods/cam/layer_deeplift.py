"""DeepLIFT from a feature layer on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import channel_sum
from onnxcam.methods.gradient.integrated_gradients import BASELINE
from onnxcam.methods.needs import Activation, LayerOf, MultipliersAtLayer
from onnxcam.methods.registry import Axes, Cost, graph_method

OfValue: TypeAlias = Callable[[Emitter, float], Tensor]


@graph_method(
    "layer-deeplift",
    needs=(Activation, LayerOf, MultipliersAtLayer),
    parameters=(BASELINE,),
    cite="Shrikumar et al., Learning Important Features Through Propagating Activation "
    "Differences, ICML 2017, section 3.1; LayerDeepLift of Captum",
    rectify=False,
    signed=True,
    cost=Cost(4),
    claim=(
        "The share of each position of the layer in the difference between the score and that of "
        "the baseline, where all of the score passes the layer; the map sums up to it. At an "
        "embedding: of each token."
    ),
    limits=(
        "Everything is against the baseline. As coarse as the layer. What reaches the score "
        "without passing the layer has no share. No softmax behind the layer, no normalisation by "
        "statistics of the input."
    ),
)
def layer_deeplift(
    op: Emitter, a: Tensor, layer_of: OfValue, multipliers: OfValue, axes: Axes, *, baseline: float
) -> Tensor:
    """M = sum_k (A_k - A_k(b)) m_k, m DeepLIFT's multipliers of the layer; signed.

    A(b) is the layer where every number of the input is the baseline. The rules are those of
    `deeplift`, of which this is what reaches the layer.
    """
    away = op.Sub(a, layer_of(op, baseline))
    return channel_sum(op, op.Mul(away, multipliers(op, baseline)), axes)
