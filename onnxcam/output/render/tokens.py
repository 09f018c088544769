"""Texts in the colours of a map: as HTML, and for terminals."""

from __future__ import annotations

from collections.abc import Sequence
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


def html(
    words: Sequence[str],
    map: NDArray[Any],
    joined: Sequence[bool],
    *,
    title: str,
    subtitle: str = "",
    signed: bool = False,
    faint: Sequence[bool] = (),
) -> str:
    """Return a text in the colours of its map, a piece of HTML without scripts.

    Args:
        words: The tokens or words.
        map: Raw values, ``[T]``; each is what a pointer over its word shows.
        joined: Which are written close to the one before.
        title: What was found.
        subtitle: How; lines are kept apart.
        signed: Whether values below 0 mean something: red for, blue against.
        faint: Which stand for no text.
    """
    parts = []
    for k, (word, value, ink) in enumerate(
        zip(words, drawable(map), tints(map, signed=signed), strict=True)
    ):
        look = f"background:#{bytes(ink).hex()};color:{_letters(ink)}"
        look += ";opacity:.55" if faint and faint[k] else ""
        gap = "" if joined[k] or not k else " "
        said = f"{escape(plain(word))}"
        parts.append(
            f'{gap}<span style="{look};padding:.15em .1em;border-radius:.2em" '
            f'title="{number(float(value))}">{said}</span>'
        )
    lines = "".join(f"<div>{escape(plain(line))}</div>" for line in subtitle.splitlines())
    strongest = ", ".join(
        f"{escape(plain(words[i]))} {number(float(map[i]))}" for i in _strongest(map)
    )
    return (
        f'<div style="font-family:sans-serif"><b>{escape(plain(title))}</b>'
        f'<div style="color:#666;font-size:.85em">{lines}</div>'
        f'<p style="line-height:2">{"".join(parts)}</p>'
        f'<div style="color:#666;font-size:.85em">strongest: {strongest}</div></div>'
    )


def page(title: str, body: str) -> str:
    """Return a piece of HTML as a page of its own."""
    return _PAGE.format(title=escape(plain(title)), body=body)


def terminal(
    words: Sequence[str],
    map: NDArray[Any],
    joined: Sequence[bool],
    *,
    title: str,
    subtitle: str = "",
    signed: bool = False,
    faint: Sequence[bool] = (),
    colour: bool = True,
) -> str:
    """Return a text in the colours of its map for a terminal of 24 bits a colour.

    Args:
        words: As in :func:`html`, and so the others.
        map: Raw values, ``[T]``.
        joined: Which are written close to the one before.
        title: What was found.
        subtitle: How.
        signed: Whether values below 0 mean something.
        faint: Which stand for no text.
        colour: Whether to use colours; without them each word's value stands behind it.
    """
    parts = []
    for k, (word, value, ink) in enumerate(
        zip(words, drawable(map), tints(map, signed=signed), strict=True)
    ):
        gap, said = ("" if joined[k] or not k else " "), plain(word)
        if not colour:
            parts.append(f"{gap}{said}({number(float(value))})")
            continue
        light = "255;255;255" if _letters(ink) == "#fff" else "0;0;0"
        back = ";".join(str(int(part)) for part in ink)
        weak = _FAINT if faint and faint[k] else ""
        parts.append(f"{gap}\x1b[48;2;{back}m\x1b[38;2;{light}m{weak}{said}{_RESET}")
    bold, end = (_BOLD, _RESET) if colour else ("", "")
    strongest = ", ".join(f"{plain(words[i])} {number(float(map[i]))}" for i in _strongest(map))
    lines = [f"{bold}{plain(title)}{end}", *map_lines(subtitle), "".join(parts)]
    return "\n".join([*lines, f"strongest: {strongest}"])


def map_lines(text: str) -> list[str]:
    """Return the lines of a text, each made harmless."""
    return [plain(line) for line in text.splitlines()]


def _strongest(map: NDArray[Any]) -> list[int]:
    values = drawable(map)
    return [int(i) for i in np.argsort(-np.abs(values), kind="stable")[:_STRONGEST] if values[i]]


def _letters(ink: NDArray[np.uint8]) -> str:
    luminance = float(np.dot(ink.astype(float), [0.299, 0.587, 0.114]))
    return "#fff" if luminance < _DARK else "#000"
