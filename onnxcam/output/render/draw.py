"""The blocks that figures are stacked from: titles, colour bars, legends, all drawn with PIL.

Text is drawn with the font that Pillow carries, so that figures look the same everywhere, save
where it has letters that this font lacks: then with a font of the system.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from onnxcam.output.render.colour import STEPS, Limits, colormap, value_range
from onnxcam.output.render.vector import put, write

INK = (27, 31, 36)
MUTED = (101, 109, 118)
LINE = (208, 215, 222)
PAPER = (255, 255, 255)
ALARM = (176, 32, 32)

MARGIN = 24
GAP = 16
TITLE_SIZE = 20
TEXT_SIZE = 14
SMALL_SIZE = 12

SYSTEM_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "Arial.ttf",
    "NotoSansCJK-Regular.ttc",
    "Arial Unicode.ttf",
    "msyh.ttc",
    "malgun.ttf",
)

_BAR_HEIGHT = 12
_TICK = 4
_APART = 6  # between numbers


def face(text: str, size: int) -> Any:
    """Return a font to draw a text with, at a size in pixels.

    Args:
        text: What it has to draw.
        size: Pixels.

    Returns:
        The font that Pillow carries where that has every letter (it knows ASCII and little more),
        else the system font that has most of them; letters of no font come out as boxes.
    """
    best = _carried(size)
    missing = _missing(best, text)
    for name in SYSTEM_FONTS if missing else ():
        font = _system(name, size)
        if font is not None and _missing(font, text) < missing:
            best, missing = font, _missing(font, text)
    return best


@cache
def _carried(size: int) -> Any:
    """Return Pillow's own font."""
    return ImageFont.load_default(size)


@cache
def _system(name: str, size: int) -> Any:
    """Return a font of the system by its file's name, or None where it has none."""
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


def _missing(font: Any, text: str) -> int:
    """Return how many different letters of a text a font draws as its box for unknown ones."""
    box = bytes(font.getmask("\uffff"))
    return sum(not c.isascii() and bytes(font.getmask(c)) == box for c in set(text))


def plain(text: str) -> str:
    """Return text on one line that any font can be asked to draw: no controls, no surrogates."""
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c.isprintable() else " " for c in whole).strip()


def wrap(text: str, font: Any, width: int, lines: int) -> list[str]:
    """Break text into lines no wider than a width, and elide what does not fit in the last.

    Args:
        text: What to write, on one line.
        font: What to draw it with.
        width: Room for a line, pixels.
        lines: How many lines there may be, at least 1.

    Returns:
        The lines; none for a text of spaces only.
    """
    rest = text.strip()
    wrapped: list[str] = []
    while rest:
        if font.getlength(rest) <= width:
            return [*wrapped, rest]
        if len(wrapped) == lines - 1:
            return [*wrapped, rest[: _fitting(rest, "…", font, width)].rstrip() + "…"]
        fitting = max(_fitting(rest, "", font, width), 1)
        space = rest.rfind(" ", 0, fitting + 1)
        end = space if space > 0 else fitting
        wrapped.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return wrapped


def _fitting(text: str, suffix: str, font: Any, width: int) -> int:
    """Return how many leading characters of a text fit in a width together with a suffix."""
    fits, too_many = 0, len(text) + 1
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if font.getlength(text[:middle] + suffix) <= width:
            fits = middle
        else:
            too_many = middle
    return fits


def number(value: float) -> str:
    """Write a raw value in three digits."""
    return f"{value:.3g}"


def text_block(
    text: str, size: int, width: int, *, lines: int = 1, ink: tuple[int, int, int] = INK
) -> Image.Image | None:
    """Return lines of text on paper, or None where there is nothing to write."""
    text = plain(text)
    font = face(text, size)
    wrapped = wrap(text, font, width, lines)
    if not wrapped:
        return None
    step = round(1.35 * size)
    block = Image.new("RGB", (width, step * len(wrapped)), PAPER)
    for row, line in enumerate(wrapped):
        write(block, (0, row * step), line, font, size, ink)
    return block


