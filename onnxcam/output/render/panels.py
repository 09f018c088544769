"""Several maps in one figure: each on its own scale or all on one, which the figure says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onnxcam.errors import UsageError
from onnxcam.output.render.blend import Blending, Box, Mark, Picture, check_picture
from onnxcam.output.render.colour import Limits, value_range
from onnxcam.output.render.draw import (
    ALARM,
    GAP,
    INK,
    MUTED,
    PAPER,
    SMALL_SIZE,
    TEXT_SIZE,
    colour_bar,
    heading,
    stack,
    text_block,
)
from onnxcam.output.render.figures import fixed_scale, framed, pixels, scaled
from onnxcam.output.render.styles import Style, painted, relief_limits
from onnxcam.output.render.vector import put

Scale = Literal["own", "one"]
SCALES: tuple[Scale, ...] = get_args(Scale)

_LEAST = 120  # pixels of a panel's width: its caption and colour bar need room
_MOST = 400  # panels of a figure


@dataclass(frozen=True)
class Panel:
    """One map of a figure of several.

    Attributes:
        picture: sRGB, uint8 ``[H, W, 3]``.
        map: Raw values, ``[h, w]``; None shows the picture alone.
        title: What was found.
        lines: How, and of what; each a line below the title.
        warnings: What looks wrong, written out in an alarming colour.
        box: The part of the picture that the map covers.
        style: How the map is drawn.
        relief: Signed values of channels; see `painted`.
        marks: Frames on the picture, with a label each.
        blending: As in `overlay`.
    """

    picture: Picture
    map: NDArray[Any] | None = None
    title: str = ""
    lines: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    box: Box | None = None
    style: Style = "overlay"
    relief: NDArray[Any] | None = None
    marks: Sequence[Mark] = ()
    blending: Blending = field(default_factory=Blending)

    @property
    def shades(self) -> NDArray[Any]:
        """The values that its colours stand for."""
        assert self.map is not None
        return self.relief if self.style == "relief" and self.relief is not None else self.map


def figure_panels(
    panels: Sequence[Panel],
    *,
    title: str = "",
    subtitle: str = "",
    scale: Scale = "own",
    columns: int | None = None,
    note: str = "",
    size: int = 240,
    enlarged: float | None = None,
) -> Image.Image:
    """Draw several maps beside and below each other.

    Args:
        panels: What to draw, row by row.
        title: Of the whole figure.
        subtitle: As in `figure`.
        scale: ``own``: the colours of each panel run over its own raw values, written below it.
            ``one``: all run over the same, written once; only maps of one unit compare so.
        columns: Panels in a row; None takes about as many as rows.
        note: What else is to be said, written last.
        size: Longer side of a panel's picture, pixels.
        enlarged: Instead of a size: how many pixels a pixel of the picture becomes.

    Returns:
        An RGB image.

    Raises:
        InputError: If a picture, map or box cannot be used.
        UsageError: If an option has no such value, or there are no panels, or too many.
    """
    _check(panels, scale, columns)
    if scale == "one":
        panels = _on_one_scale(panels)
    across = columns or math.ceil(math.sqrt(len(panels)))
    tiles = [_tile(panel, size, enlarged, bar=scale == "own") for panel in panels]
    width = max(tile.width for tile in tiles)
    tiles = [_padded(tile, width) for tile in tiles]
    rows = [
        stack(tiles[first : first + across], margin=0, across=True)
        for first in range(0, len(tiles), across)
    ]
    shown = stack(rows, margin=0, gap=GAP)
    said = "all maps on one scale" if scale == "one" else "every map on a scale of its own"
    maps = [p for p in panels if p.map is not None]
    width = max(shown.width, 360)
    bar = colour_bar(*_colours(maps[0]), width) if scale == "one" and maps else None
    below = [bar] + [
        text_block(line, SMALL_SIZE, width, lines=2, ink=MUTED)
        for line in (said if len(maps) > 1 else "", note)
    ]
    rest = stack(below, gap=2, margin=0) if any(below) else None
    return stack([heading(title, subtitle, width), shown, rest])


def _tile(panel: Panel, size: int, enlarged: float | None, *, bar: bool) -> Image.Image:
    """Draw one panel: caption, picture, and its own colour bar where it has one."""
    side = pixels(panel.picture, size, enlarged)
    picture, box = scaled(panel.picture, panel.box, side)
    if panel.map is not None:
        how = panel.blending
        picture = painted(panel.style, picture, panel.map, box=box, relief=panel.relief, **how)
    picture = framed(picture, panel.picture, panel.marks)
    width = max(picture.shape[1], _LEAST)
    texts = [
        text_block(panel.title, TEXT_SIZE, width, ink=INK),
        *(text_block(line, SMALL_SIZE, width, lines=2, ink=MUTED) for line in panel.lines),
        *(text_block(line, SMALL_SIZE, width, lines=4, ink=ALARM) for line in panel.warnings),
    ]
    below = colour_bar(*_colours(panel), width) if bar and panel.map is not None else None
    return stack([Image.fromarray(picture), below, *texts], gap=3, margin=0)


def _colours(panel: Panel) -> tuple[str, Limits]:
    """Return the colour map of a panel and the raw values at its ends."""
    assert panel.map is not None
    if panel.style == "relief":
        how = panel.blending
        return "gray", relief_limits(panel.shades, how.get("clip"), how.get("limits"))
    return fixed_scale(panel.map, cast(Blending, {**panel.blending}))


def _on_one_scale(panels: Sequence[Panel]) -> list[Panel]:
    """Return the panels with the limits of all their maps, signed where one of them is."""
    maps = [p for p in panels if p.map is not None]
    signed = any(p.blending.get("signed", False) for p in maps)
    styles = {p.style == "relief" for p in maps}
    if len(styles) > 1:
        raise UsageError(
            "render: a relief and a heat map have no scale in common", "draw each on its own"
        )
    mode: Any = "signed" if signed or True in styles else "max"
    ends = [value_range(p.shades, mode, p.blending.get("clip")) for p in maps]
    limits = (min(low for low, _ in ends), max(high for _, high in ends)) if ends else (0.0, 0.0)
    name = next((n for p in maps if (n := p.blending.get("colormap")) and not signed), None)
    made = []
    for p in panels:
        options: dict[str, Any] = {**p.blending, "signed": signed, "limits": limits}
        options["colormap"] = name if not signed else p.blending.get("colormap") or "bluered"
        made.append(replace(p, blending=cast(Blending, options)))
    return made


def _padded(tile: Image.Image, width: int) -> Image.Image:
    """Return a tile at a width, the room at its right."""
    sheet = Image.new("RGB", (width, tile.height), PAPER)
    put(sheet, tile, (0, 0))
    return sheet


def _check(panels: Sequence[Panel], scale: str, columns: int | None) -> None:
    """Raise UsageError for what makes no figure."""
    if not 1 <= len(panels) <= _MOST:
        raise UsageError(
            f"render: a figure of {len(panels)} panels", f"draw 1 to {_MOST}, or a file for each"
        )
    if scale not in SCALES:
        raise UsageError(f"render: no scale {scale!r}", f"Choose one of {', '.join(SCALES)}")
    if columns is not None and columns < 1:
        raise UsageError(f"render: {columns} columns show nothing", "Pass 1 or more")
    for panel in panels:
        check_picture(np.asarray(panel.picture))
