"""What scores and maps say: probabilities, and what looks wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from onnxcam.analysis.layers import Reduction

Array: TypeAlias = np.ndarray[Any, Any]


def probability(scores: Array, target: int, reduction: Reduction) -> float | None:
    """Return the probability of a class; None where the scores are of no classes, or not finite.

    Args:
        scores: [C] values of the reduction layer.
        target: Class index.
        reduction: What they are; logits without a final Softmax are taken as a Softmax's.
    """
    values = scores.astype(np.float64)
    if reduction.positions or not values.max() < np.inf:  # NaN neither
        return None
    if reduction.kind == "probabilities":
        return float(values[target])
    if reduction.kind != "logits":
        return None
    if reduction.final == "Sigmoid":
        return float(1 / (1 + np.exp(-values[target])))
    if len(values) == 1:
        return None
    if reduction.final is None and abs(values.sum() - 1) < 1e-3 and (values >= 0).all():
        return float(values[target])
    powers = np.exp(values - values.max())
    return float(powers[target] / powers.sum())


def not_finite(outputs: Mapping[str, Array]) -> tuple[str, ...]:
    """Return a warning, in words, where outputs (by name) are not finite; else nothing."""
    bad = [n for n, y in outputs.items() if y.dtype.kind == "f" and not np.isfinite(y).all()]
    if not bad:
        return ()
    names = ", ".join(map(repr, bad))
    return (f"on the sample the model's own outputs are not finite ({names}): give another one",)


def diagnose(raw: Array, signed: Array, scores: Array, steepest: float) -> tuple[str, ...]:
    """Return what went wrong or looks wrong, in words.

    Args:
        raw: The map.
        signed: The map before its negative part was cut off.
        scores: [C] values of the reduction layer.
        steepest: Largest absolute gradient of the score.
    """
    found = []
    if not np.isfinite(scores).all():
        found.append("the scores are not finite: look at the input's scaling")
    if not np.isfinite(signed).all() or not np.isfinite(steepest):
        found.append("the map is not finite")
    elif steepest == 0:
        found.append("the gradient is zero: saturated (explain the logit), or a dead layer")
    elif not raw.any() and (signed < 0).any():
        found.append("all negative: nothing at this layer speaks for the class")
    elif raw.size > 1 and raw.min() == raw.max():
        found.append("the map is constant")
    return tuple(found)
