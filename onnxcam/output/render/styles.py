"""The ways to show what a map says of a picture, as the papers do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Unpack, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from onnxcam.errors import UsageError
from onnxcam.output.render.blend import Blending, Box, Covered, Picture, covering, overlay
from onnxcam.output.render.colour import Limits, colours, normalise, scale, value_range

Style = Literal["overlay", "relief", "heat", "side", "contour"]
STYLES: tuple[Style, ...] = get_args(Style)
"""overlay: colours over the picture; heat: colours alone; relief: signed values on grey, in colour
where the method has them for each colour channel; contour: lines of equal value on the picture;
side: heat and overlay beside the picture."""

_BLANK = (230, 233, 237)  # where the map says nothing
_GREY = 127.5
_LEVELS = (0.25, 0.5, 0.75)  # of the scale, where contours are drawn
_HALO = (255, 255, 255)


def painted(
    style: Style,
    picture: Picture,
    map: NDArray[Any],
    *,
    box: Box | None = None,
    relief: NDArray[Any] | None = None,
    **blending: Unpack[Blending],
) -> Picture:
    """Draw a map in a style, at the size of the picture.

    Args:
        style: One of `STYLES`; "side", which is two of these, is drawn as "overlay".
        picture: sRGB, uint8 ``[H, W, 3]``.
        map: Raw values, ``[h, w]``.
        box: The part of the picture that the map covers; see `overlay`.
        relief: Signed values of the channels that the map is made of, ``[C, h, w]``; of three they
            are red, green and blue. None takes the map's own.
        blending: As in `overlay`.

    Returns:
        sRGB, uint8 ``[H, W, 3]``, a new array.

    Raises:
        InputError: If the picture, the map or the box cannot be used.
        UsageError: If an option or the style has no such value.
    """
    check_style(style)
    if style in ("overlay", "side"):
        return overlay(picture, map, box=box, **blending)
    covered = covering(picture, np.asarray(map), box)
    draw = {"heat": _heat, "contour": _contours}.get(style)
    if draw is not None:
        return draw(picture, map, covered, blending)
    return _relief(picture, map if relief is None else relief, covered, blending)


def check_style(style: str) -> None:
    """Raise UsageError for a style that there is not."""
    if style not in STYLES:
        raise UsageError(f"render: no style {style!r}", f"Choose one of {', '.join(STYLES)}")


def relief_of(values: NDArray[Any]) -> NDArray[Any]:
    """Return what a relief shows, ``[3, h, w]``, or ``[1, h, w]`` where there are no colours.

    Of a map ``[h, w]`` that is the map, of one or many channels what speaks loudest, with its sign.
    """
    channels = np.asarray(values)
    channels = channels[None] if channels.ndim == 2 else channels
    if len(channels) == 3:
        return channels
    loudest = np.abs(channels).argmax(0, keepdims=True)
    return np.take_along_axis(channels, loudest, 0)


def relief_limits(
    values: NDArray[Any], clip: float | None = None, limits: Limits | None = None
) -> Limits:
    """Return the raw values that black and white of a relief stand for."""
    low, high = value_range(relief_of(values), "signed", clip) if limits is None else limits
    return -max(-low, high), max(-low, high)  # grey is 0


def _heat(
    picture: Picture, map: NDArray[Any], covered: Covered, blending: Mapping[str, Any]
) -> Picture:
    signed = blending.get("signed", False)
    name, limits = scale(
        map, blending.get("colormap"), signed, blending.get("limits"), blending.get("clip")
    )
    values = covered.values(map, smooth=blending.get("smooth", True))
    level = normalise(values, "signed" if signed else "max", limits)
    return _inside(picture, colours(level, name, signed=signed), covered)


def _relief(
    picture: Picture, values: NDArray[Any], covered: Covered, blending: Mapping[str, Any]
) -> Picture:
    limits = relief_limits(values, blending.get("clip"), blending.get("limits"))
    smooth = blending.get("smooth", True)
    level = np.stack(
        [normalise(covered.values(c, smooth=smooth), "signed", limits) for c in relief_of(values)],
        axis=-1,
    )
    grey = np.rint(_GREY + _GREY * level).astype(np.uint8)
    return _inside(picture, np.broadcast_to(grey, (*grey.shape[:2], 3)), covered)


def _contours(
    picture: Picture, map: NDArray[Any], covered: Covered, blending: Mapping[str, Any]
) -> Picture:
    """Draw lines of equal value, in their colours, on a light halo that sets them off."""
    from skimage.measure import find_contours  # late: it takes a while, and few ask for it

    signed = blending.get("signed", False)
    name, limits = scale(
        map, blending.get("colormap"), signed, blending.get("limits"), blending.get("clip")
    )
    smooth = blending.get("smooth", True)
    level = normalise(covered.values(map, smooth=smooth), "signed" if signed else "max", limits)
    canvas = Image.fromarray(picture.copy())
    draw = ImageDraw.Draw(canvas)
    top, left = covered.start
    bottom, right = covered.end
    width = max(round(min(picture.shape[:2]) / 200), 1)
    if not covered.whole:
        draw.rectangle((left, top, right - 1, bottom - 1), outline=_BLANK)
    padded = np.pad(level, 1)  # else lines end where the map does
    for value in (*(-v for v in _LEVELS if signed), *_LEVELS):
        (ink,) = colours(np.array([value]), name, signed=signed)
        outline = padded if value > 0 else -padded
        for line in find_contours(outline, abs(value)):  # type: ignore[no-untyped-call]
            points = [(x + left - 1, y + top - 1) for y, x in line]
            draw.line(points, fill=_HALO, width=3 * width, joint="curve")
            draw.line(points, fill=tuple(ink.tolist()), width=width + 1, joint="curve")
    return np.asarray(canvas)


def _inside(picture: Picture, drawn: NDArray[np.uint8], covered: Covered) -> Picture:
    """Return what is drawn at its place, and nothing around it."""
    sheet = np.empty(picture.shape, np.uint8)
    sheet[:] = _BLANK
    (top, left), (bottom, right) = covered.start, covered.end
    sheet[top:bottom, left:right] = drawn
    return sheet
