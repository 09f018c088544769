"""The probability of an input that shows only what the map marks: drop, increase, gain."""

from __future__ import annotations

import numpy as np

from onnxcam.metrics.curves import nothing, scores_of
from onnxcam.metrics.registry import Array, Predict, metric
from onnxcam.metrics.sample import Explained, along, laid, scaled

_CITE = "Chattopadhay et al., Grad-CAM++, WACV 2018"


@metric("average-drop", kind="faithfulness", better="lower", cite=_CITE)
def average_drop(explanation: Explained, predict: Predict, *, baseline: float = 0.0) -> float:
    """max(0, y - o) / y: y is the probability of x, o that of x times the map from 0 to 1.

    The mean over many inputs is what the paper calls average drop (there in percent).

    Args:
        explanation: Of one input, with its map at the input's size.
        predict: Inputs [N, ...] -> probabilities [N, C].
        baseline: What the input becomes where the map is 0.
    """
    whole, shown = before_and_after(explanation, predict, baseline)
    return float(max(0.0, whole - shown) / whole) if whole > 0 else float("nan")


@metric("increase", kind="faithfulness", better="higher", cite=_CITE)
def increase(explanation: Explained, predict: Predict, *, baseline: float = 0.0) -> float:
    """1 where o > y, else 0: whether what the map marks is surer than the whole input.

    The mean over many inputs is the increase in confidence; see ``average-drop``.
    """
    whole, shown = before_and_after(explanation, predict, baseline)
    return float(shown > whole)


@metric(
    "average-gain", kind="faithfulness", better="higher",
    cite="Zhang et al., Opti-CAM, CVIU 2024, equation 16",
)  # fmt: skip
def average_gain(explanation: Explained, predict: Predict, *, baseline: float = 0.0) -> float:
    """max(0, o - y) / (1 - y): how much of what was lacking to certainty is gained.

    The mean over many inputs is the average gain; see ``average-drop``.
    """
    whole, shown = before_and_after(explanation, predict, baseline)
    return float(max(0.0, shown - whole) / (1 - whole)) if whole < 1 else 0.0


def before_and_after(
    explanation: Explained, predict: Predict, baseline: float
) -> tuple[float, float]:
    """Return the score of the input, and of what its map from 0 to 1 leaves of it."""
    shown = masked(explanation, scaled(laid(explanation)), baseline)
    y = scores_of([explanation.tensor, shown], predict, explanation.target, 2)
    return float(y[0]), float(y[1])


def masked(explanation: Explained, map: Array, baseline: float = 0.0) -> Array:
    """Return the input times a map from 0 to 1; the baseline where that is 0."""
    x, share = explanation.tensor, along(explanation, map)
    empty = nothing(explanation, baseline)
    mixed: Array = np.asarray(x * share + empty * (1 - share))
    return mixed.astype(x.dtype)
