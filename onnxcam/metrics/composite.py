"""ADCC and ARCC: one number of a drop of the score, coherency and complexity."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxcam.metrics.confidence import before_and_after, masked
from onnxcam.metrics.registry import Array, Explain, Predict, metric
from onnxcam.metrics.road import road
from onnxcam.metrics.sample import Explained, laid, scaled

_SMALL = 1e-8  # of the reference: a part of 0 makes the whole 0, without a division by it


@metric(
    "adcc", kind="composite", better="higher",
    cite="Poppi et al., Revisiting the Evaluation of Class Activation Mapping, CVPR workshop 2021",
)  # fmt: skip
def adcc(
    explanation: Explained, predict: Predict, explain: Explain, *, baseline: float = 0.0
) -> float:
    """Harmonic mean of coherency, 1 - complexity and 1 - average drop.

    Coherency is the correlation of the map with that of the input times the map, from 0 to 1;
    complexity the mean of the map from 0 to 1.

    Args:
        explanation: Of one input, with its map at the input's size.
        predict: Inputs [N, ...] -> probabilities [N, C].
        explain: One input -> the map of the same method and class.
        baseline: What the input becomes where the map is 0.
    """
    whole, shown = before_and_after(explanation, predict, baseline)
    drop = max(0.0, whole - shown) / whole if whole > 0 else float("nan")
    return _harmonic(*_coherent_and_simple(explanation, explain, baseline), 1 - drop)


@metric(
    "arcc", kind="composite", better="higher",
    cite="Domeniconi et al., How to Evaluate and Refine your CAM, 2026, arXiv:2605.14641",
)  # fmt: skip
def arcc(
    explanation: Explained, predict: Predict, explain: Explain, *, baseline: float = 0.0,
    **options: Any,
) -> float:  # fmt: skip
    """Harmonic mean of coherency, 1 - complexity and ROAD; see ``adcc``.

    ROAD is combined, of the percentiles 20, 40, 60 and 80, doubled and cut to 0 to 1, as in
    pytorch-grad-cam; ``options`` are its own.
    """
    combined = road(explanation, predict, **{"percentiles": (20, 40, 60, 80), **options})
    parts = _coherent_and_simple(explanation, explain, baseline)
    return _harmonic(*parts, float(np.clip(2 * combined, 0, 1)))


def _coherent_and_simple(
    explanation: Explained, explain: Explain, baseline: float
) -> tuple[float, float]:
    map = scaled(laid(explanation))
    again = scaled(np.asarray(explain(masked(explanation, map, baseline)), np.float64))
    return (_correlation(again, map) + 1) / 2, 1 - float(map.mean())


def _correlation(a: Array, b: Array) -> float:
    """Return Pearson's; 0 where one is constant."""
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b) + _SMALL))


def _harmonic(*parts: float) -> float:
    return len(parts) / sum(1 / (part + _SMALL) for part in parts)
