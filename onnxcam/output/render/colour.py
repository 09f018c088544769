"""From raw values to [0, 1] and to colours: the only place where a map is normalised."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onnxcam.errors import InputError, UsageError, meant

Mode = Literal["max", "minmax", "signed"]
Limits = tuple[float, float]

STEPS = 257  # odd, so that a diverging map has a colour of its own for zero
TABLES = Path(__file__).with_name("colourmaps.png")  # a row for each, by tools/make_colours.py
COLORMAPS = (
    "ember", "marine", "blush", "gray", "bluered", "jet", "viridis", "inferno", "cividis", "turbo",
)  # fmt: skip
"""Names: ember (default), marine, gray: dark to light; blush: white to red, for plots on white;
bluered: for signed maps; jet: the field's habit, not perceptually uniform; the others are
matplotlib's. Of matplotlib any other is taken too, where it is installed."""


def value_range(map: NDArray[Any], mode: Mode = "max", clip: float | None = None) -> Limits:
    """Return the raw values that the two ends of the colour map stand for.

    Args:
        map: Raw values of any shape and real dtype. NaN and infinities are left out.
        mode: ``max``: 0 to the largest value, or (0, 0) where none is positive. ``minmax``: the
            smallest to the largest value. ``signed``: minus to plus the largest magnitude.
        clip: Percentile of the magnitudes that takes the place of the largest one, so that a few
            outliers do not darken all else; None for the largest. It is not used where it is 0, as
            in a map of few values other than 0.

    Returns:
        The lower and the upper value, in the map's own units; (0, 0) for a map with no finite
        value.

    Raises:
        UsageError: If the mode is unknown.
        InputError: If the map has no real numbers.
    """
    _check_mode(mode)
    values = _real(map)
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 0.0, 0.0
    low, high = float(finite.min()), float(finite.max())
    if mode == "minmax":
        return low, high
    most = max(high, -low) if mode == "signed" else max(high, 0.0)
    if clip is not None:
        most = float(np.percentile(np.abs(finite), clip)) or most
    return (-most, most) if mode == "signed" else (0.0, min(most, max(high, 0.0)))


def normalise(
    map: NDArray[Any], mode: Mode = "max", limits: Limits | None = None
) -> NDArray[np.float32]:
    """Scale a raw map for display.

    What the odd maps become: zeros are 0 everywhere in every mode; an all-negative map is 0
    everywhere in ``max``; a constant is 0 in ``minmax``, where it has no contrast to show, 1 or -1
    in ``signed``, and 1 in ``max`` if it is positive. NaN and infinities are 0; the figures count
    them below the map.

    Args:
        map: Raw values of any shape and real dtype.
        mode: Which limits to take from the map; see `value_range`.
        limits: Lower and upper raw value to use instead of the map's own, for instance the same
            for several maps. Values beyond them take the end's value; in ``signed`` their middle
            becomes 0.

    Returns:
        float32, the map's shape: in [0, 1], or in [-1, 1] for ``signed``.

    Raises:
        UsageError: If the mode is unknown or the limits do not rise.
        InputError: If the map has no real numbers.
    """
    low, high = value_range(map, mode) if limits is None else _checked_limits(limits)
    _check_mode(mode)
    values = _real(map)
    finite = np.isfinite(values)
    values = np.clip(np.where(finite, values, 0.0), low, high)
    scale = max(abs(low), abs(high), np.finfo(np.float64).smallest_subnormal)
    low, high = low / scale, high / scale  # else the difference of two large values overflows
    if low == high:
        return np.zeros(values.shape, np.float32)
    level = (values / scale - low) / (high - low)
    level = 2.0 * level - 1.0 if mode == "signed" else level
    return np.where(finite, level, 0.0).astype(np.float32)


def scale(
    map: NDArray[Any],
    colormap: str | None,
    signed: bool,
    limits: Limits | None,
    clip: float | None = None,
) -> tuple[str, Limits]:
    """Fill in what a drawing leaves open: the colour map's name and the raw values at its ends."""
    name = colormap or default_colormap(signed=signed)
    mode: Mode = "signed" if signed else "max"
    return name, value_range(map, mode, clip) if limits is None else limits


def default_colormap(*, signed: bool) -> str:
    """Return the name of the colour map of a scale that nobody chose one for."""
    return "bluered" if signed else "ember"


def drawable(map: NDArray[Any]) -> NDArray[Any]:
    """Return a map with 0 for NaN and infinities, which resampling would spread.

    Raises:
        InputError: If the map has no real numbers.
    """
    values = _real(map)
    return np.where(np.isfinite(values), values, 0)


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


@cache
def colormap(name: str) -> NDArray[np.uint8]:
    """Return a colour map's table: uint8 sRGB ``[STEPS, 3]``, read-only.

    Args:
        name: One of `COLORMAPS`, or of matplotlib's where that is installed; in any case.

    Raises:
        UsageError: If there is no such colour map.
    """
    known = name.casefold()
    if known in COLORMAPS:
        table: NDArray[np.uint8] = np.asarray(Image.open(TABLES))[COLORMAPS.index(known)]
    else:
        table = _of_matplotlib(name)
    table.flags.writeable = False
    return table


def _of_matplotlib(name: str) -> NDArray[np.uint8]:
    """Return the table of a colour map that matplotlib has."""
    try:
        from matplotlib import colormaps  # where it is installed, and only for its colour maps
    except ImportError:
        others, more = [], "; matplotlib's can be had too where it is installed"
    else:
        others, more = list(colormaps), "; or one of matplotlib's"
    for other in others:
        if other.casefold() == name.casefold():
            rgb = colormaps[other](np.linspace(0, 1, STEPS))[:, :3]
            table: NDArray[np.uint8] = np.rint(255 * rgb).astype(np.uint8)
            return table
    raise UsageError(
        f"render: no colour map {name!r}{meant(name, [*COLORMAPS, *others])}",
        f"Choose one of {', '.join(COLORMAPS)}{more}",
    )


def _check_mode(mode: str) -> None:
    """Raise UsageError for a mode that there is not."""
    if mode not in get_args(Mode):
        raise UsageError(
            f"render: unknown mode {mode!r}", f"Choose one of {', '.join(get_args(Mode))}"
        )


def _real(map: NDArray[Any]) -> NDArray[np.float64]:
    """Return a map as float64, or say that it holds no real numbers."""
    values = np.asarray(map)
    if values.dtype.kind not in "fiub":
        raise InputError(
            f"render: a map of dtype {values.dtype} has no real numbers", "Pass a float array"
        )
    return values.astype(np.float64)


def _checked_limits(limits: Limits) -> Limits:
    """Return limits that rise and are finite, or raise."""
    low, high = (float(value) for value in limits)
    if not (np.isfinite(low) and np.isfinite(high) and low <= high):
        raise UsageError(
            f"render: limits {limits!r} do not rise", "Pass (lower, upper) raw values, both finite"
        )
    return low, high
