"""Figures of one-dimensional inputs: the signal over the map's colours, a curve of it below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from onnxcam.errors import InputError, UsageError
from onnxcam.output.render.colour import Limits, colours, drawable, normalise, scale, value_range
from onnxcam.output.render.draw import (
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
    text_block,
)
from onnxcam.output.render.vector import put, write
from onnxcam.output.upsample import upsample

MIN_SIZE = 200
_LABELS, _LABEL_GAP = 64, 8  # room for the channels' names, pixels
_LANES = 480  # height that the channels share, as long as each gets its least
_LANE_LEAST, _LANE_MOST = 20, 160
_FINE = 2  # lines are drawn this much larger and reduced, which smooths them
_CURVE = 84  # height of the importance curve
_OF_LANES = "colours: each channel's own values; grey: the map, which is made of them"
_DENSE = 4  # samples a column from which on a line is drawn by its extremes


def figure_1d(
    signal: NDArray[Any],
    map: NDArray[Any],
    *,
    title: str,
    subtitle: str = "",
    channels: Sequence[str] = (),
    rate: float | None = None,
    colormap: str | None = None,
    alpha: float = 0.65,
    signed: bool = False,
    limits: Limits | None = None,
    clip: float | None = None,
    smooth: bool = True,
    colorbar: bool = True,
    units: str = "",
    note: str = "",
    size: int = 960,
    relief: NDArray[Any] | None = None,
) -> Image.Image:
    """Draw a signal, each channel in a lane of its own, over the colours of its map.

    Below the time axis the map itself is a curve over the same axis. Of more samples than there
    are pixels the extremes are drawn: no peak is lost, of the signal or of the map.

    Args:
        signal: ``[C, T]`` or ``[T]``, any real dtype. Each channel is scaled to its lane by its
            own smallest and largest finite value; the line is broken where a value is not finite.
        map: Raw values, ``[t]``, over the whole of the time axis.
        title: As in `figure`.
        subtitle: As in `figure`.
        channels: Their names, beside the lanes; by default their numbers if there are several.
        rate: Samples a second: the axis is then in seconds. By default it counts samples.
        colormap: One of `COLORMAPS`; by default ``blush``, or ``bluered`` when signed.
        alpha: Share of the colour on the white background, 0 to 1.
        signed: As in `overlay`.
        limits: As in `overlay`.
        clip: As in `overlay`.
        smooth: As in `overlay`.
        colorbar: Whether to draw the colour bar.
        units: What the raw values are, written below the colour bar.
        note: What else is to be said, written last.
        size: Width of the plot, pixels, at least 200.
        relief: Signed values of each channel over time, ``[C, t]``: every lane is then in the
            colours of its own values, all on one scale, and the curve, which is grey, alone shows
            the map.

    Returns:
        An RGB image.

    Raises:
        InputError: If the signal or the map cannot be used.
        UsageError: If an option has no such value.
    """
    lanes = _checked(signal, map)
    _check_options(len(lanes), len(channels), alpha, rate, size)
    shown = np.asarray(map if relief is None else _of_lanes(relief, len(lanes)))
    signed = signed or relief is not None
    name, limits = scale(shown, colormap or (None if signed else "blush"), signed, limits, clip)
    ink = _coloured(shown, size, name, limits, signed=signed, smooth=smooth)
    tint = np.rint(255 + alpha * (ink - 255.0)).astype(np.uint8)
    height = min(max(_LANES // len(lanes), _LANE_LEAST), _LANE_MOST)
    tone = ink if relief is None else np.array(MUTED, np.uint8)
    curve = _curve(_columns(drawable(map), size, smooth=smooth), tone)
    axis = _time_axis(lanes.shape[1], rate, size)
    plot = stack([_plot(lanes, tint, height), axis, curve], 0, 0)
    if not channels and len(lanes) > 1:
        channels = [f"channel {number}" for number in range(len(lanes))]
    labels = _labels(channels, height) if channels else None
    body = stack([labels, plot], _LABEL_GAP, 0, across=True)
    note = "; ".join(filter(None, ("" if relief is None else _OF_LANES, note)))
    below = legend(shown, name, limits, body.width, units=units, bar=colorbar, note=note, clip=clip)
    return stack([heading(title, subtitle, body.width), body, below])


def _of_lanes(relief: NDArray[Any], count: int) -> NDArray[Any]:
    """Return values of each channel over time, or say that they do not fit."""
    if np.ndim(relief) != 2 or len(relief) != count:
        raise InputError(
            f"render: a relief of shape {np.shape(relief)} does not fit {count} channels",
            "Pass a relief [C, t], or none",
        )
    return relief


def _coloured(
    values: NDArray[Any], size: int, name: str, limits: Limits, *, signed: bool, smooth: bool
) -> NDArray[np.uint8]:
    """Return the colours of each column, ``[..., size, 3]``, of values ``[..., t]``."""
    rows = np.atleast_2d(drawable(values))
    columns = np.stack([_columns(row, size, smooth=smooth) for row in rows])
    level = normalise(columns, "signed" if signed else "max", limits)
    found = colours(level, name, signed=signed)
    return found if values.ndim > 1 else found[0]


def _plot(lanes: NDArray[np.float64], tint: NDArray[np.uint8], height: int) -> Image.Image:
    """Draw every channel's line in its lane, over columns of colour ``[width, 3]`` or its own."""
    columns = np.repeat(tint, _FINE, axis=-2)
    own = np.broadcast_to(columns, (len(lanes), *columns.shape[-2:]))
    sheet = np.repeat(own, height * _FINE, axis=0)
    canvas = Image.fromarray(sheet)
    draw = ImageDraw.Draw(canvas)
    count = lanes.shape[1]
    x = (np.arange(count) + 0.5) * sheet.shape[1] / count
    for row, lane in enumerate(lanes):
        top = row * height * _FINE
        if row:
            draw.line((0, top, sheet.shape[1], top), fill=MUTED, width=1)
        level = normalise(lane, "minmax") if len(np.unique(lane[np.isfinite(lane)])) > 1 else 0.5
        y = top + _FINE * height * (0.9 - 0.8 * np.broadcast_to(level, count))
        known = np.flatnonzero(np.isfinite(lane))
        for piece in np.split(known, np.flatnonzero(np.diff(known) > 1) + 1):
            points = _thinned(np.stack([x[piece], y[piece]], axis=1))
            if len(points) == 1:
                points = points + np.array([[-_FINE, 0], [_FINE, 0]])  # else it has no length
            draw.line(points.ravel().tolist(), INK, _FINE)
    return canvas.reduce(_FINE)


