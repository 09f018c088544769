"""Deletion: how fast the score falls when the map's highest places are taken away."""

from __future__ import annotations

import numpy as np

from onnxcam.errors import InputError, UsageError
from onnxcam.metrics.registry import Array, Predict, metric
from onnxcam.output.explanation import Explanation


@metric("deletion", kind="faithfulness", better="lower", cite="Petsiuk et al. 2018")
def deletion(
    explanation: Explanation,
    predict: Predict,
    *,
    steps: int = 50,
    baseline: float | Array = 0.0,
    batch_size: int = 1,
) -> float:
    """AUC = integral over f in [0, 1] of p(x without the fraction f of its places), highest first.

    Petsiuk et al. take away a row's worth of pixels at a time, down to 0 of the normalised input,
    and look at the probability; ``steps`` equal parts are the same where they divide the places.
    Places of one value go in their order in memory.

    Args:
        explanation: Of one input, with its map at the input's size.
        predict: Inputs [N, ...] of the explanation's tensor, in its dtype -> scores [N, C].
        steps: In how many parts the places are taken away.
        baseline: What is put there: a number, or values that broadcast to the tensor.
        batch_size: Inputs for one call of ``predict``.

    Returns:
        The area, in the unit of the scores: 0 to 1 for probabilities, lower is better.

    Raises:
        InputError: The map or a score is not finite.
        UsageError: The map is not at the input's size, or there are no steps.
    """
    removed, curve = deletion_curve(
        explanation, predict, steps=steps, baseline=baseline, batch_size=batch_size
    )
    return float(np.sum(np.diff(removed) * (curve[1:] + curve[:-1]) / 2))


def deletion_curve(
    explanation: Explanation, predict: Predict, *, steps: int, baseline: float | Array,
    batch_size: int,
) -> tuple[Array, Array]:  # fmt: skip
    """Return the fractions taken away, 0 to 1, and the score at each: float64 [steps + 1] both.

    The arguments and errors are those of :func:`deletion`.
    """
    if steps < 1:
        raise UsageError(f"no curve has {steps} steps", "give 1 or more as `steps`")
    rank = _ranks(explanation)
    counts = np.rint(np.linspace(0, rank.size, steps + 1)).astype(np.int64)
    x = explanation.tensor
    empty = np.broadcast_to(np.asarray(baseline, x.dtype), x.shape)
    scores = []
    for first in range(0, len(counts), batch_size):
        batch = [np.where(rank < n, empty, x) for n in counts[first : first + batch_size]]
        scores += list(np.asarray(predict(np.stack(batch)))[:, explanation.target])
    curve = np.asarray(scores, np.float64)
    if not np.isfinite(curve).all():
        raise InputError("a score of the changed input is not finite", "choose another `baseline`")
    return counts / rank.size, curve


def _ranks(explanation: Explanation) -> Array:
    """Return the place of every position in the order of deletion, with the axes of the tensor."""
    layout, map, shape = explanation.layout or "", explanation.map, explanation.tensor.shape
    space = tuple(n for axis, n in zip(layout, shape, strict=False) if axis != "C")
    if len(layout) != len(shape) or map.shape != space:
        raise UsageError(
            f"a map of shape {list(map.shape)} does not lie over an input {list(shape)} "
            f"({layout or 'of unknown axes'})",
            "explain with `upsampling='bicubic'`",
        )
    if not np.isfinite(map).all():
        raise InputError("the map is not finite", "see the explanation's diagnosis")
    rank = np.empty(map.size, np.int64)
    rank[np.argsort(-map.ravel(), kind="stable")] = np.arange(map.size)
    placed = rank.reshape(map.shape)
    return np.expand_dims(placed, layout.index("C")) if "C" in layout else placed
