"""LIME."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onnxcam.methods.needs import Array, Ask, Input, Probability, Random, Score
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.perturb import regions as parts
from onnxcam.methods.perturb.fits import ridge
from onnxcam.methods.perturb.hiding import BASELINE, chosen, fill, nothing, score
from onnxcam.methods.registry import Cost, Estimate, sampled_method


@sampled_method(
    "lime",
    kind="sampling",
    needs=(Input, Score, Probability, Random),
    cite="Ribeiro, Singh and Guestrin, Why Should I Trust You?, KDD 2016, equations 1 and 2",
    parameters=(
        Parameter("samples", int, 1000, 2, 10_000_000, "number of inputs with parts hidden"),
        parts.REGIONS, parts.SEGMENTS,
        Parameter("width", float, 0.25, 1e-3, 1000, "how far from the input the fit looks: width "
                  "of the kernel over the cosine distance"),
        Parameter("penalty", float, 1.0, 0, 1_000_000, "penalty of the fit on large weights"),
        BASELINE, fill("value"), score("probability"),
    ),
    cost=Cost(1, "samples"),
    signed=True,
    anytime=True,
    claim="The weight of each region in the linear model that fits the score best near the input.",
    limits=(
        "As good as the linear model fits (see `fit`): regions that only work together are not "
        "linear. Depends on the regions, the width of the kernel and what hides; see its standard "
        "error."
    ),
)  # fmt: skip
def lime(
    x: Array, scores: Ask, probabilities: Ask, rng: np.random.Generator, *, samples: int,
    regions: int, segments: str, width: float, penalty: float, baseline: float, fill: str,
    score: str,
) -> Estimate:  # fmt: skip
    """Min over a, b of sum_z k(z) (y(x_z) - a - z b)^2 + penalty |b|^2; M_i = b of i's region.

    z says which regions are shown, each with probability 1/2 (the first shows all); k = exp(-d^2 /
    (2 width^2)), d the cosine distance of z from all ones: the authors' program. Regions are SLIC's
    where theirs are quickshift's; the hidden ones are 0 of the prepared input, where theirs get the
    region's mean. `fit` is the weighted R^2.
    """
    labels, empty = parts.regions(x, regions, segments), nothing(x, fill, baseline)
    drawn: list[Array] = []

    def shown() -> Iterator[Array]:
        for k in range(samples):
            seen = np.ones(labels.max() + 1, bool) if k == 0 else rng.random(labels.max() + 1) < 0.5
            drawn.append(seen)
            yield seen

    ask = chosen(score, scores, probabilities)
    y = np.stack(list(ask(parts.without(x, empty, labels, shown())))).astype(np.float64)
    rows = np.stack(drawn[: len(y)]).astype(np.float64)
    far = 1 - np.sqrt(rows.mean(1))
    near = np.exp(-(far**2) / (2 * width**2))
    found, error = ridge(rows, y, near, penalty)
    fit = _fit(rows, y, near, found)
    return Estimate(parts.spread(found, labels), parts.spread(error, labels), {"fit": fit})


def _fit(rows: Array, y: Array, weights: Array, found: Array) -> Array:
    """Return the share of the variance of y that the fit explains, weighted, [K]."""
    away = y - np.average(y, 0, weights)
    said = (rows - np.average(rows, 0, weights)) @ found.T
    whole = weights @ away**2
    return np.asarray(1 - (weights @ (away - said) ** 2) / np.where(whole > 0, whole, 1))
