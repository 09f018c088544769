"""HSIC."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from onnxcam.methods.moments import jackknife
from onnxcam.methods.needs import Array, Ask, Input, Probability, Random, Score
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.perturb.hiding import BASELINE, cells, chosen, fill, nothing, score
from onnxcam.methods.perturb.masks import nearest
from onnxcam.methods.registry import Cost, Estimate, sampled_method

_GROUPS = 10  # of masks, for the standard error


@sampled_method(
    "hsic",
    kind="sampling",
    needs=(Input, Score, Probability, Random),
    cite="Novello, Fel and Vigouroux, Making Sense of Dependence, NeurIPS 2022, equation 6",
    parameters=(
        Parameter("samples", int, 500, 4, 10_000_000, "number of inputs with parts hidden"),
        cells(7),
        BASELINE, fill("value"), score("probability"),
    ),
    cost=Cost(1, "samples"),
    anytime=True,
    claim="How far the score depends on whether a cell of the input is seen.",
    limits=(
        "Without a sign, and without a unit: only the ranking of cells means something. No finer "
        "than a cell; what only works together is seen dimly."
    ),
)  # fmt: skip
def hsic(
    x: Array, scores: Ask, probabilities: Ask, rng: np.random.Generator, *, samples: int,
    cells: int, baseline: float, fill: str, score: str,
) -> Estimate:  # fmt: skip
    """HSIC_i = sum_ab Lc_ab K(m_ai, m_bi) / N^2, K = 1/2 + [m = m'], L a Gaussian of the scores.

    The masks m are 0 or 1, of a Latin hypercube: every cell is seen in half of them. The width of
    L is the median of the scores, and Lc is L with its means taken out, as in xplique, whose values
    are N times these. With m of 0 and 1 the sum is 2 m' Lc m. The standard error is by the
    jackknife over ten groups of masks.
    """
    grid = (cells,) * (x.ndim - 1)
    count, empty = prod(grid), nothing(x, fill, baseline)
    masks = _halves(count, samples, rng)

    def hidden() -> Iterator[Array]:
        for row in masks:
            yield np.where(nearest(row.reshape(grid), x.shape[1:]), x, empty)

    ask = chosen(score, scores, probabilities)
    y = np.stack(list(ask(hidden()))).astype(np.float64)
    seen = masks[: len(y)].astype(np.float64)
    groups = np.arange(len(y)) % _GROUPS

    def found(kept: Array) -> Array:
        return np.stack([_dependence(seen[kept], each[kept]) for each in y.T]).reshape(-1, *grid)

    without = [found(groups != group) for group in np.unique(groups) if len(y) > 1]
    whole = found(groups >= 0)
    return Estimate(whole, jackknife(without or [whole]))


def _dependence(seen: Array, y: Array) -> Array:
    """Return the HSIC of each cell, float64 [R]."""
    width = float(np.median(y)) or float(y.std()) or 1.0
    kernel = np.exp(-((y[:, None] - y) ** 2) / (2 * width**2))
    kernel -= kernel.mean(0)
    kernel -= kernel.mean(1, keepdims=True)
    return np.asarray(2 * np.einsum("ai,ai->i", seen, kernel @ seen) / len(y) ** 2)


def _halves(count: int, samples: int, rng: np.random.Generator) -> Array:
    """Return masks, bool [N, R]: half of each column is True."""
    from scipy.stats import qmc

    return np.asarray(qmc.LatinHypercube(count, rng=rng).random(samples) >= 0.5)
