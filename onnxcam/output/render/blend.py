"""Lay a saliency map over the picture that it explains."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, get_args

import numpy as np
from numpy.typing import NDArray

from onnxcam.errors import InputError, UsageError
from onnxcam.output.render.colour import Limits, colours, drawable, normalise, scale
from onnxcam.output.upsample import upsample

Box = tuple[float, float, float, float]
Mark = tuple[Box, str]  # a frame in pixels of the picture, and its label
Outside = Literal["dim", "keep"]
Picture = NDArray[np.uint8]


class Blending(TypedDict, total=False):
    """The options of `overlay` that figures hand on to it."""

    colormap: str | None
    alpha: float
    alpha_by_value: bool | None
    signed: bool
    limits: Limits | None
    clip: float | None
    smooth: bool
    outside: Outside


BAND = 256  # rows blended at once: a large picture's colours as floats are some gigabytes
_DIM = 0.45 * np.array([0.299, 0.587, 0.114])  # of the luma


def overlay(
    picture: Picture,
    map: NDArray[Any],
    *,
    box: Box | None = None,
    colormap: str | None = None,
    alpha: float = 0.5,
    alpha_by_value: bool | None = None,
    signed: bool = False,
    limits: Limits | None = None,
    clip: float | None = None,
    smooth: bool = True,
    outside: Outside = "dim",
) -> Picture:
    """Blend a map's colours into the part of a picture that the map covers.

    The raw map is brought to the box's size first (bicubic; area means where it is the larger
    one), then scaled for display by its own raw range, so that the colours are those of a colour
    bar over that range.

    Args:
        picture: sRGB, uint8 ``[H, W, 3]``.
        map: Raw values, ``[h, w]``; NaN and infinities count as 0.
        box: The part of the picture that the map covers, ``(x0, y0, x1, y1)`` in its pixels,
            rounded to whole ones. It may reach beyond the picture, as a padded model input does.
            The default is the whole picture.
        colormap: One of `COLORMAPS`; by default ``ember``, or ``bluered`` when signed.
        alpha: Share of the colour in the blend, 0 to 1.
        alpha_by_value: Whether alpha is also multiplied by the square root of the scaled value's
            magnitude, so that the picture stays untouched where the map is 0. By default only
            when signed.
        signed: Whether the scale is symmetric about 0, rather than from 0 to the largest value.
        limits: Lower and upper raw value of the scale, instead of the map's own.
        clip: Percentile of the magnitudes at which the colours end, None for the largest; see
            `value_range`.
        smooth: Whether the map is enlarged smoothly, rather than as squares of its values.
        outside: What becomes of the picture outside the box: ``dim`` (gray and dark) or ``keep``.

    Returns:
        sRGB, uint8 ``[H, W, 3]``, a new array.

    Raises:
        InputError: If the picture, the map or the box cannot be used.
        UsageError: If an option has no such value.
    """
    picture, map = np.asarray(picture), np.asarray(map)
    covered = covering(picture, map, box, alpha=alpha, outside=outside)
    (top, left), (bottom, right) = covered.start, covered.end
    name, limits = scale(map, colormap, signed, limits, clip)
    values = covered.values(map, smooth=smooth)
    by_value = signed if alpha_by_value is None else alpha_by_value
    result = picture.copy() if covered.whole or outside == "keep" else _dimmed(picture)
    for first in range(top, bottom, BAND):
        rows = slice(first, min(first + BAND, bottom))
        level = normalise(values[first - top :][:BAND], "signed" if signed else "max", limits)
        weight = alpha * np.sqrt(np.abs(level))[..., None] if by_value else np.float32(alpha)
        below = picture[rows, left:right].astype(np.float32)
        blend = below + weight * (colours(level, name, signed=signed) - below)
        result[rows, left:right] = np.rint(blend)
    return result


@dataclass(frozen=True)
class Covered:
    """The part of a picture that a map covers, in whole pixels.

    Attributes:
        box: x0, y0, x1, y1 of the map; it may reach beyond the picture.
        start: First row and column of the picture that it covers.
        end: Row and column behind the last.
        whole: Whether that is all of the picture.
    """

    box: tuple[int, int, int, int]
    start: tuple[int, int]
    end: tuple[int, int]
    whole: bool

    def values(self, map: NDArray[Any], *, smooth: bool) -> NDArray[np.float32]:
        """Return a map's values ``[h, w]`` at the pixels from start to end."""
        x0, y0, x1, y1 = self.box
        (top, left), (bottom, right) = self.start, self.end
        values = _at_size(map, (y1 - y0, x1 - x0), smooth=smooth)
        return values[top - y0 : bottom - y0, left - x0 : right - x0]


