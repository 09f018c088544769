"""From raw values to [0, 1] and to colours: the only place where a map is normalised.

The sequential and diverging colour maps join a few sRGB anchors of our own in equal CIELAB steps, so that equal steps of the value look like equal steps of colour.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from skimage.color import lab2rgb, rgb2lab

from onnxcam.errors import InputError, UsageError

Mode = Literal["max", "minmax", "signed"]
Limits = tuple[float, float]

STEPS = 257  # odd, so that a diverging map has a colour of its own for zero
_ANCHORS = {
    "ember": ("06041c", "3a0d66", "8a1a6a", "cf3b4b", "f3812a", "f9c644", "fcfbd0"),
    "marine": ("300850", "3f3f8c", "2f6f92", "1fa08a", "63c964", "f2e738"),
    "blush": ("ffffff", "ffe3ad", "fba55c", "e2552f", "9a1022"),
    "gray": ("000000", "ffffff"),
}
_DIVERGING = {"bluered": (("f5f5f3", "7aaede", "1c4a9e"), ("f5f5f3", "f0977a", "a3182b"))}
COLORMAPS = (*_ANCHORS, *_DIVERGING, "jet")
"""Names: ember (default), marine, gray: dark to light; blush: white to red, for plots on white;
bluered: for signed maps; jet: the field's habit, not perceptually uniform."""


def limits(map: NDArray[Any], mode: Mode = "max") -> Limits:
    """Return the raw values that the two ends of the colour map stand for.

    Args:
        map: Raw values of any shape and real dtype. NaN and infinities are left out.
        mode: ``max``: 0 to the largest value, or (0, 0) where none is positive. ``minmax``: the
            smallest to the largest value. ``signed``: minus to plus the largest magnitude.

    Returns:
        The lower and the upper value, in the map's own units; (0, 0) for a map with no finite
        value.

    Raises:
        UsageError: If the mode is unknown.
        InputError: If the map has no real numbers.
    """
    if mode not in get_args(Mode):
        raise UsageError(
            f"render: unknown mode {mode!r}", f"Choose one of {', '.join(get_args(Mode))}"
        )
    finite = _finite(map)
    if finite.size == 0:
        return 0.0, 0.0
    low, high = float(finite.min()), float(finite.max())
    if mode == "minmax":
        return low, high
    if mode == "max":
        return 0.0, max(high, 0.0)
    return -max(high, -low), max(high, -low)


def normalise(
    map: NDArray[Any], mode: Mode = "max", limits: Limits | None = None
) -> NDArray[np.float32]:
    """Scale a raw map for display.

    What the odd maps become: all zeros and values of no finite kind are 0 in every mode; an
    all-negative map is 0 everywhere in ``max``; a constant is 1 (or -1) in ``max`` and ``signed``
    and 0 in ``minmax``, where it has no contrast to show. NaN and infinities are 0, which a figure
    says below the map.

    Args:
        map: Raw values of any shape and real dtype.
        mode: Which limits to take from the map; see `limits`.
        limits: Lower and upper raw value to use instead of the map's own, for instance the same
            for several maps. Values beyond them take the end's value.

    Returns:
        float32, the map's shape: in [0, 1], or in [-1, 1] for ``signed``.

    Raises:
        UsageError: If the mode is unknown or the limits do not rise.
        InputError: If the map has no real numbers.
    """
    low, high = _limits_of(map, mode) if limits is None else _checked_limits(limits)
    values = np.asarray(map, np.float64)
    finite = np.isfinite(values)
    values = np.where(finite, values, 0.0)
    if high == low:
        return np.zeros(values.shape, np.float32)
    half = 0.5 * high - 0.5 * low  # the difference itself can overflow
    level = np.clip((0.5 * np.clip(values, low, high) - 0.5 * low) / half, 0.0, 1.0)
    level = 2.0 * level - 1.0 if mode == "signed" else level
    return np.where(finite, level, 0.0).astype(np.float32)


def colours(level: NDArray[Any], name: str, *, signed: bool = False) -> NDArray[np.uint8]:
    """Look up the colours of normalised values.

    Args:
        level: Values in [0, 1], or in [-1, 1] when signed, of any shape.
        name: One of `COLORMAPS`.
        signed: Whether the range is [-1, 1].

    Returns:
        uint8 sRGB, ``[*level.shape, 3]``.

    Raises:
        UsageError: If there is no such colour map.
    """
    unit = 0.5 * (level + 1.0) if signed else level
    picked: NDArray[np.uint8] = colormap(name)[np.rint(unit * (STEPS - 1)).astype(np.intp)]
    return picked


@lru_cache(maxsize=None)
def colormap(name: str) -> NDArray[np.uint8]:
    """Return a colour map's table: uint8 sRGB ``[STEPS, 3]``, read-only.

    Raises:
        UsageError: If there is no such colour map.
    """
    if name in _ANCHORS:
        table = _even_path(_ANCHORS[name], STEPS)
    elif name in _DIVERGING:
        below, above = (_even_path(half, STEPS // 2 + 1) for half in _DIVERGING[name])
        table = np.concatenate([below[::-1], above[1:]])
    elif name == "jet":
        # The usual trapezoids: each channel rises and falls over a quarter of the range.
        distance = np.abs(4 * np.linspace(0, 1, STEPS)[:, None] - np.array([3, 2, 1]))
        table = np.clip(1.5 - distance, 0, 1)
    else:
        raise UsageError(
            f"render: no colour map {name!r}", f"Choose one of {', '.join(COLORMAPS)}"
        )
    result = np.rint(255 * table).astype(np.uint8)
    result.flags.writeable = False
    return result


def _even_path(anchors: tuple[str, ...], steps: int) -> NDArray[np.float64]:
    """Return sRGB in [0, 1], ``[steps, 3]``: equal CIELAB steps along the line by the anchors."""
    path = rgb2lab(np.array([list(bytes.fromhex(anchor)) for anchor in anchors]) / 255)
    way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    at = np.linspace(0, way[-1], steps)
    even = np.stack([np.interp(at, way, channel) for channel in path.T], axis=1)
    rgb: NDArray[np.float64] = np.clip(lab2rgb(even), 0, 1)
    return rgb


def _finite(map: NDArray[Any]) -> NDArray[Any]:
    """Return the finite values as float64, or say that the array holds no real numbers."""
    values = np.asarray(map)
    if values.dtype.kind not in "fiub":
        raise InputError(
            f"render: a map of dtype {values.dtype} has no real numbers", "Pass a float array"
        )
    wide = values.astype(np.float64)
    return wide[np.isfinite(wide)]


def _checked_limits(limits: Limits) -> Limits:
    """Return limits that rise and are finite, or raise."""
    low, high = (float(value) for value in limits)
    if not (np.isfinite(low) and np.isfinite(high) and low <= high):
        raise UsageError(
            f"render: limits {limits!r} do not rise", "Pass (lower, upper) raw values, both finite"
        )
    return low, high


_limits_of = limits  # `normalise` has a parameter of the same name
