"""Feature ablation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onnxcam.methods.needs import Array, Ask, Input, Probability, Score
from onnxcam.methods.perturb.hiding import BASELINE, chosen, fill, nothing, score
from onnxcam.methods.perturb.regions import REGIONS, SEGMENTS, regions, spread, without
from onnxcam.methods.registry import Cost, Estimate, sampled_method


@sampled_method(
    "feature-ablation",
    kind="sampling",
    needs=(Input, Score, Probability),
    cite="Kokhlikyan et al., Captum, 2020, arXiv:2009.07896",
    parameters=(REGIONS, SEGMENTS, BASELINE, fill("value"), score("score")),
    cost=Cost(1, "regions"),
    signed=True,
    anytime=True,
    claim="How far the score falls when a feature, or a region of the input, is left out alone.",
    limits=(
        "Of two features that say the same neither is missed; what only works together counts for "
        "each. What stands for nothing may itself mean something to the model."
    ),
)
def feature_ablation(
    x: Array, scores: Ask, probabilities: Ask, *, regions: int, segments: str, baseline: float,
    fill: str, score: str,
) -> Estimate:  # fmt: skip
    """M_i = y(x) - y(x without the region of i), the same for all of a region.

    Features of a table and regions of signals and pictures are left out in all channels at once.
    """
    labels, empty = _regions(x, regions, segments), nothing(x, fill, baseline)
    count = int(labels.max()) + 1

    def shown() -> Iterator[Array]:
        yield np.ones(count, bool)
        for region in range(count):
            yield np.arange(count) != region

    answers = chosen(score, scores, probabilities)(without(x, empty, labels, shown()), count + 1)
    whole = next(answers).astype(np.float64)
    falls = np.zeros((count, len(whole)))
    for region, answer in enumerate(answers):
        falls[region] = whole - answer
    return Estimate(spread(falls.T, labels), facts={"parts": np.full(len(whole), count)})


_regions = regions