def covering(
    picture: Picture,
    map: NDArray[Any],
    box: Box | None,
    *,
    alpha: float = 0.5,
    outside: str = "dim",
) -> Covered:
    """Return what a map covers of a picture.

    Raises:
        InputError: If the picture, the map or the box cannot be used.
        UsageError: If an option has no such value.
    """
    x0, y0, x1, y1 = _checked(picture, map, box, alpha, outside)
    height, width = picture.shape[:2]
    start, end = (max(y0, 0), max(x0, 0)), (min(y1, height), min(x1, width))
    whole = (end[0] - start[0], end[1] - start[1]) == (height, width)
    return Covered((x0, y0, x1, y1), start, end, whole)


def _at_size(map: NDArray[Any], size: tuple[int, int], *, smooth: bool) -> NDArray[np.float32]:
    """Resample a map; where it is larger than the size, by area means."""
    values = drawable(map)
    smaller = (min(values.shape[0], size[0]), min(values.shape[1], size[1]))
    if smaller != values.shape:
        from skimage.transform import resize_local_mean  # half a second: only where it is used

        values = resize_local_mean(  # type: ignore[no-untyped-call]
            values, smaller, preserve_range=True
        )
    return upsample(values, size, "bicubic" if smooth else "nearest")


def _dimmed(picture: Picture) -> Picture:
    """Return the picture in dark gray, which sets it off from what the map covers."""
    luma = np.rint(picture @ _DIM).astype(np.uint8)
    return np.repeat(luma[..., None], 3, axis=2)


def check_picture(picture: Picture) -> None:
    """Raise InputError unless the picture is sRGB, uint8 ``[H, W, 3]`` with pixels."""
    array = np.asarray(picture)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise InputError(
            f"render: a picture of dtype {array.dtype} and shape {array.shape} cannot be drawn on",
            "Pass sRGB as uint8 [H, W, 3]",
        )


def _checked(
    picture: Picture, map: NDArray[Any], box: Box | None, alpha: float, outside: str
) -> tuple[int, int, int, int]:
    """Return the box in whole pixels, or say what cannot be used."""
    check_picture(picture)
    if map.ndim != 2 or map.size == 0:
        raise InputError(
            f"render: a map of shape {map.shape} does not fit on a picture",
            "Pass one map [h, w], without batch and target axes",
        )
    if not 0 <= alpha <= 1:
        raise UsageError(f"render: alpha {alpha!r} is not a share", "Pass a number from 0 to 1")
    if outside not in get_args(Outside):
        raise UsageError(
            f"render: unknown outside {outside!r}", f"Choose one of {', '.join(get_args(Outside))}"
        )
    height, width = picture.shape[:2]
    edges = (0, 0, width, height) if box is None else box
    if not all(math.isfinite(edge) for edge in edges):
        raise InputError(f"render: box {box!r} has no finite edges", "Pass (x0, y0, x1, y1)")
    (x0, x1), (y0, y1) = _pixels(edges[0], edges[2]), _pixels(edges[1], edges[3])
    if not (x0 < x1 and y0 < y1 and x0 < width and y0 < height and x1 > 0 and y1 > 0):
        raise InputError(
            f"render: box {box!r} covers no pixel of a picture {width} wide and {height} high",
            "Pass (x0, y0, x1, y1) in the picture's pixels",
        )
    return x0, y0, x1, y1


def _pixels(start: float, end: float) -> tuple[int, int]:
    """Return an interval in whole pixels: to the nearest edges, or all that it touches if none."""
    first, last = round(start), round(end)
    return (math.floor(start), math.ceil(end)) if first == last else (first, last)
