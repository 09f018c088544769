"""Figures of tables: a bar for each feature, the strongest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from onnxcam.errors import InputError, UsageError
from onnxcam.output.render.colour import Limits, colours, drawable, normalise, scale
from onnxcam.output.render.draw import (
    GAP,
    INK,
    LINE,
    MUTED,
    PAPER,
    SMALL_SIZE,
    face,
    heading,
    legend,
    number,
    stack,
    wrap,
)
from onnxcam.output.render.vector import write

_ROW, _BAR = 22, 14  # heights
_NAME, _VALUE = 220, 84  # widths beside the bars
_OF_95 = 1.96  # standard errors to each side
_SAID = "lines: intervals of 95 %"
MIN_SIZE = 480


def figure_bars(
    values: NDArray[Any],
    map: NDArray[Any],
    *,
    title: str,
    subtitle: str = "",
    names: Sequence[str] = (),
    error: NDArray[Any] | None = None,
    most: int = 30,
    colormap: str | None = None,
    signed: bool = False,
    limits: Limits | None = None,
    colorbar: bool = True,
    units: str = "",
    note: str = "",
    size: int = 760,
) -> Image.Image:
    """Draw what each feature of a table's row is worth, from the strongest to the weakest.

    Args:
        values: The features, ``[f]``, written beside their names.
        map: Raw values, ``[f]``.
        title: As in `figure`.
        subtitle: As in `figure`.
        names: Of the features; by default their numbers.
        error: Standard error of the raw values, ``[f]``: each bar gets its interval of 95 %.
        most: Bars at most; how many are left out is said.
        colormap: One of `COLORMAPS`; by default ``marine``, or ``bluered`` when signed.
        signed: As in `overlay`.
        limits: As in `overlay`.
        colorbar: Whether to draw the colour bar.
        units: What the raw values are.
        note: What else is to be said, written last.
        size: Width, pixels, at least 480.

    Returns:
        An RGB image.

    Raises:
        InputError: If values and map do not fit.
        UsageError: If an option has no such value.
    """
    values, map = _checked(values, map, len(names), most, size)
    spread = _half_width(map, error)
    name, limits = scale(map, colormap or (None if signed else "marine"), signed, limits)
    order = np.argsort(-np.abs(drawable(map)), kind="stable")[:most]
    named = names or [f"feature {i}" for i in range(len(map))]
    texts = [f"{named[i]} = {number(values[i])}" for i in order]
    level = normalise(map, "signed" if signed else "max", limits)
    inks = colours(level, name, signed=signed)[order]
    shown = _bars(drawable(map)[order], spread[order], texts, inks, size)
    left = f"the {len(order)} strongest of {len(map)}" if len(order) < len(map) else ""
    said = " · ".join(each for each in (units, left, _SAID * bool(spread.any())) if each)
    below = legend(map, name, limits, size, units=said, bar=colorbar, note=note)
    return stack([heading(title, subtitle, size), shown, below])


def _checked(
    values: NDArray[Any], map: NDArray[Any], names: int, most: int, size: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return features and map as arrays ``[f]``, or say what cannot be used."""
    values, map = np.asarray(values), np.asarray(map)
    if map.ndim != 1 or values.shape != map.shape or map.size == 0:
        raise InputError(
            f"render: a map of shape {map.shape} does not fit features of shape {values.shape}",
            "Pass both as [f]",
        )
    if names not in (0, len(map)) or size < MIN_SIZE or most < 1:
        raise UsageError(
            f"render: {names} names for {len(map)} features, {most} bars, {size} pixels",
            f"Pass a name for each or none, 1 bar or more, {MIN_SIZE} pixels or more",
        )
    return values, map


def _half_width(map: NDArray[Any], error: NDArray[Any] | None) -> NDArray[np.float64]:
    """Return half of each value's interval of 95 %, 0 where nothing is known of it."""
    if error is None:
        return np.zeros(map.shape)
    if np.shape(error) != map.shape:
        raise InputError(
            f"render: errors of shape {np.shape(error)} do not fit a map of shape {map.shape}",
            "Pass both as [f]",
        )
    return np.asarray(np.nan_to_num(_OF_95 * np.abs(error), posinf=0.0), np.float64)


def _bars(
    map: NDArray[np.float64],
    spread: NDArray[np.float64],
    texts: Sequence[str],
    inks: NDArray[np.uint8],
    size: int,
) -> Image.Image:
    """Draw a row for each value: its name, a bar from 0 with its interval, the value."""
    sheet = Image.new("RGB", (size, _ROW * len(map)), PAPER)
    draw = ImageDraw.Draw(sheet)
    low, high = min(float((map - spread).min()), 0.0), max(float((map + spread).max()), 0.0)
    room = size - _NAME - _VALUE - 2 * GAP
    step = room / (high - low or 1.0)
    zero = _NAME + GAP - low * step
    for row, (value, text, ink) in enumerate(zip(map, texts, inks, strict=True)):
        top = row * _ROW + (_ROW - _BAR) // 2
        font = face(text, SMALL_SIZE)
        for line in wrap(text, font, _NAME, 1):
            write(sheet, (_NAME, top), line, font, SMALL_SIZE, INK, "ra")
        ends = sorted((zero, zero + float(value) * step))
        box = (ends[0], top, max(ends[1], ends[0] + 1), top + _BAR)
        draw.rectangle(box, fill=tuple(ink.tolist()), outline=LINE)
        if spread[row] > 0:
            _interval(
                draw, zero + (value - spread[row]) * step, zero + (value + spread[row]) * step, top
            )
        said = number(float(value))
        write(sheet, (size - 1, top), said, face(said, SMALL_SIZE), SMALL_SIZE, MUTED, "ra")
    draw.line((zero, 0, zero, sheet.height), fill=MUTED)
    return sheet


def _interval(draw: ImageDraw.ImageDraw, left: float, right: float, top: int) -> None:
    """Draw a line with ends across a bar."""
    middle = top + _BAR // 2
    draw.line((left, middle, right, middle), fill=INK, width=1)
    for x in (left, right):
        draw.line((x, middle - 3, x, middle + 3), fill=INK, width=1)
