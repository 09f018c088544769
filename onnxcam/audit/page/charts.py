"""The charts of the report: SVG that is part of the page and takes its colours from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

NONE = "\N{EN DASH}"  # stands for what is not known


def number(value: Any, digits: int = 3) -> str:
    """Return a number as the report writes it."""
    if value is None:
        return NONE
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def percent(value: Any) -> str:
    """Return a share in percent."""
    return NONE if value is None else f"{100 * value:.1f} %"


def short(text: Any, most: int = 60) -> str:
    """Return a text with its middle left out, where it is long."""
    said = str(text)
    return said if len(said) <= most else f"{said[: most // 2 - 1]}…{said[-most // 2 + 1 :]}"


def bar(finding: Mapping[str, Any]) -> str:
    """Return an interval beside its limit: a line with a dot, and what is allowed shaded."""
    ends = [finding[k] for k in ("low", "high", "least", "most", "value")]
    known = [e for e in ends if e is not None]
    if finding["value"] is None:
        return ""
    low, high = min([0.0, *known]), max([*known, low_top(known)])
    span = (high - low) or 1

    def x(value: float) -> float:
        return float(4 + 152 * (value - low) / span)

    left = x(low if finding["least"] is None else finding["least"])
    right = x(high if finding["most"] is None else finding["most"])
    middle = x(finding["value"])
    return (
        f'<svg class="bar {finding["result"].replace(" ", "-")}" viewBox="0 0 160 20" width="160" '
        f'height="20" role="img" aria-label="{number(float(finding["value"]))}">'
        f'<rect class="allowed" x="{left:.1f}" y="3" width="{max(right - left, 1):.1f}" '
        f'height="14"/><line x1="{x(finding["low"]):.1f}" x2="{x(finding["high"]):.1f}" '
        f'y1="10" y2="10"/><circle cx="{middle:.1f}" cy="10" r="4"/></svg>'
    )


def low_top(known: Sequence[float]) -> float:
    """Return where a scale ends: at 1 for shares that come near it."""
    most = max(known)
    return 1.0 if 0.5 <= most <= 1 else most * 1.1


def histogram(values: Sequence[float | None], low: float, high: float, title: str) -> str:
    """Return a histogram of twenty bins; what lies outside goes into the outer ones."""
    known = np.clip([v for v in values if v is not None], low, high)
    counts = np.histogram(known, 20, (low, high))[0]
    most = max(int(counts.max(initial=0)), 1)
    bars = "".join(
        f'<rect x="{24 + 20 * k}" y="{110 - 100 * c / most:.1f}" width="18" '
        f'height="{100 * c / most:.1f}"><title>{_range(low, high, k)}: {c}</title></rect>'
        for k, c in enumerate(counts.tolist())
    )
    return (
        f'<svg class="chart" viewBox="0 0 440 132" role="img" aria-label="{title}">{bars}'
        f'<line class="axis" x1="22" x2="424" y1="110.5" y2="110.5"/>'
        f'<text x="24" y="126">{low:g}</text>'
        f'<text x="424" y="126" text-anchor="end">{high:g}</text>'
        f'<text x="20" y="18" text-anchor="end">{most}</text></svg>'
    )


def _range(low: float, high: float, k: int) -> str:
    step = (high - low) / 20
    return f"{low + k * step:.2f} to {low + (k + 1) * step:.2f}"


def ladder(steps: Sequence[Mapping[str, Any]], first: int | None) -> str:
    """Return the signal to noise ratio along the tensors, the place of the loss marked."""
    if not steps:
        return ""
    values = [min(float(s["sqnr"]), 60.0) for s in steps]
    low = min([0.0, *values])
    points = [
        (30 + 590 * k / max(len(values) - 1, 1), 130 - 120 * (v - low) / (60 - low))
        for k, v in enumerate(values)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    marked = "" if first is None else _mark(*points[first])
    ticks = "".join(
        f'<line class="grid" x1="30" x2="620" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="26" y="{y + 4:.1f}" text-anchor="end">{v}</text>'
        for v in range(0, 61, 20)
        for y in [130 - 120 * (v - low) / (60 - low)]
    )
    return (
        f'<svg class="chart wide" viewBox="0 0 640 150" role="img" aria-label="signal to noise '
        f'ratio, tensor by tensor">{ticks}<polyline points="{line}"/>{marked}</svg>'
    )


def _mark(x: float, y: float) -> str:
    return (
        f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="134"/>'
        f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
    )
