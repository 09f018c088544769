"""Deep feature factorization."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onnxcam.errors import UsageError
from onnxcam.methods.cam.factors import factors
from onnxcam.methods.needs import Activation, Array, Ask, HeadScore, Layer
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.registry import Cost, Estimate, sampled_method

CONCEPTS = Parameter("concepts", int, 5, 1, 1000, "number of concepts that the layer is made of")
CONCEPT = Parameter(
    "concept", int, -1, -1, 999,
    "concept that is shown, from 0; -1 for the one without which the score falls most",
)  # fmt: skip


@sampled_method(
    "dff",
    kind="head",
    needs=(Layer, Activation, HeadScore),
    cite="Collins et al., Deep Feature Factorization for Concept Discovery, ECCV 2018, equation 2",
    parameters=(CONCEPTS, CONCEPT),
    cost=Cost(1, "concepts"),
    anytime=True,
    claim=(
        "Where one of a few concepts lies that the layer's features are sums of: the one that the "
        "score needs most."
    ),
    limits=(
        "Concepts are those of this input, and others with another number of them; what one stands "
        "for its map must tell. Negative features count as 0. As coarse as the layer."
    ),
)
def dff(layer: Array, a: Array, scores: Ask, *, concepts: int, concept: int) -> Estimate:
    """M = H_j, relu(A) = W H in sums of least squares, W and H not negative, |W_j| = 1.

    A is the layer as a matrix, a row for each of C channels and a column for each position; W
    holds a concept in each column, H how much of it is at each position. They come from
    scikit-learn's solver with a fixed start (as in pytorch-grad-cam, which subtracts each
    channel's minimum and leaves the scale of W open). The concept shown is the one whose part of
    the layer, sum_i W_ji+ A_i along W_j with the pseudoinverse W+, lowers the score most where it
    is taken out; the paper has no score. The largest concepts are asked about first: where this
    ends early the one shown is the best of those.
    """
    features = np.maximum(a.reshape(len(a), -1), 0).astype(np.float64)
    count = min(concepts, *features.shape)
    if concept >= count:
        raise UsageError(
            f"concept {concept} is asked for, and there are {count}",
            "choose one from 0 on, or -1 for the one that the score needs most",
        )
    columns, amounts = factors(features, count, "dff")
    inverse = np.linalg.pinv(columns)
    order = np.argsort(-amounts.sum(1), kind="stable") if concept < 0 else np.array([concept])

    def without() -> Iterator[Array]:
        flat = layer.reshape(len(layer), -1)
        yield layer
        for j in order:
            part = np.outer(columns[:, j], inverse[j] @ flat)
            yield (flat - part).reshape(layer.shape).astype(layer.dtype)

    whole, *others = (answer.astype(np.float64) for answer in scores(without()))
    drops = whole - np.stack(others) if others else np.zeros((1, len(whole)))  # [concepts, K]
    best = drops.argmax(0)
    chosen = order[best]
    maps = amounts.reshape(count, *a.shape[1:])[chosen]
    facts = {"concept_shown": chosen}
    if others:
        facts["drop"] = drops[best, np.arange(len(whole))]
    return Estimate(maps, facts=facts)
