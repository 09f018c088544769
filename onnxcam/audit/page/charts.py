"""The charts of the report: matplotlib draws them without a display, `svg.py` gives them form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxcam.audit.page.svg import ACCENT, FAIL, INK, LINE, SHADE, VERDICT, Canvas

_TOP = 60.0  # dB above which two tensors are the same for every purpose


def bar(finding: Mapping[str, Any]) -> str:
    """Return an interval beside its limit: a line with a dot, and what is allowed shaded.

    Args:
        finding: "value", "low", "high", and of a limit "least", "most" and "result".
    """
    if finding["value"] is None:
        return ""
    least, most = finding.get("least"), finding.get("most")
    known = [e for e in (*(finding[k] for k in ("value", "low", "high")), least, most)
             if e is not None]  # fmt: skip
    left, right = min(0.0, *known), max(*known, top(known))
    margin = 0.03 * ((right - left) or 1)
    canvas = Canvas(1.7, 0.22)
    axes = canvas.bare()
    axes.set(xlim=(left - margin, right + margin), ylim=(-1, 1))
    if least is not None or most is not None:
        ends = (left if least is None else least, right if most is None else most)
        axes.axvspan(ends[0], max(ends[1], ends[0] + margin / 3), color=SHADE, lw=0)
    axes.plot([finding["low"], finding["high"]], [0, 0], color=VERDICT, lw=1.6)
    axes.plot([finding["value"]], [0], "o", color=VERDICT, ms=6)
    said = f"{finding['value']:.3f}, interval {finding['low']:.3f} to {finding['high']:.3f}"
    return canvas.markup(said, f"bar {finding.get('result', '').replace(' ', '-')}")


def top(known: Sequence[float]) -> float:
    """Return where a scale ends: at 1 for shares that come near it."""
    most = max(known)
    return 1.0 if 0.5 <= most <= 1 else most * 1.1


def histogram(values: Sequence[float | None], low: float, high: float, title: str) -> str:
    """Return a histogram of twenty bins; what lies outside goes into the outer ones."""
    known = np.clip(np.asarray([v for v in values if v is not None], np.float64), low, high)
    if not known.size:
        return ""
    canvas = Canvas(4.4, 1.9)
    axes = canvas.framed("samples")
    axes.hist(known, bins=20, range=(low, high), color=ACCENT, rwidth=0.9)
    middle = float(np.median(known))
    axes.axvline(middle, color=INK, lw=1, ls="--")
    axes.set_xlim(low, high)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_title(f"median {middle:.2f}", loc="right", fontsize=8, color=INK)
    return canvas.markup(f"{title}: histogram of {known.size}, median {middle:.3f}", "chart")


def ladder(steps: Sequence[Mapping[str, Any]], first: int | None) -> str:
    """Return the signal to noise ratio along the tensors, the place of the loss marked."""
    if not steps:
        return ""
    values = [min(float(s["sqnr"]), _TOP) for s in steps]
    canvas = Canvas(8.2, 2.2)
    axes = canvas.framed("dB")
    axes.plot(range(1, len(values) + 1), values, color=ACCENT, lw=1.5)
    axes.set(xlim=(0.5, len(values) + 0.5), ylim=(min([0.0, *values]) - 2, _TOP + 3))
    axes.set_xlabel("matched tensor, from input to output", fontsize=8, color=INK)
    axes.grid(axis="y", color=LINE, lw=0.6)
    said = f"signal to noise ratio of {len(values)} tensors: {min(values):.0f} dB at least"
    if first is not None:
        axes.axvline(first + 1, color=FAIL, lw=1)
        axes.plot([first + 1], [values[first]], "o", color=FAIL, ms=7)
        said += f"; the first loss is at tensor {first + 1}"
    return canvas.markup(said, "chart wide")
