"""Figures of volumes: the slices through the peak, and slices spread evenly."""

from __future__ import annotations

import math
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onnxcam.errors import InputError, UsageError
from onnxcam.output.render.blend import Blending, check_picture, overlay
from onnxcam.output.render.colour import drawable, normalise
from onnxcam.output.render.draw import GAP, MUTED, SMALL_SIZE, heading, legend, stack, text_block
from onnxcam.output.render.figures import MIN_WIDTH, fixed_scale, scaled
from onnxcam.output.upsample import Method, upsample


def figure_3d(
    volume: NDArray[Any],
    map: NDArray[Any],
    *,
    title: str,
    subtitle: str = "",
    slices: int = 9,
    peak: bool = False,
    colorbar: bool = True,
    units: str = "",
    note: str = "",
    size: int = 200,
    **blending: Unpack[Blending],
) -> Image.Image:
    """Draw overlays of slices spread evenly over a volume's first axis, all on one scale.

    Args:
        volume: ``[D, H, W]`` (uint8 as it is; other dtypes in gray from their smallest to their
            largest finite value) or sRGB uint8 ``[D, H, W, 3]``.
        map: Raw values, ``[d, h, w]``, over the whole volume.
        title: As in `figure`.
        subtitle: As in `figure`.
        slices: How many to draw; at most the volume's depth.
        peak: Whether also the three slices through the map's largest value are drawn, first.
        colorbar: Whether to draw the colour bar.
        units: What the raw values are, written below the colour bar.
        note: What else is to be said, written last.
        size: Longer side of a slice, pixels, at least 16.
        blending: As in `figure`.

    Returns:
        An RGB image.

    Raises:
        InputError: If the volume or the map cannot be used.
        UsageError: If an option has no such value.
    """
    pictures = _volume_pictures(volume)
    if np.ndim(map) != 3:
        raise InputError(
            f"render: a map of shape {np.shape(map)} does not fit a volume", "Pass a map [d, h, w]"
        )
    if slices < 1:
        raise UsageError(f"render: cannot draw {slices} slices", "Pass 1 or more")
    name, limits = fixed_scale(map, blending)
    how: Method = "bicubic" if blending.get("smooth", True) else "nearest"
    deep = np.moveaxis(upsample(np.moveaxis(drawable(map), 0, -1), (len(pictures),), how), -1, 0)
    tiles = []
    for z in _spread(len(pictures), slices):
        panel, _ = scaled(pictures[z], None, size)
        tiles.append(_labelled(Image.fromarray(overlay(panel, deep[z], **blending)), f"slice {z}"))
    grid = _grid(tiles)
    through = _through_peak(pictures, map, size, blending) if peak else None
    width = max(grid.width, through.width if through else 0, MIN_WIDTH)
    below = legend(
        map, name, limits, width, units=units, bar=colorbar, note=note, clip=blending.get("clip")
    )
    return stack([heading(title, subtitle, width), through, grid, below])


def _through_peak(
    pictures: NDArray[np.uint8], map: NDArray[Any], size: int, blending: Blending
) -> Image.Image:
    """Draw the three slices through the value of a map that is farthest from 0."""
    values, shape = drawable(map), pictures.shape[:3]
    full = upsample(values, shape, "bicubic" if blending.get("smooth", True) else "nearest")
    size_of = np.abs(full) if blending.get("signed", False) else full
    place = np.unravel_index(int(size_of.argmax()), shape)
    tiles = []
    for axis, letter in enumerate("DHW"):
        at = int(place[axis])
        panel, _ = scaled(np.ascontiguousarray(pictures.take(at, axis)), None, size)
        drawn = overlay(panel, np.asarray(full.take(at, axis)), **blending)
        tiles.append(_labelled(Image.fromarray(drawn), f"{letter} {at}, through the peak"))
    return stack(tiles, margin=0, gap=GAP // 2, across=True)


def _volume_pictures(volume: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a volume's slices as sRGB, uint8 ``[D, H, W, 3]``."""
    array = np.asarray(volume)
    if array.ndim == 3 and array.dtype != np.uint8:
        array = np.rint(255 * normalise(array, "minmax")).astype(np.uint8)
    if array.ndim == 3:
        array = np.repeat(array[..., None], 3, axis=-1)
    if array.ndim != 4 or array.shape[0] == 0:
        raise InputError(
            f"render: a volume of shape {array.shape} cannot be drawn",
            "Pass [D, H, W], or sRGB as uint8 [D, H, W, 3]",
        )
    check_picture(array[0])
    return array


def _spread(depth: int, count: int) -> list[int]:
    """Return up to `count` slice numbers, at the middles of equal parts of a depth."""
    count = min(depth, count)
    return [(2 * i + 1) * depth // (2 * count) for i in range(count)]


def _labelled(tile: Image.Image, label: str) -> Image.Image:
    """Return a tile with a small label above it."""
    text = text_block(label, SMALL_SIZE, max(tile.width, 64), ink=MUTED)
    return stack([text, tile], gap=2, margin=0)


def _grid(tiles: list[Image.Image]) -> Image.Image:
    """Return tiles in rows, about as many of them as there are columns."""
    columns = math.ceil(math.sqrt(len(tiles)))
    rows = [
        stack(tiles[first : first + columns], margin=0, gap=GAP // 2, across=True)
        for first in range(0, len(tiles), columns)
    ]
    return stack(rows, margin=0, gap=GAP // 2)
