"""Kernel SHAP."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, combinations
from math import comb

import numpy as np

from onnxcam.methods.needs import Array, Ask, Input, Probability, Random, Score
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.perturb import regions as parts
from onnxcam.methods.perturb.fits import constrained
from onnxcam.methods.perturb.hiding import BASELINE, chosen, fill, nothing, score
from onnxcam.methods.registry import Cost, Estimate, sampled_method


@sampled_method(
    "kernel-shap",
    kind="sampling",
    needs=(Input, Score, Probability, Random),
    cite="Lundberg and Lee, A Unified Approach to Interpreting Model Predictions, NIPS 2017, thm 2",
    parameters=(
        Parameter("samples", int, 1000, 2, 10_000_000, "number of inputs with parts hidden"),
        parts.REGIONS, parts.SEGMENTS, BASELINE, fill("value"), score("score"),
    ),
    cost=Cost(1, "samples"),
    signed=True,
    anytime=True,
    claim=(
        "The fair share (Shapley value) of each feature or region in the difference between the "
        "score and that of the hidden input; the shares add up to it."
    ),
    limits=(
        "A sample of the coalitions, unless there are few features: see its standard error. Hidden "
        "parts are the baseline, which the model may never have seen; another one, or other "
        "regions, are another game."
    ),
)  # fmt: skip
def kernel_shap(
    x: Array, scores: Ask, probabilities: Ask, rng: np.random.Generator, *, samples: int,
    regions: int, segments: str, baseline: float, fill: str, score: str,
) -> Estimate:  # fmt: skip
    """Min over b of sum_z w(z) (y(x_z) - y(x_0) - z b)^2, sum b = y(x) - y(x_0); M_i = b / size.

    w(z) = (R - 1) / (binomial(R, s) s (R - s)) of R regions of which z shows s. All coalitions are
    asked where they are no more than the samples, which is exact; else they are drawn by w, each
    with its opposite (Covert and Lee 2021). The share of a region is laid evenly on its positions,
    so that the map sums up to the score's difference.
    """
    labels, empty = parts.regions(x, regions, segments), nothing(x, fill, baseline)
    count = int(labels.max()) + 1
    drawn: list[tuple[Array, float]] = []

    def shown() -> Iterator[Array]:
        yield np.ones(count, bool)
        yield np.zeros(count, bool)
        for each in _coalitions(count, samples - 2, rng):
            drawn.append(each)
            yield each[0]

    ask = chosen(score, scores, probabilities)
    y = np.stack(list(ask(parts.without(x, empty, labels, shown())))).astype(np.float64)
    if len(y) < 2:  # a budget of one run
        y = np.concatenate([y, np.zeros_like(y)])
    rise = y[0] - y[1]
    asked = drawn[: len(y) - 2]
    rows = np.array([z for z, _ in asked], np.float64).reshape(-1, count)
    found, error = constrained(rows, y[2:] - y[1], np.array([w for _, w in asked]), rise)
    exact = 2**count - 2 <= len(asked)
    size = np.bincount(labels.ravel())
    doubts = tuple(_doubt(len(asked), count) for _ in rise)
    return Estimate(
        parts.spread(found / size, labels),
        parts.spread((0 * error if exact else error) / size, labels),
        {"parts": np.full(len(rise), count)},
        doubts,
    )


def _coalitions(count: int, most: int, rng: np.random.Generator) -> Iterator[tuple[Array, float]]:
    """Yield which regions are shown, bool [R], and the weight of that."""
    sizes = range(1, count)
    if 2**count - 2 <= most:
        for members in chain.from_iterable(combinations(range(count), s) for s in sizes):
            s = len(members)
            weight = (count - 1) / (comb(count, s) * s * (count - s))
            yield np.isin(np.arange(count), members), weight
        return
    likely = np.array([1 / (s * (count - s)) for s in sizes])
    likely /= likely.sum()
    for _ in range(max(most, 0) // 2):
        size = int(rng.choice(np.arange(1, count), p=likely))
        shown = np.zeros(count, bool)
        shown[rng.permutation(count)[:size]] = True
        yield shown, 1.0
        yield ~shown, 1.0


def _doubt(asked: int, count: int) -> str | None:
    if asked >= count:
        return None
    return f"{asked} samples cannot tell {count} parts apart: sample more, or cut into fewer"
