"""Paired, interleaved timing and the ratio that comes out of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.float64]
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
_RESAMPLES = 2000


@dataclass(frozen=True)
class Ratio:
    """A median of ratios of paired times, with a bootstrap interval of 95 %.

    Attributes:
        median: Median over the pairs of second / first.
        low: Lower end of the interval.
        high: Upper end.
    """

    median: float
    low: float
    high: float


def interleaved(
    *calls: Callable[[], Any],
    runs: int,
    warmup: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> Seconds:
    """Time functions in turns, so that what slows the machine slows all of them.

    Args:
        *calls: The functions.
        runs: Rounds; who comes first in a round takes turns.
        warmup: Rounds before that are not timed.
        clock: Returns seconds. The processor's time is the steadier one on a busy machine, and
            the same as the wall's on one thread.

    Returns:
        Seconds of each call, [functions, runs].
    """
    for _ in range(warmup):
        for call in calls:
            call()
    times = np.empty((len(calls), runs))
    for i in range(runs):
        for j in range(len(calls)):
            which = (i + j) % len(calls)
            begin = clock()
            calls[which]()
            times[which, i] = clock() - begin
    return times


def ratio(plain: Seconds, other: Seconds, *, seed: int = 0) -> Ratio:
    """Return the median of other / plain over the pairs, with its bootstrap interval."""
    ratios = np.asarray(other) / np.asarray(plain)
    draws = np.random.default_rng(seed).integers(0, len(ratios), (_RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(ratios[draws], axis=1), [0.025, 0.975])
    return Ratio(float(np.median(ratios)), float(low), float(high))


def milliseconds(seconds: Sequence[float] | Seconds) -> float:
    """Return the median in milliseconds."""
    return float(np.median(seconds)) * 1000
