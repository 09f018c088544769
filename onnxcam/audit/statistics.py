"""Intervals: how far a figure of a sample may lie from that of what the sample stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from onnxcam.audit.extras import needed

Array: TypeAlias = np.ndarray[Any, Any]
_MOST = 250_000  # drawn numbers in memory at once


@dataclass(frozen=True)
class Estimate:
    """A figure of a group of samples.

    Attributes:
        value: The figure: a mean.
        low: Lower end of its interval.
        high: Upper end.
        count: Samples behind it.
    """

    value: float
    low: float
    high: float
    count: int


def estimate(values: Array, confidence: float, *, resamples: int, seed: int) -> Estimate | None:
    """Return the mean of a group and its interval.

    The interval of truths is the exact one of Clopper and Pearson (`scipy.stats.binomtest`): a
    bootstrap of a rate of 0 or 1 would claim to be certain. That of numbers is the percentile
    bootstrap (`scipy.stats.bootstrap`).

    Args:
        values: bool or float [N]; what is not finite is left out.
        confidence: Of the two-sided interval, 0 to 1.
        resamples: Of the bootstrap.
        seed: Of its random numbers.

    Returns:
        The estimate; None of no values.
    """
    if values.dtype == np.bool_:
        return _rate(values, confidence)
    numbers = values[np.isfinite(values)].astype(np.float64)
    if not numbers.size:
        return None
    mean = float(numbers.mean())
    if numbers.size == 1 or np.ptp(numbers) == 0:
        return Estimate(mean, mean, mean, numbers.size)
    found = needed("scipy.stats", "intervals of an audit").bootstrap(
        (numbers,), np.mean, n_resamples=resamples, confidence_level=confidence,
        method="percentile", batch=max(1, _MOST // numbers.size),
        rng=np.random.default_rng(seed),
    )  # fmt: skip
    interval = found.confidence_interval
    return Estimate(mean, float(interval.low), float(interval.high), numbers.size)


def _rate(values: Array, confidence: float) -> Estimate | None:
    if not values.size:
        return None
    hits = int(values.sum())
    test = needed("scipy.stats", "intervals of an audit").binomtest(hits, values.size)
    found = test.proportion_ci(confidence, method="exact")
    return Estimate(hits / values.size, float(found.low), float(found.high), values.size)