def colour_bar(name: str, limits: Limits, width: int) -> Image.Image:
    """Return a colour bar with the raw values at its ends and middle.

    Args:
        name: The colour map.
        limits: Raw values at the ends. Where they are equal (nothing to scale) only that value
            is written, at the left.
        width: Pixels.
    """
    ramp = colormap(name)[np.linspace(0, STEPS - 1, width).astype(np.intp)]
    bar = Image.fromarray(np.repeat(ramp[None], _BAR_HEIGHT, axis=0))
    height = _BAR_HEIGHT + _TICK + round(1.5 * SMALL_SIZE)
    block = Image.new("RGB", (width, height), PAPER)
    block.paste(bar, (0, 0))
    draw = ImageDraw.Draw(block)
    draw.rectangle((0, 0, width - 1, _BAR_HEIGHT - 1), outline=LINE)
    low, high = limits
    ticks = [(0, low, "la")]
    if high > low:
        ticks += [(width - 1, high, "ra"), (width // 2, 0.5 * low + 0.5 * high, "ma")]
    taken = 0.0
    for x, value, anchor in ticks:
        draw.line((x, _BAR_HEIGHT, x, _BAR_HEIGHT + _TICK - 1), fill=MUTED)
        text = number(value)
        font = face(text, SMALL_SIZE)
        long = font.getlength(text)
        if anchor == "ma" and width / 2 - long / 2 < taken + _APART:  # a number would touch others
            continue
        taken = max(taken, long)
        write(block, (x, _BAR_HEIGHT + _TICK + 1), text, font, SMALL_SIZE, MUTED, anchor)
    return block


def legend(
    map: NDArray[Any],
    name: str,
    limits: Limits,
    width: int,
    *,
    units: str,
    bar: bool,
    clip: float | None = None,
    note: str = "",
) -> Image.Image | None:
    """Return what belongs below a map: colour bar, units and raw range, and what was not finite.

    Args:
        map: Raw values of any shape.
        name: The colour map.
        limits: Raw values at its ends.
        width: Pixels.
        units: What the values are.
        bar: Whether to draw the colour bar and the line below it.
        clip: Percentile of the magnitudes at which the colours end; None where they do not.
        note: What else is to be said of the picture.

    Returns:
        The block, or None where there is nothing to say.
    """
    finite = np.isfinite(map)
    low, high = value_range(map, "minmax")
    span = f"raw map from {number(low)} to {number(high)}" if finite.any() else ""
    ends = clip is not None and not limits[0] <= low <= high <= limits[1]
    ending = f"colours end at the {clip:g}th percentile" if ends else ""
    bad = finite.size - int(np.count_nonzero(finite))
    wrong = f"{bad} of {finite.size} values are not finite; drawn as 0" if bad else ""
    blocks = [text_block(wrong, SMALL_SIZE, width, lines=2, ink=ALARM)]
    if bar:
        line = " · ".join(text for text in (units, ending, span) if text)
        below = text_block(line, SMALL_SIZE, width, lines=2, ink=MUTED)
        blocks = [colour_bar(name, limits, width), below, *blocks]
    blocks.append(text_block(note, SMALL_SIZE, width, lines=2, ink=MUTED))
    return stack(blocks, gap=2, margin=0) if any(blocks) else None


def heading(title: str, subtitle: str, width: int) -> Image.Image | None:
    """Return the title block of a figure, or None where both texts are empty.

    What is in further lines of the subtitle is to be seen: written out, as dark as the title.
    """
    how, *more = subtitle.splitlines() or [""]
    texts = [
        text_block(title, TITLE_SIZE, width, lines=2),
        text_block(how, TEXT_SIZE, width, lines=2, ink=MUTED),
        *(text_block(each, TEXT_SIZE, width, lines=8) for each in more),
    ]
    return stack(texts, gap=2, margin=0) if any(texts) else None


def stack(
    blocks: Sequence[Image.Image | None],
    gap: int = GAP,
    margin: int = MARGIN,
    *,
    across: bool = False,
) -> Image.Image:
    """Put blocks on paper, from top to bottom or from left to right; None is left out.

    Args:
        blocks: What to put there, aligned at the left or at the top.
        gap: Pixels between two blocks.
        margin: Pixels around them all.
        across: From left to right.
    """
    present = [block for block in blocks if block is not None]
    sizes = np.array([block.size for block in present])
    along = 0 if across else 1
    extent = sizes.max(axis=0)
    extent[along] = sizes[:, along].sum() + gap * (len(present) - 1)
    width, height = (extent + 2 * margin).tolist()
    sheet = Image.new("RGB", (width, height), PAPER)
    at = [margin, margin]
    for block in present:
        put(sheet, block, (at[0], at[1]))
        at[along] += block.size[along] + gap
    return sheet