def _thinned(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a line through the lowest and the highest point of each column, where it is dense."""
    columns = points[:, 0].astype(np.intp)
    starts = np.flatnonzero(np.diff(columns, prepend=-1))
    if len(points) < _DENSE * len(starts):
        return points
    low, high = (f.reduceat(points[:, 1], starts) for f in (np.minimum, np.maximum))
    x = columns[starts] + 0.5
    return np.stack([np.repeat(x, 2), np.stack([low, high], axis=1).ravel()], axis=1)


def _columns(map: NDArray[Any], width: int, *, smooth: bool) -> NDArray[np.float32]:
    """Return the map's value for each column: of several the one that is farthest from 0."""
    if len(map) <= width:
        between = upsample(map, (width,), "bicubic" if smooth else "nearest")
        return between.clip(map.min(), map.max())  # cubic convolution overshoots at steps
    ends = np.arange(width + 1) * len(map) // width
    parts = (map[a:b] for a, b in pairwise(ends))
    return np.array([part[np.abs(part).argmax()] for part in parts], np.float32)


def _curve(values: NDArray[np.float32], ink: NDArray[np.uint8]) -> Image.Image:
    """Draw the map as a filled curve about 0, in colours, with its range at the left."""
    low, high = value_range(values, "minmax")
    low, high = min(low, 0.0), max(high, 0.0)
    span = high - low or 1.0
    row = np.rint((_CURVE - 1) * (high - values) / span).astype(np.intp)
    zero = round((_CURVE - 1) * high / span)
    rows = np.arange(_CURVE)[:, None]
    inside = (rows >= np.minimum(row, zero)) & (rows <= np.maximum(row, zero))
    pixels = np.full((_CURVE, len(values), 3), PAPER, np.uint8)
    pixels[inside] = np.broadcast_to(ink, pixels.shape)[inside]
    sheet = Image.fromarray(pixels)
    draw = ImageDraw.Draw(sheet)
    draw.line([(x, int(y)) for x, y in enumerate(row)], fill=MUTED, width=1)
    draw.line((0, zero, len(values), zero), fill=LINE, width=1)
    plot = Image.new("RGB", (len(values), _CURVE + 2 * SMALL_SIZE + 6), PAPER)
    put(plot, sheet, (0, SMALL_SIZE + 3))
    for y, text in ((0, f"importance, up to {number(high)}"), (plot.height - SMALL_SIZE - 2,
                    number(low))):  # fmt: skip
        write(plot, (0, y), text, face(text, SMALL_SIZE), SMALL_SIZE, MUTED)
    return plot


def _labels(names: Sequence[str], height: int) -> Image.Image:
    """Write the channels' names beside their lanes."""
    column = Image.new("RGB", (_LABELS, height * len(names)), PAPER)
    for row, name in enumerate(names):
        label = text_block(name, SMALL_SIZE, _LABELS, ink=MUTED)
        if label is not None:
            put(column, label, (0, row * height + (height - label.height) // 2))
    return column


def _time_axis(count: int, rate: float | None, width: int) -> Image.Image:
    """Write round sample numbers, or seconds, below the plot."""
    axis = Image.new("RGB", (width, 36), PAPER)
    draw = ImageDraw.Draw(axis)
    per_unit = 1.0 if rate is None else rate
    step = _round_step(count / per_unit * 100 / width)
    if rate is None:
        step = max(step, 1.0)
    for tick in range(math.floor((count - 1) / per_unit / step) + 1):
        x = (tick * step * per_unit + 0.5) * width / count
        draw.line((x, 0, x, 4), fill=MUTED)
        anchor = "la" if x < 20 else "ra" if x > width - 20 else "ma"
        text = f"{tick * step:.6g}"
        write(axis, (x, 5), text, face(text, SMALL_SIZE), SMALL_SIZE, MUTED, anchor)
    text = "samples" if rate is None else "seconds"
    write(axis, (width / 2, 20), text, face(text, SMALL_SIZE), SMALL_SIZE, MUTED, "ma")
    return axis


def _round_step(least: float) -> float:
    """Return the first of 1, 2, 5 times a power of ten that is not below a value."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least)


def _checked(signal: NDArray[Any], map: NDArray[Any]) -> NDArray[np.float64]:
    """Return the signal as float64 ``[C, T]``, or say what cannot be used."""
    lanes = np.atleast_2d(np.asarray(signal))
    if lanes.dtype.kind not in "fiub" or lanes.ndim != 2 or lanes.size == 0:
        raise InputError(
            f"render: a signal of dtype {lanes.dtype} and shape {lanes.shape} cannot be drawn",
            "Pass real numbers, [C, T] or [T]",
        )
    if np.ndim(map) != 1:
        raise InputError(
            f"render: a map of shape {np.shape(map)} does not fit a signal", "Pass a map [t]"
        )
    return lanes.astype(np.float64)


def _check_options(lanes: int, names: int, alpha: float, rate: float | None, size: int) -> None:
    """Raise UsageError for an option that makes no sense."""
    if names not in (0, lanes):
        raise UsageError(
            f"render: {names} channel names for {lanes} channels",
            "Pass one name for each channel, or none",
        )
    if rate is not None and not 0 < rate < math.inf:
        raise UsageError(f"render: a rate of {rate!r} samples a second", "Pass a positive number")
    if not 0 <= alpha <= 1:
        raise UsageError(f"render: alpha {alpha!r} is not a share", "Pass a number from 0 to 1")
    if size < MIN_SIZE:
        raise UsageError(
            f"render: a plot {size} wide has no room for its labels", f"Pass {MIN_SIZE} or more"
        )
