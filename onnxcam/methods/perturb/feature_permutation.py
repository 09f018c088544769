"""Feature permutation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onnxcam.errors import UsageError
from onnxcam.methods.gradient.backgrounds import BACKGROUND
from onnxcam.methods.moments import Moments
from onnxcam.methods.needs import Array, Ask, Background, Input, Probability, Random, Score
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.perturb.hiding import chosen, score
from onnxcam.methods.perturb.regions import REGIONS, SEGMENTS, regions, spread
from onnxcam.methods.registry import Cost, Estimate, sampled_method


@sampled_method(
    "feature-permutation",
    kind="sampling",
    needs=(Input, Score, Probability, Background, Random),
    cite="Breiman, Random Forests, 2001; Fisher, Rudin and Dominici, All Models are Wrong, JMLR "
    "2019; FeaturePermutation of Captum",
    parameters=(
        Parameter("samples", int, 20, 1, 1_000_000,
                  "number of background inputs that each region is taken from"),
        BACKGROUND, REGIONS, SEGMENTS, score("score"),
    ),
    cost=Cost(1, "samples x regions"),
    signed=True,
    anytime=True,
    claim=(
        "How far the score falls on average when a feature, or a region of the input, is that of "
        "another input of the background: nothing stands for nothing."
    ),
    limits=(
        "Of two features that say the same neither is missed. Features that go together are torn "
        "apart, into inputs that may never occur. An average: see its standard error. One input "
        "alone has nothing to exchange with: it needs a background."
    ),
)  # fmt: skip
def feature_permutation(
    x: Array, scores: Ask, probabilities: Ask, others: Array | None, rng: np.random.Generator, *,
    samples: int, background: str, regions: int, segments: str, score: str,
) -> Estimate:  # fmt: skip
    """M_i = y(x) - mean over b of y(x with the region of i from b), b of the background.

    The inputs b are drawn without putting back, and all of them where there are no more than
    `samples`. Captum permutes the features of a batch once, which is one b for each of its inputs;
    over a data set the mean of the maps is the permutation importance of the two papers.

    Raises:
        UsageError: No background is given.
    """
    del background  # the file that `others` were read from
    if others is None:
        raise UsageError(
            "features are exchanged with other inputs, and a single input has none",
            "name a .npy of prepared inputs as background, or use `method='feature-ablation'`",
        )
    labels = _regions(x, regions, segments)
    count = int(labels.max()) + 1
    drawn = rng.permutation(len(others))[:samples]

    def exchanged() -> Iterator[Array]:
        yield x
        for number in drawn:
            for region in range(count):
                yield np.where(labels == region, others[number], x)

    asked = chosen(score, scores, probabilities)(exchanged(), len(drawn) * count + 1)
    whole = next(asked).astype(np.float64)
    falls = [Moments() for _ in range(count)]
    for number, answer in enumerate(asked):
        falls[number % count].add(whole - answer)
    nothing = np.zeros_like(whole)
    means = [fall.mean if fall.count else nothing for fall in falls]
    errors = [fall.error_among(len(others)) if fall.count else nothing + np.inf for fall in falls]
    facts = {"parts": np.full(len(whole), count), "exchanged_with": np.full(len(whole), len(drawn))}
    return Estimate(
        spread(np.stack(means, 1), labels), spread(np.stack(errors, 1), labels), facts=facts
    )


_regions = regions
