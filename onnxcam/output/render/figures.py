"""Figures to show: a picture and its map, and the slices of a volume."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Unpack, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onnxcam.errors import UsageError
from onnxcam.output.render.blend import Blending, Box, Mark, Picture, check_picture
from onnxcam.output.render.colour import Limits, scale
from onnxcam.output.render.draw import heading, legend, stack
from onnxcam.output.render.styles import Style, check_style, painted, relief_limits

Figure = Image.Image
Layout = Literal["pair", "overlay"]

MIN_WIDTH = 360  # of a figure's content: a title and a colour bar need room
MIN_SIZE, MAX_SIZE = 16, 20_000
PIXELATED_FROM = 4  # enlarged by more, a small picture is shown with its pixels


class Drawing(Blending, total=False):
    """The options of `figure`, `figure_1d` and `figure_3d` together; each takes its own."""

    title: str
    subtitle: str
    colorbar: bool
    units: str
    note: str
    size: int
    layout: Layout
    style: Style
    relief: NDArray[Any] | None
    scale: float | None
    marks: Sequence[Mark]
    slices: int
    peak: bool
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
    note: str = "",
    layout: Layout = "pair",
    style: Style = "overlay",
    relief: NDArray[Any] | None = None,
    marks: Sequence[Mark] = (),
    size: int = 480,
    scale: float | None = None,
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
        note: What else is to be said, written last.
        layout: ``pair`` puts the picture before the overlay (beside it, or above where the picture
            is wide), ``overlay`` shows that alone.
        style: How the map is shown: ``overlay``, ``relief``, ``heat``, ``contour``, or ``side``
            (heat and overlay); see `painted`.
        relief: Signed values of channels for the style of that name; see `painted`.
        marks: Frames to draw on all, in the picture's pixels, with a label each.
        size: Longer side of each of the two, pixels, at least 16.
        scale: Instead of a size: how many pixels a pixel of the picture becomes along each side.
        blending: ``colormap``, ``alpha``, ``alpha_by_value``, ``signed``, ``limits``, ``clip``,
            ``smooth`` and ``outside``, as in `overlay`.

    Returns:
        An RGB image.

    Raises:
        InputError: If the picture, the map or the box cannot be used.
        UsageError: If an option has no such value.
    """
    check_picture(picture)
    _check_layout(layout)
    check_style(style)
    panel, box = scaled(picture, box, pixels(picture, size, scale))
    given = blending.get("limits")
    name, limits = fixed_scale(map, blending)
    if style == "relief":
        blending["limits"] = given
    styles: list[Style] = ["heat", "overlay"] if style == "side" else [style]
    panels = [panel] if layout == "pair" else []
    panels += [painted(s, panel, map, box=box, relief=relief, **blending) for s in styles]
    panels = [framed(each, picture, marks) for each in panels]
    across = panel.shape[1] < 2 * panel.shape[0]
    shown = stack([Image.fromarray(each) for each in panels], margin=0, across=across)
    width = max(shown.width, MIN_WIDTH)
    clip, shades = blending.get("clip"), map
    if style == "relief":
        shades = map if relief is None else relief
        name, limits = "gray", relief_limits(shades, clip, given)
    below = legend(shades, name, limits, width, units=units, bar=colorbar, note=note, clip=clip)
    return stack([heading(title, subtitle, width), shown, below])


def framed(panel: Picture, picture: Picture, marks: Sequence[Mark]) -> Picture:
    """Return a panel with the frames that are marked on the picture that it shows."""
    if not marks:
        return panel
    from onnxcam.output.render.marks import marked  # late: only detectors have boxes

    x, y = panel.shape[1] / picture.shape[1], panel.shape[0] / picture.shape[0]
    return marked(panel, [((a * x, b * y, c * x, d * y), said) for (a, b, c, d), said in marks])


def _check_layout(layout: str) -> None:
    """Raise UsageError for a layout that there is not."""
    if layout not in get_args(Layout):
        raise UsageError(
            f"render: unknown layout {layout!r}", f"Choose one of {', '.join(get_args(Layout))}"
        )


def image(
    picture: Picture,
    map: NDArray[Any],
    *,
    box: Box | None = None,
    style: Style = "overlay",
    relief: NDArray[Any] | None = None,
    scale: float = 1,
    marks: Sequence[Mark] = (),
    **blending: Unpack[Blending],
) -> Picture:
    """Draw a map on a picture in a style, and nothing around it; for the arguments see `figure`.

    Returns:
        sRGB, uint8 ``[H, W, 3]``.

    Raises:
        InputError: If the picture, the map or the box cannot be used.
        UsageError: If an option has no such value.
    """
    check_picture(picture)
    panel = picture
    if scale != 1:
        panel, box = scaled(picture, box, pixels(picture, 0, scale))
    drawn = painted(style, panel, map, box=box, relief=relief, **blending)
    return framed(drawn, picture, marks)


def pixels(picture: Picture, size: int, scale: float | None) -> int:
    """Return the longer side of a panel: a size, or that of the picture by a scale.

    Raises:
        UsageError: The scale is no number above 0, or makes more pixels than fit in memory.
    """
    if scale is None:
        return size
    most = int(max(picture.shape[:2]))
    if not 0 < scale * most <= MAX_SIZE:
        raise UsageError(
            f"render: a picture {most} pixels long cannot be drawn at a scale of {scale!r}",
            f"Pass a number above 0 that makes no more than {MAX_SIZE} pixels",
        )
    return max(round(scale * most), MIN_SIZE)


def fixed_scale(map: NDArray[Any], blending: Blending) -> tuple[str, Limits]:
    """Fix the colour map and its limits in the options, and return the two."""
    name, limits = scale(
        map,
        blending.get("colormap"),
        blending.get("signed", False),
        blending.get("limits"),
        blending.get("clip"),
    )
    blending["colormap"], blending["limits"] = name, limits
    return name, limits


def scaled(picture: Picture, box: Box | None, size: int) -> tuple[Picture, Box | None]:
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


def below_each_other(figures: Sequence[Image.Image]) -> Image.Image:
    """Return figures of their own as one image."""
    return stack(list(figures), margin=0)
