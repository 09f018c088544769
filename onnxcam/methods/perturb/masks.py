"""Small arrays brought to the input's size, to hide parts of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
_FEW = 64  # values
_ALL = slice(None)
_SMALL = 1e-8  # pytorch-grad-cam's: a constant channel hides everything


def interpolated(
    values: Array, axis: int, samples: int, *, corners: bool = False, part: slice = _ALL
) -> Array:
    """Return an array with one axis interpolated linearly.

    Args:
        values: Any numbers.
        axis: The axis.
        samples: Its new extent.
        corners: Lay the first and last value onto the first and last sample; else centres of
            samples are at half, and borders are repeated.
        part: Which of the samples are wanted.

    Returns:
        Floats; float32 of a few values in float32.
    """
    few, last = values.shape[axis], values.ndim - 1
    low, share = (each[part] for each in _places(few, samples, corners))
    if few <= _FEW:  # a product with a small matrix is faster than picking twice
        kind = np.float32 if values.dtype == np.float32 else np.float64
        taps = _taps(few, samples, corners)[part].astype(kind, copy=False)
        if axis == last:
            return np.asarray(values @ taps.T)
        return np.moveaxis(np.tensordot(taps, values, (1, axis)), 0, axis)
    share = share.reshape([-1 if i == axis else 1 for i in range(values.ndim)])
    below, above = values.take(low, axis), values.take(np.minimum(low + 1, few - 1), axis)
    found: Array = below * (1 - share) + above * share
    return found


def channel_mask(channel: Array, space: tuple[int, ...]) -> Array:
    """Return a channel at the input's size, from 0 to 1: the mask of Score-CAM."""
    for axis, extent in enumerate(space):
        channel = interpolated(channel, axis, extent, corners=True)
    low, high = channel.min(), channel.max()
    mask: Array = (channel - low) / (high - low + _SMALL)
    return mask


def resized(x: Array, sizes: Sequence[int]) -> Array:
    """Return [C, *space] at another size, linearly."""
    for axis, size in enumerate(sizes, start=1):
        if x.shape[axis] != size:
            x = interpolated(x, axis, size)
    return x


def nearest(mask: Array, space: tuple[int, ...]) -> Array:
    """Return a mask enlarged by repetition: a sample has the cell that it lies in."""
    for axis, extent in enumerate(space):
        mask = mask.take(np.arange(extent) * mask.shape[axis] // extent, axis)
    return mask


@lru_cache(maxsize=64)
def _places(few: int, many: int, corners: bool) -> tuple[Array, Array]:
    """Return which value lies before every sample, int [many], and how near the next one is."""
    if corners:
        at = np.linspace(0, few - 1, many)
    else:
        at = np.clip((np.arange(many) + 0.5) * few / many - 0.5, 0, few - 1)
    low = at.astype(int)
    return low, at - low


@lru_cache(maxsize=64)
def _taps(few: int, many: int, corners: bool) -> Array:
    """Return what every sample has of each value, float64 [many, few]."""
    low, share = _places(few, many, corners)
    found, samples = np.zeros((many, few)), np.arange(many)
    found[samples, low] = 1 - share
    found[samples, np.minimum(low + 1, few - 1)] += share
    return found
