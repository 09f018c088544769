"""DeepLIFT from a feature layer on, against many baselines."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import channel_sum
from onnxcam.methods.gradient import backgrounds, rounds
from onnxcam.methods.moments import Moments
from onnxcam.methods.needs import (
    Activation,
    Array,
    Ask,
    Background,
    Input,
    LayerOf,
    MultipliersAtLayer,
    Random,
)
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.registry import Axes, Cost, Estimate, sampled_method


def _in_graph(
    op: Emitter, a: Tensor, layer_of: Any, multipliers: Any, axes: Axes, *,
    samples: int, background: str,
) -> Tensor:  # fmt: skip
    """Write the mean over backgrounds that are the file's own, one after another."""
    starts, items = backgrounds.once(op, background, samples)

    def one(body: Emitter, sums: list[Tensor], item: list[Tensor]) -> list[Tensor]:
        def other(inner: Emitter, x: Tensor, own: Axes) -> Tensor:
            return starts.at(inner, x, own, item)

        way = body.Sub(a, layer_of(body, other))
        return [body.Add(sums[0], body.Mul(way, multipliers(body, other)))]

    (total,) = rounds.rounds(op, a, items, 1, one)
    return channel_sum(op, op.Div(total, float(len(items[0]))), axes)


@sampled_method(
    "layer-deeplift-shap",
    kind="repeated",
    needs=(Input, Activation, MultipliersAtLayer, Background, Random),
    cite="Lundberg and Lee, A Unified Approach to Interpreting Model Predictions, NIPS 2017, "
    "section 4.2 (Deep SHAP); LayerDeepLiftShap of Captum",
    parameters=(
        Parameter("samples", int, 50, 2, 1_000_000, "number of backgrounds, at most"),
        backgrounds.BACKGROUND,
    ),
    cost=Cost(4, "samples"),
    signed=True,
    anytime=True,
    claim=(
        "The share of each position of the layer in the difference between the score and the mean "
        "score of the background, where all of the score passes the layer; the map sums up to it. "
        "At an embedding: of each token."
    ),
    limits=(
        "Everything is against the background: another one gives another map. As coarse as the "
        "layer. What reaches the score without passing the layer has no share; the rest as "
        "layer-deeplift."
    ),
    form=((Activation, LayerOf, MultipliersAtLayer), _in_graph),
)
def layer_deeplift_shap(
    x: Array, a: Array, both: Ask, others: Array | None, rng: np.random.Generator, *,
    samples: int, background: str,
) -> Estimate:  # fmt: skip
    """M = mean over b of the background of sum_k (A_k - A_k(b)) m_k(b); signed.

    m are DeepLIFT's multipliers of the layer A. The background is that of `deeplift-shap`, of
    which this is what reaches the layer.
    """
    del background  # the file that `others` were read from
    count, starts = backgrounds.taken(x, others, samples, rng)
    shares, each = Moments(), Moments()
    for answer in both(starts, count):
        there, slope = answer[:, 0], answer[:, 1].astype(np.float64)
        share = (a - there) * slope
        each.add(share)
        shares.add(share.sum(1))
    held = None if others is None else len(others)
    return Estimate(shares.mean, shares.error_among(held), relief=each.mean)
