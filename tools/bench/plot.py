"""The plot of what each tool costs, as SVG: a dot a network on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

Interval = tuple[float, float, float]
"""Lower end, median, upper end."""

_COLOURS = ("#c2410c", "#1d4ed8", "#047857", "#7e22ce")
_LEFT, _WIDTH, _RIGHT = 290, 400, 120
_TOP, _ROW, _BOTTOM = 58, 30, 46
_INK, _GRID = "#1f2937", "#e5e7eb"


@dataclass(frozen=True)
class _Axis:
    """A logarithmic axis from a little below 1, so that a dot there shows, to a power of 10."""

    most: float

    @property
    def decades(self) -> int:
        """How many powers of ten it has."""
        return max(1, math.ceil(math.log10(self.most)))

    def x(self, value: float) -> float:
        """Return where a value lies, in pixels."""
        low = -0.06 * self.decades
        share = (math.log10(value) - low) / (self.decades - low)
        return _LEFT + _WIDTH * min(1.0, max(0.0, share))

    def ticks(self) -> list[int]:
        """Return the labelled values: 1, 2, 5, 10, 20 ... or only the powers of a long axis."""
        steps = (1, 2, 5) if self.decades <= 2 else (1,)
        found = [s * 10**d for d in range(self.decades) for s in steps]
        return [*found, 10**self.decades]


def dots(title: str, rows: Mapping[str, Mapping[str, Interval]], unit: str) -> str:
    """Return the plot as SVG.

    Args:
        title: Its title.
        rows: For each label what was measured for each series (network).
        unit: What the axis says.
    """
    series = list(dict.fromkeys(name for row in rows.values() for name in row))
    axis = _Axis(max(high for row in rows.values() for _, _, high in row.values()))
    height = _TOP + _ROW * len(rows) + _BOTTOM
    width = _LEFT + _WIDTH + _RIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13" fill="{_INK}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(12, 22, title, 'font-weight="bold" font-size="15"'),
        *_legend(series),
        *_grid(axis, height, unit),
    ]
    for i, (label, row) in enumerate(rows.items()):
        parts += _row(_TOP + _ROW * (i + 0.5), label, row, series, axis)
    return "\n".join([*parts, "</svg>", ""])


def _legend(series: Sequence[str]) -> list[str]:
    parts, x = [], float(_LEFT)
    for name, colour in zip(series, _COLOURS, strict=False):
        parts += [_dot(x + 5, 42, colour), _text(x + 16, 46, name)]
        x += 40 + 8 * len(name)
    return parts


def _grid(axis: _Axis, height: int, unit: str) -> list[str]:
    bottom, parts = height - _BOTTOM, []
    for tick in axis.ticks():
        x = axis.x(tick)
        stroke = _INK if tick == 1 else _GRID
        parts.append(_line(x, _TOP, x, bottom, stroke, 1))
        parts.append(_text(x, bottom + 16, str(tick), 'text-anchor="middle" font-size="12"'))
    middle = _LEFT + _WIDTH / 2
    return [*parts, _text(middle, bottom + 36, unit, 'text-anchor="middle" font-size="12"')]


def _row(
    y: float, label: str, row: Mapping[str, Interval], series: Sequence[str], axis: _Axis
) -> list[str]:
    weight = 'font-weight="bold"' if label.startswith("onnxcam") else ""
    parts = [_text(_LEFT - 14, y + 4, label, f'text-anchor="end" {weight}')]
    for name, (low, median, high) in row.items():
        place = series.index(name)
        shifted = y + 7 * (place - (len(series) - 1) / 2)
        colour = _COLOURS[place % len(_COLOURS)]
        parts.append(_line(axis.x(low), shifted, axis.x(high), shifted, colour, 2))
        parts.append(_dot(axis.x(median), shifted, colour))
    said = " / ".join(number(row[name][1]) if name in row else "–" for name in series)  # noqa: RUF001
    return [*parts, _text(_LEFT + _WIDTH + 12, y + 4, said)]


def number(value: float) -> str:
    """Return a ratio as it is printed: with three digits, or all of those before the point."""
    whole = len(str(int(float(f"{value:.3g}"))))
    return f"{value:.{max(0, 3 - whole)}f}"


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {more.strip()}>{escape(text)}</text>'


def _dot(x: float, y: float, colour: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: int) -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width}"/>'
