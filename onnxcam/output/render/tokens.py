"""Texts in the colours of a map: as HTML, and for terminals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxcam.errors import plain
from onnxcam.output.render.colour import colours, drawable, normalise, scale
from onnxcam.output.render.draw import number

_RESET, _BOLD, _FAINT = "\x1b[0m", "\x1b[1m", "\x1b[2m"
_DARK = 140  # a background of less luminance has white letters
_STRONGEST = 5
_PAGE = """<!doctype html><html><head><meta charset="utf-8"><title>{title}</title></head>
<body style="margin:24px;max-width:60em;font-family:sans-serif">{body}</body></html>
"""


def tints(map: NDArray[Any], *, signed: bool) -> NDArray[np.uint8]:
    """Return a background for each value, uint8 [T, 3]: white for 0."""
    name, limits = scale(map, None if signed else "blush", signed, None)
    level = normalise(map, "signed" if signed else "max", limits)
    return colours(level, name, signed=signed)


@dataclass(frozen=True, eq=False)
class Text:
    """A text, and what each of its words is worth.

    Attributes:
        words: The tokens or words.
        map: Raw values, ``[T]``.
        joined: Which are written close to the one before.
        title: What was found.
        subtitle: How; lines are kept apart.
        signed: Whether values below 0 mean something: red for, blue against.
        faint: Which stand for no text.
    """

    words: Sequence[str]
    map: NDArray[Any]
    joined: Sequence[bool]
    title: str
    subtitle: str = ""
    signed: bool = False
    faint: Sequence[bool] = ()

    def each(self) -> Iterator[tuple[str, str, float, NDArray[np.uint8], bool]]:
        """Yield the gap before each word, the word, its value, its background, if it is faint."""
        inks = tints(self.map, signed=self.signed)
        rows = zip(self.words, drawable(self.map), inks, strict=True)
        for k, (word, value, ink) in enumerate(rows):
            gap = "" if self.joined[k] or not k else " "
            yield gap, plain(word), float(value), ink, bool(self.faint) and self.faint[k]

    @property
    def strongest(self) -> str:
        """The words of the largest values, with these."""
        values = drawable(self.map)
        order = np.argsort(-np.abs(values), kind="stable")[:_STRONGEST]
        named = (f"{plain(self.words[i])} {number(float(self.map[i]))}" for i in order if values[i])
        return ", ".join(named)


def html(text: Text) -> str:
    """Return a text in the colours of its map, a piece of HTML without scripts.

    A pointer over a word shows its value.
    """
    parts = []
    for gap, word, value, ink, faint in text.each():
        look = f"background:#{bytes(ink).hex()};color:{_letters(ink)}"
        look += ";opacity:.55" if faint else ""
        parts.append(
            f'{gap}<span style="{look};padding:.15em .1em;border-radius:.2em" '
            f'title="{number(value)}">{escape(word)}</span>'
        )
    lines = "".join(f"<div>{escape(line)}</div>" for line in map_lines(text.subtitle))
    return (
        f'<div style="font-family:sans-serif"><b>{escape(plain(text.title))}</b>'
        f'<div style="color:#666;font-size:.85em">{lines}</div>'
        f'<p style="line-height:2">{"".join(parts)}</p>'
        f'<div style="color:#666;font-size:.85em">strongest: {escape(text.strongest)}</div></div>'
    )


def page(title: str, body: str) -> str:
    """Return a piece of HTML as a page of its own."""
    return _PAGE.format(title=escape(plain(title)), body=body)


def terminal(text: Text, *, colour: bool = True) -> str:
    """Return a text in the colours of its map for a terminal of 24 bits a colour.

    Args:
        text: The text.
        colour: Whether to use colours; without them each word's value stands behind it.
    """
    parts = []
    for gap, word, value, ink, faint in text.each():
        if not colour:
            parts.append(f"{gap}{word}({number(value)})")
            continue
        light = "255;255;255" if _letters(ink) == "#fff" else "0;0;0"
        back = ";".join(str(int(part)) for part in ink)
        weak = _FAINT if faint else ""
        parts.append(f"{gap}\x1b[48;2;{back}m\x1b[38;2;{light}m{weak}{word}{_RESET}")
    bold, end = (_BOLD, _RESET) if colour else ("", "")
    lines = [f"{bold}{plain(text.title)}{end}", *map_lines(text.subtitle), "".join(parts)]
    return "\n".join([*lines, f"strongest: {text.strongest}"])


def map_lines(text: str) -> list[str]:
    """Return the lines of a text, each made harmless."""
    return [plain(line) for line in text.splitlines()]


def _letters(ink: NDArray[np.uint8]) -> str:
    luminance = float(np.dot(ink.astype(float), [0.299, 0.587, 0.114]))
    return "#fff" if luminance < _DARK else "#000"
