"""docs/sweep.md: one table a model, what does not beat chance marked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from sweep.proof import BASELINES, SHOWN, TRANSFORMER, proof
from sweep.prose import ANSWERS, HEAD, OVERVIEW, PROOF, STANDS_OUT, TABLES
from sweep.store import METRICS, Store

HIGHER = {"pointing-game": True, "energy": True, "deletion": False, "insertion": True}
Row: TypeAlias = "dict[str, list[float | None]]"  # of each picture the numbers, and the seconds


def write(results: Path, place: Path, *, check: bool) -> int:
    """Write the page, or compare; returns the exit code."""
    held = Store(results).kept
    kept = {model: held[model] for model in sorted(held, key=lambda m: m == TRANSFORMER)}
    even = {model: evened(rows) for model, rows in kept.items()}
    parts = [HEAD, PROOF, *proof(kept), ANSWERS, OVERVIEW, *_overview(even), STANDS_OUT, TABLES]
    for model, rows in even.items():
        parts += [*_model(model, rows), *_refused(kept[model])]
    text = "\n".join(parts).rstrip() + "\n"
    if not check:
        place.write_text(text)
        return 0
    return int(not place.exists() or place.read_text() != text)


def evened(rows: Mapping[str, Any]) -> dict[str, Row]:
    """Return the rows that have numbers, each on the pictures that all of them have."""
    sound: dict[str, Row] = {n: row for n, row in rows.items() if row and "error" not in row}
    if not sound:
        return {}
    first = next(iter(sound.values()))
    both = [p for p in first if all(p in row for row in sound.values())]
    return {name: {p: row[p] for p in both} for name, row in sound.items()}


def _overview(even: Mapping[str, Mapping[str, Row]]) -> Iterator[str]:
    yield f"| method | {' | '.join(even)} | of all |"
    yield "|---" * (len(even) + 2) + "|"
    won = {model: {n: wins(n, rows) for n in rows if n not in BASELINES}
           for model, rows in even.items()}  # fmt: skip
    names = {name for each in won.values() for name in each}
    shares = {n: [sum(each[n].values()) / _most(each[n]) for each in won.values() if n in each]
              for n in names}  # fmt: skip
    for name in sorted(names, key=lambda n: (-np.mean(shares[n]), n)):
        cells = []
        for model, each in won.items():
            cell = str(sum(each[name].values())) if name in each else "-"
            bold = name in each and broken(name, even[model])
            cells.append(f"**{cell}**" if bold else cell)
        yield f"| {name} | {' | '.join(cells)} | {np.mean(shares[name]):.0%} |"
    yield ""


def _most(won: Mapping[str, int]) -> int:
    return len(won) * len(METRICS)


def wins(name: str, rows: Mapping[str, Row]) -> dict[str, int]:
    """Return of each baseline in how many of the four measures a method beats it."""
    held = [b for b in BASELINES if b in rows]
    return {b: sum(beats(rows[name], rows[b], m) for m in METRICS) for b in held}


def broken(name: str, rows: Mapping[str, Row]) -> bool:
    """Tell whether noise beats a method in three of the four measures, or in both kinds."""
    if name in BASELINES or "random" not in rows:
        return False
    worse = {m for m in METRICS if not beats(rows[name], rows["random"], m)}
    localised = {"pointing-game", "energy"} <= worse
    return len(worse) >= 3 or (localised and {"deletion", "insertion"} <= worse)


def _model(model: str, rows: Mapping[str, Row]) -> Iterator[str]:
    if not rows:
        return
    count = len(next(iter(rows.values())))
    yield f"### {model}, {count} {'picture' if count == 1 else 'pictures'}\n"
    titles = ("method", "pointing game", "energy", "deletion (lower)", "insertion",
              *(f"beats {SHOWN[b]}" for b in BASELINES), "seconds")  # fmt: skip
    yield f"| {' | '.join(titles)} |"
    yield "|---" * len(titles) + "|"
    order = {n: (n in BASELINES, -sum(wins(n, rows).values()), n) for n in rows}
    for name in sorted(rows, key=lambda n: order[n]):
        yield _row(name, rows)
    yield ""


def _refused(rows: Mapping[str, Any]) -> Iterator[str]:
    refused = {name: row["error"] for name, row in sorted(rows.items()) if "error" in row}
    if refused:
        yield "Not for this model:\n"
        yield from (f"- `{name}`: {why.partition(': ')[2] or why}" for name, why in refused.items())
        yield ""


def _row(name: str, rows: Mapping[str, Row]) -> str:
    row, own = rows[name], name in BASELINES
    cells = []
    for metric in METRICS:
        worse = not own and "random" in rows and not beats(row, rows["random"], metric)
        cells.append(f"{_number(row, metric)}{' -' if worse else ''}")
    shown = f"*{SHOWN.get(name, name)}*" if own else name  # as code it would break within words
    shown = f"**{shown}**" if broken(name, rows) else shown
    won = wins(name, rows)
    better = [f"{won[b]}" if b in won and not own else "" for b in BASELINES]
    seconds = np.mean([numbers[-1] for numbers in row.values()])
    return f"| {shown} | {' | '.join(cells)} | {' | '.join(better)} | {seconds:.2f} |"


def _values(row: Row, metric: str) -> dict[str, float]:
    found = {picture: numbers[METRICS.index(metric)] for picture, numbers in row.items()}
    return {picture: value for picture, value in found.items() if value is not None}


def beats(row: Row, rival: Row, metric: str) -> bool:
    """Tell whether the mean over the pictures that both have is better than a rival's."""
    own, other = _values(row, metric), _values(rival, metric)
    both = [picture for picture in own if picture in other]
    gain = sum(own[picture] - other[picture] for picture in both)
    return gain > 0 if HIGHER[metric] else gain < 0


def _number(row: Row, metric: str) -> str:
    values = [*_values(row, metric).values()]
    if not values:
        return "none"
    mean, count = np.mean(values), len(values)
    if count < 2:
        return f"{mean:.3f}"
    return f"{mean:.3f} ± {np.std(values, ddof=1) / count**0.5:.2f}"
