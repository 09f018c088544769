"""Shapley values by sampling."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from onnxcam.methods.moments import Moments
from onnxcam.methods.needs import Array, Ask, Input, Probability, Random, Score
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.perturb import regions as parts
from onnxcam.methods.perturb.hiding import BASELINE, chosen, fill, nothing, score
from onnxcam.methods.registry import Cost, Estimate, sampled_method


@sampled_method(
    "shapley-sampling",
    kind="sampling",
    needs=(Input, Score, Probability, Random),
    cite="Castro, Gomez and Tejada, Polynomial Calculation of the Shapley Value Based on Sampling, "
    "Computers and Operations Research 2009; ShapleyValueSampling of Captum",
    parameters=(
        Parameter("orders", int, 25, 2, 1_000_000,
                  "number of orders that the regions are shown in"),
        parts.REGIONS, parts.SEGMENTS, BASELINE, fill("value"), score("score"),
    ),
    cost=Cost(1, "orders x regions"),
    signed=True,
    anytime=True,
    claim=(
        "The fair share (Shapley value) of each feature or region in the difference between the "
        "score and that of the hidden input; the shares add up to it in every order."
    ),
    limits=(
        "A mean over random orders: see its standard error, which falls slower than that of "
        "kernel-shap. Hidden parts are the baseline, which the model may never have seen."
    ),
)  # fmt: skip
def shapley_sampling(
    x: Array, scores: Ask, probabilities: Ask, rng: np.random.Generator, *, orders: int,
    regions: int, segments: str, baseline: float, fill: str, score: str,
) -> Estimate:  # fmt: skip
    """M_i = mean over orders of y(x, up to i shown) - y(x, up to before i shown), / size of i.

    Every region of an order is shown after those before it, so that one order asks for as many
    inputs as there are regions. The share of a region is laid evenly on its positions: the map
    sums up to y(x) - y(nothing shown). Captum repeats the share at every position.
    """
    labels, empty = parts.regions(x, regions, segments), nothing(x, fill, baseline)
    count = int(labels.max()) + 1
    drawn: list[Array] = []

    def shown() -> Iterator[Array]:
        yield np.zeros(count, bool)
        yield np.ones(count, bool)
        for _ in range(orders):
            order = rng.permutation(count)
            drawn.append(order)
            seen = np.zeros(count, bool)
            for region in order[:-1]:  # all of them are shown at the end: that is known
                seen[region] = True
                yield seen.copy()

    asked = chosen(score, scores, probabilities)(
        parts.without(x, empty, labels, shown()), orders * (count - 1) + 2
    )
    ends = [answer.astype(np.float64) for answer in islice(asked, 2)]
    low, high = ends[0], ends[-1]
    shares, sizes = Moments(), np.bincount(labels.ravel(), minlength=count)
    for row in _rows(asked, count - 1):
        steps = np.diff(np.stack([low, *row, high]), axis=0)  # [count, K]
        share = np.empty_like(steps)
        share[drawn.pop(0)] = steps
        shares.add(share.T / sizes)
    if not shares.count:  # a budget of less than an order
        shares.add(np.tile(((high - low) / labels.size)[:, None], (1, count)))
    facts = {"parts": np.full(len(low), count)}
    spread = parts.spread
    return Estimate(spread(shares.mean, labels), spread(shares.error, labels), facts=facts)


def _rows(answers: Iterator[Array], size: int) -> Iterator[list[Array]]:
    """Yield answers of one order after another; one that was not finished is left out."""
    while size and len(row := list(islice(answers, size))) == size:
        yield row
