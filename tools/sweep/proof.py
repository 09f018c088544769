"""Whether methods beat maps that know nothing of the model: paired differences over pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from scipy import stats

from sweep.store import METRICS, PROVEN

Row: TypeAlias = "Mapping[str, list[float | None]]"  # of each picture the numbers, and the seconds
BASELINES = ("centre", "random", "edges")
SHOWN = {"centre": "bell", "random": "noise", "edges": "edges"}
# The mean of the pointing game and the energy; insertion without deletion.
KINDS = {
    "localisation": {"pointing-game": 0.5, "energy": 0.5},
    "faithfulness": {"insertion": 1.0, "deletion": -1.0},
}
TRANSFORMER = "digits-vit"
_LEAST = 6  # pictures of one model: the interval of fewer says nothing


def proof(kept: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of the section.

    Args:
        kept: What was measured, as the store has it.
    """
    titles = ("model", "n", *(f"{kind}: {SHOWN[b]}" for kind in KINDS for b in BASELINES))
    networks = [model for model in kept if model != TRANSFORMER]
    for name in PROVEN:
        alone = [m for m in kept if len(kept[m].get(name, {})) >= _LEAST]
        lines = [_line(name, m, {m: kept[m]}) for m in alone if m != TRANSFORMER]
        lines.append(_line(name, "*all photographs*", {m: kept[m] for m in networks}))
        lines += [_line(name, m, {m: kept[m]}) for m in alone if m == TRANSFORMER]
        yield from (f"### {name}\n", f"| {' | '.join(titles)} |", "|---" * len(titles) + "|")
        yield from (line for line in lines if line)
        yield ""


def _line(name: str, shown: str, kept: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [each for each in kept.values() if each.get(name) and "error" not in each[name]]
    if not rows:
        return ""
    cells = []
    for kind in KINDS:
        for rival in BASELINES:
            found = [gains(each[name], each.get(rival, {}), kind) for each in rows]
            pictures = sorted({picture for each in found for picture in each})
            means = [np.mean([f[p] for f in found if p in f]) for p in pictures]
            cells.append(_cell(np.array(means)))
    count = len({picture for each in rows for picture in each[name]})
    return f"| {shown} | {count} | {' | '.join(cells)} |"


def gains(row: Row, rival: Row, kind: str) -> dict[str, float]:
    """Return of each picture that both have how much better a method is than its rival.

    Args:
        row: The numbers of the method.
        rival: Those of the baseline.
        kind: ``localisation`` or ``faithfulness``.
    """
    found = {}
    for picture in row.keys() & rival.keys():
        pairs = [(w, row[picture][METRICS.index(m)], rival[picture][METRICS.index(m)])
                 for m, w in KINDS[kind].items()]  # fmt: skip
        if all(a is not None and b is not None for _, a, b in pairs):
            found[picture] = sum(w * (a - b) for w, a, b in pairs)  # type: ignore[operator]
    return found


def interval(values: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Return the mean, and half of its 95 % interval by Student's t (NaN for less than two)."""
    count = len(values)
    if count < 2:
        return float(np.mean(values)) if count else float("nan"), float("nan")
    error = np.std(values, ddof=1) / count**0.5
    return float(np.mean(values)), float(stats.t.ppf(0.975, count - 1) * error)


def verdict(mean: float, half: float) -> bool | None:
    """Tell whether a difference is above 0 (True), below it (False), or neither (None)."""
    if np.isnan(half) or abs(mean) <= half:
        return None
    return mean > 0


def _cell(values: np.ndarray[Any, Any]) -> str:
    mean, half = interval(values)
    if np.isnan(half):
        return "none"
    text, beats = f"{mean:+.2f} ± {half:.2f}", verdict(mean, half)
    return f"**{text}**" if beats else text if beats is None else f"{text} loses"
