"""DeepLIFT against many baselines: DeepSHAP."""

from __future__ import annotations

from collections.abc import Callable
from itertools import tee
from typing import TypeAlias

import numpy as np

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.cam.sums import channel_sum
from onnxcam.methods.gradient import backgrounds, rounds
from onnxcam.methods.moments import Moments
from onnxcam.methods.needs import Array, Ask, Background, Input, Multipliers, Random
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.registry import Axes, Cost, Estimate, sampled_method

Against: TypeAlias = Callable[[Emitter, Tensor], Tensor]


def _in_graph(
    op: Emitter, x: Tensor, against: Against, axes: Axes, *, samples: int, background: str
) -> Tensor:
    """Write the mean over backgrounds that are the file's own, one after another."""
    starts, items = backgrounds.once(op, background, samples)

    def one(body: Emitter, sums: list[Tensor], item: list[Tensor]) -> list[Tensor]:
        start = starts.at(body, x, axes, item)
        return [body.Add(sums[0], body.Mul(body.Sub(x, start), against(body, start)))]

    (total,) = rounds.rounds(op, x, items, 1, one)
    return channel_sum(op, op.Div(total, float(len(items[0]))), axes)


@sampled_method(
    "deeplift-shap",
    kind="repeated",
    needs=(Input, Multipliers, Background, Random),
    cite="Lundberg and Lee, A Unified Approach to Interpreting Model Predictions, NIPS 2017, "
    "section 4.2 (Deep SHAP); DeepLiftShap of Captum",
    parameters=(
        Parameter("samples", int, 50, 2, 1_000_000, "number of backgrounds, at most"),
        backgrounds.BACKGROUND,
    ),
    cost=Cost(4, "samples"),
    signed=True,
    anytime=True,
    claim=(
        "The share of each input value in the difference between the score and the mean score of "
        "the background: deeplift, averaged over many baselines. The map sums up to it."
    ),
    limits=(
        "Everything is against the background: another one gives another map. Approximate Shapley "
        "values only as far as the network is linear; the rest as deeplift."
    ),
    form=((Input, Multipliers), _in_graph),
)
def deeplift_shap(
    x: Array, multipliers: Ask, others: Array | None, rng: np.random.Generator, *,
    samples: int, background: str,
) -> Estimate:  # fmt: skip
    """M = mean over b of the background of sum_c (x_c - b_c) m_c(b), m DeepLIFT's multipliers.

    A background of no more than `samples` is taken whole, as Captum does, and the map has no
    error; of a larger one as many are drawn, none twice. Without one it is the input with its
    positions in random order, `samples` times; the paper always has a background. In a converted
    file the draws are of the file's own, the same in every run, and hold the background.
    """
    del background  # the file that `others` were read from
    count, found = backgrounds.taken(x, others, samples, rng)
    starts, asked = tee(found)
    shares, each = Moments(), Moments()
    for slope in multipliers(asked, count):
        share = (x - next(starts)) * slope.astype(np.float64)
        each.add(share)
        shares.add(share.sum(1))
    return Estimate(
        shares.mean, shares.error_among(None if others is None else len(others)), relief=each.mean
    )
