"""Frames on a picture, each with a label: the boxes that a detector found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from onnxcam.output.render.blend import Mark
from onnxcam.output.render.draw import SMALL_SIZE, face, plain

FRAME = (255, 255, 255)
SHADE = (17, 20, 24)  # around the frame: it is seen on any picture, and under any colours
_PAD = 3


def marked(picture: NDArray[np.uint8], marks: Sequence[Mark]) -> NDArray[np.uint8]:
    """Draw frames with labels on a picture.

    Args:
        picture: sRGB, uint8 ``[H, W, 3]``; it is not changed.
        marks: Left, top, right and bottom in its pixels, and a label ("" for none), each.

    Returns:
        sRGB, uint8 ``[H, W, 3]``, a new array.
    """
    image = Image.fromarray(picture)
    drawing = ImageDraw.Draw(image)
    width = max(round(max(image.size) / 240), 1)
    for edges, label in marks:
        _frame(drawing, edges, image.size, width)
        if label:
            _tag(drawing, edges, plain(label), image.size, width)
    return np.array(image)


def _frame(drawing: Any, edges: Sequence[float], size: tuple[int, int], width: int) -> None:
    """Draw a frame, cut to the picture, with a dark line on either side of a light one."""
    left, top = (min(max(round(e), 0), s - 1) for e, s in zip(edges[:2], size, strict=True))
    right, bottom = (min(max(round(e), 0), s - 1) for e, s in zip(edges[2:], size, strict=True))
    if right <= left or bottom <= top:
        return
    drawing.rectangle((left, top, right, bottom), outline=SHADE, width=3 * width)
    inner = (left + width, top + width, right - width, bottom - width)
    if inner[0] < inner[2] and inner[1] < inner[3]:
        drawing.rectangle(inner, outline=FRAME, width=width)


def _tag(
    drawing: Any, edges: Sequence[float], label: str, size: tuple[int, int], width: int
) -> None:
    """Write a label above the frame, or in it where there is no room."""
    font = face(label, max(SMALL_SIZE, 6 * width))
    wide, high = round(font.getlength(label)) + 2 * _PAD, sum(font.getmetrics()) + _PAD
    left = min(max(round(edges[0]), 0), max(size[0] - wide, 0))
    top = round(edges[1]) - high
    top = min(max(round(edges[1]), 0), size[1] - high) if top < 0 else top
    drawing.rectangle((left, top, left + wide, top + high), fill=SHADE)
    drawing.text((left + _PAD, top + _PAD // 2), label, fill=FRAME, font=font)
