"""Small arrays brought to the input's size, to hide parts of it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
_SMALL = 1e-8  # pytorch-grad-cam's: a constant channel hides everything


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
    low, high, share = _taps(values.shape[axis], samples, corners)
    share = share.reshape([-1 if i == axis else 1 for i in range(values.ndim)])
    below, above = values.take(low, axis), values.take(high, axis)
    found: Array = below * (1 - share) + above * share
    return found


def channel_mask(channel: Array, space: tuple[int, ...]) -> Array:
    """Return a channel at the input's size, from 0 to 1: the mask of Score-CAM."""
    for axis, extent in enumerate(space):
        channel = interpolated(channel, axis, extent, corners=True)
    low, high = channel.min(), channel.max()
    mask: Array = (channel - low) / (high - low + _SMALL)
    return mask


def nearest(mask: Array, space: tuple[int, ...]) -> Array:
    """Return a mask enlarged by repetition: a sample has the cell that it lies in."""
    for axis, extent in enumerate(space):
        mask = mask.take(np.arange(extent) * mask.shape[axis] // extent, axis)
    return mask


@lru_cache(maxsize=64)
def _taps(few: int, many: int, corners: bool) -> tuple[Array, Array, Array]:
    """Return what every sample lies between: two indices, int [many], and how near the second."""
    if corners:
        at = np.linspace(0, few - 1, many)
    else:
        at = np.clip((np.arange(many) + 0.5) * few / many - 0.5, 0, few - 1)
    low = at.astype(int)
    return low, np.minimum(low + 1, few - 1), at - low
