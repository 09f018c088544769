"""Small arrays brought to the input's size, to hide parts of it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]


def interpolated(values: Array, axis: int, samples: int, *, corners: bool = False) -> Array:
    """Return an array with one axis interpolated linearly.

    Args:
        values: Any numbers.
        axis: The axis.
        samples: Its new extent.
        corners: Lay the first and last value onto the first and last sample; else centres of
            samples are at half, and borders are repeated.

    Returns:
        float64.
    """
    weights = _weights(values.shape[axis], samples, corners)
    return np.moveaxis(np.tensordot(weights, values, (1, axis)), 0, axis)


@lru_cache(maxsize=64)
def _weights(few: int, many: int, corners: bool) -> Array:
    """Return what every sample is made of, float64 [many, few]."""
    if corners:
        at = np.linspace(0, few - 1, many)
    else:
        at = np.clip((np.arange(many) + 0.5) * few / many - 0.5, 0, few - 1)
    low = np.minimum(at.astype(int), few - 1)
    high = np.minimum(low + 1, few - 1)
    weights = np.zeros((many, few))
    weights[np.arange(many), low] += 1 - (at - low)
    weights[np.arange(many), high] += at - low
    return weights
