"""The texts of a figure, kept beside its pixels, so that an SVG file holds them as text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from PIL import Image, ImageDraw

_NOTES = "onnxcam.texts"  # key in the `info` of a Pillow image
_ANCHORS = {"l": "start", "m": "middle", "r": "end"}
_FONTS = "system-ui, 'DejaVu Sans', Arial, sans-serif"


@dataclass(frozen=True)
class Written:
    """A text that was drawn on paper.

    Attributes:
        x: Place of its anchor, pixels.
        y: Likewise.
        text: What it says.
        size: Of its letters, pixels.
        ink: sRGB.
        anchor: Pillow's: "la" (left, ascender), "ma", "ra".
        box: The pixels that it covers: x0, y0, x1, y1.
    """

    x: float
    y: float
    text: str
    size: int
    ink: tuple[int, int, int]
    anchor: str
    box: tuple[float, float, float, float]


def write(
    image: Image.Image,
    at: tuple[float, float],
    text: str,
    font: Any,
    size: int,
    ink: tuple[int, int, int],
    anchor: str = "la",
) -> None:
    """Draw a text on an image's paper, and note it."""
    draw = ImageDraw.Draw(image)
    draw.text(at, text, fill=ink, font=font, anchor=anchor)
    box = draw.textbbox(at, text, font=font, anchor=anchor)
    image.info.setdefault(_NOTES, []).append(Written(*at, text, size, ink, anchor, box))


def put(sheet: Image.Image, block: Image.Image, at: tuple[int, int]) -> None:
    """Paste a block on a sheet, its texts with it."""
    sheet.paste(block, at)
    dx, dy = at
    for w in written(block):
        x0, y0, x1, y1 = w.box
        moved = replace(w, x=w.x + dx, y=w.y + dy, box=(x0 + dx, y0 + dy, x1 + dx, y1 + dy))
        sheet.info.setdefault(_NOTES, []).append(moved)


def written(image: Image.Image) -> list[Written]:
    """Return the texts of an image."""
    return list(image.info.get(_NOTES, ()))


def erased(image: Image.Image) -> Image.Image:
    """Return an image without its texts: paper in their places."""
    bare = image.copy()
    draw = ImageDraw.Draw(bare)
    for w in written(image):
        x0, y0, x1, y1 = w.box
        draw.rectangle((x0 - 1, y0 - 1, x1, y1), fill=(255, 255, 255))
    return bare


def svg(image: Image.Image, pixels: bytes) -> bytes:
    """Return an SVG file: the pixels as one picture, every text as a text over it.

    Args:
        image: The figure, for its size and texts.
        pixels: A PNG file of it without the texts.
    """
    from base64 import b64encode  # late: few ask for it

    width, height = image.size
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="{_FONTS}">'
    )
    shown = (
        f'<image width="{width}" height="{height}" '
        f'href="data:image/png;base64,{b64encode(pixels).decode()}"/>'
    )
    return "\n".join([head, shown, *map(_text, written(image)), "</svg>", ""]).encode()


def _text(w: Written) -> str:
    from html import escape

    ink = bytes(w.ink).hex()
    base = w.y + 0.95 * w.size  # from the ascender to the base line
    return (
        f'<text x="{w.x:g}" y="{base:g}" font-size="{w.size}" fill="#{ink}" '
        f'text-anchor="{_ANCHORS[w.anchor[0]]}" textLength="{w.box[2] - w.box[0]:g}" '
        f'lengthAdjust="spacingAndGlyphs">{escape(w.text, quote=False)}</text>'
    )
