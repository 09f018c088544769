"""DeepLIFT against many baselines: DeepSHAP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    rows = np.arange(samples)
    if background:
        held = backgrounds.size(background)
        rows = backgrounds.chosen(held, samples, np.random.default_rng(0))
    table = backgrounds.Held(op, background, rows)

    def one(body: Emitter, sums: list[Tensor], item: list[Tensor]) -> list[Tensor]:
        if background:
            start = table.picked(body, x, item[1])
        else:
            start = body.typed(backgrounds.mixed(body, x, axes, item[0]), x)
        return [body.Add(sums[0], body.Mul(body.Sub(x, start), against(body, start)))]

    items = [np.arange(1, len(rows) + 1), np.arange(len(rows)).reshape(-1, 1)]
    (total,) = rounds.rounds(op, x, items, 1, one)
    return channel_sum(op, op.Div(total, float(len(rows))), axes)


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
    drawn: list[Array] = []
    rows = range(samples) if others is None else backgrounds.chosen(len(others), samples, rng)

    def starts() -> Iterator[Array]:
        for row in rows:
            drawn.append(backgrounds.shuffled(x, rng) if others is None else others[row])
            yield drawn[-1]

    shares, each = Moments(), Moments()
    for slope in multipliers(starts(), len(rows)):
        share = (x - drawn.pop(0)) * slope.astype(np.float64)
        each.add(share)
        shares.add(share.sum(1))
    return Estimate(
        shares.mean, shares.error_among(None if others is None else len(others)), relief=each.mean
    )
