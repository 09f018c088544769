"""Figures to show: a picture and its map, and the slices of a volume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, Unpack, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onnxcam.errors import InputError, UsageError
from onnxcam.output.render.blend import Blending, Box, Mark, Picture, check_picture, overlay
from onnxcam.output.render.colour import drawable, normalise, scale
from onnxcam.output.render.draw import GAP, MUTED, SMALL_SIZE, heading, legend, stack, text_block
from onnxcam.output.upsample import upsample

Figure = Image.Image
Layout = Literal["pair", "overlay"]

MIN_WIDTH = 360  # of a figure's content: a title and a colour bar need room
MIN_SIZE = 16
PIXELATED_FROM = 4  # enlarged by more, a small picture is shown with its pixels


class Drawing(Blending, total=False):
    """The options of `figure`, `figure_1d` and `figure_3d` together; each takes its own."""

    title: str
    subtitle: str
    colorbar: bool
    units: str
    size: int
    layout: Layout
    marks: Sequence[Mark]
    slices: int
    channels: Sequence[str]
    rate: float | None


def figure(
    picture: Picture,
    map: NDArray[Any],
    *,
    title: str,
    subtitle: str = "",
    box: Box | None = None,
    colorbar: bool = True,
    units: str = "",
    layout: Layout = "pair",
    size: int = 480,
    marks: Sequence[Mark] = (),
    **blending: Unpack[Blending],
) -> Image.Image:
    """Draw a picture and its overlay under a title, above a colour bar of the raw values.

    Args:
        picture: sRGB, uint8 ``[H, W, 3]``, of any size and shape; it is scaled to the figure.
        map: Raw values, ``[h, w]``.
        title: What was found, such as ``tabby cat 93 %``. Up to two lines, then elided.
        subtitle: How, such as ``LayerCAM at conv5_3, logit``. Up to two lines, then elided.
        box: The part of the picture that the map covers; see `overlay`.
        colorbar: Whether to draw the colour bar.
        units: What the raw values are, written below the colour bar.
        layout: ``pair`` puts the picture before the overlay (beside it, or above where the picture
            is wide), ``overlay`` shows that alone.
        size: Longer side of each of the two, pixels, at least 16.
        marks: Frames to draw on both, in the picture's pixels, with a label each.
        blending: ``colormap``, ``alpha``, ``alpha_by_value``, ``signed``, ``limits`` and
            ``outside``, as in `overlay`.

    Returns:
        An RGB image.

    Raises:
        InputError: If the picture, the map or the box cannot be used.
        UsageError: If an option has no such value.
    """
    check_picture(picture)
    if layout not in get_args(Layout):
        raise UsageError(
            f"render: unknown layout {layout!r}", f"Choose one of {', '.join(get_args(Layout))}"
        )
    panel, box = _scaled(picture, box, size)
    name, limits = _scale(map, blending)
    shown_twice = [panel] if layout == "pair" else []
    drawn = [*shown_twice, overlay(panel, map, box=box, **blending)]
    if marks:
        from onnxcam.output.render.marks import marked

        step = panel.shape[1] / picture.shape[1], panel.shape[0] / picture.shape[0]
        drawn = [marked(each, _stretched(marks, step)) for each in drawn]
    panels = [Image.fromarray(each) for each in drawn]
    shown = stack(panels, margin=0, across=panel.shape[1] < 2 * panel.shape[0])
    width = max(shown.width, MIN_WIDTH)
    below = legend(map, name, limits, width, units=units, bar=colorbar)
    return stack([heading(title, subtitle, width), shown, below])


def figure_3d(
    volume: NDArray[Any],
    map: NDArray[Any],
    *,
    title: str,
    subtitle: str = "",
    slices: int = 9,
    colorbar: bool = True,
    units: str = "",
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
        colorbar: Whether to draw the colour bar.
        units: What the raw values are, written below the colour bar.
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
    name, limits = _scale(map, blending)
    deep = np.moveaxis(upsample(np.moveaxis(drawable(map), 0, -1), (len(pictures),)), -1, 0)
    tiles = []
    for z in _spread(len(pictures), slices):
        panel, _ = _scaled(pictures[z], None, size)
        tiles.append(_labelled(Image.fromarray(overlay(panel, deep[z], **blending)), f"slice {z}"))
    grid = _grid(tiles)
    width = max(grid.width, MIN_WIDTH)
    below = legend(map, name, limits, width, units=units, bar=colorbar)
    return stack([heading(title, subtitle, width), grid, below])


def _stretched(marks: Sequence[Mark], step: tuple[float, float]) -> list[Mark]:
    """Return frames on a picture of another size."""
    x, y = step
    return [((a * x, b * y, c * x, d * y), label) for (a, b, c, d), label in marks]


def _scale(map: NDArray[Any], blending: Blending) -> tuple[str, tuple[float, float]]:
    """Fix the colour map and its limits in the options, and return the two."""
    name, limits = scale(
        map, blending.get("colormap"), blending.get("signed", False), blending.get("limits")
    )
    blending["colormap"], blending["limits"] = name, limits
    return name, limits


def _scaled(picture: Picture, box: Box | None, size: int) -> tuple[Picture, Box | None]:
    """Return a picture, and the box with it, with the longer side at a size in pixels."""
    if size < MIN_SIZE:
        raise UsageError(
            f"render: a figure of size {size} shows nothing", f"Pass {MIN_SIZE} or more"
        )
    height, width = picture.shape[:2]
    scale = size / max(height, width)
    new = (max(round(width * scale), 1), max(round(height * scale), 1))
    filter = Image.Resampling.NEAREST if scale > PIXELATED_FROM else Image.Resampling.LANCZOS
    panel = np.asarray(Image.fromarray(picture).resize(new, filter, reducing_gap=3.0))
    if box is None:
        return panel, None
    x, y = new[0] / width, new[1] / height
    return panel, (box[0] * x, box[1] * y, box[2] * x, box[3] * y)


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
