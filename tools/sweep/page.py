"""docs/sweep.md: one table a model, what does not beat chance marked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BASELINES = ("centre", "random", "edges")
HIGHER = {"pointing-game": True, "energy": True, "deletion": False, "insertion": True}

_HEAD = """# Every method against photographs with boxes

Written by `tools/sweep.py`. Each method explains the class that the model sees, by few runs
(`FEW` in the tool): the table is to tell broken from sound, not to rank what is close.
**Localisation** (pointing game, energy) asks whether the map lies in the box that a person drew;
**faithfulness** (deletion, insertion) whether the model's probability follows the map. The two are
not mixed: a model that looks beside the object has faithful maps outside of its box. Beside them
stand maps that know nothing of the model: a bell in the middle of the picture, noise, edges.
`-` marks a number that is no better than that of noise; a method with three of these, or
one that noise beats in both kinds, is **bold**: it is broken, or not made for the model.

How to read it: deletion rewards what breaks the picture (fine, scattered maps; even edges do well),
so coarse maps lose there to noise while insertion and the box favour them. Methods on the input's
gradient (guided backpropagation, deconvnet, saliency) do not claim to find the object. `digits-vit`
is a small transformer that the tool trains for minutes to find a digit in clutter; it is asked only
about pictures whose digit it sees.
"""


def write(results: Path, place: Path, *, check: bool) -> int:
    """Write the page, or compare; returns the exit code."""
    kept = json.loads(results.read_text())
    text = "\n".join([_HEAD, *(line for model in kept for line in _model(model, kept[model]))])
    text = text.rstrip() + "\n"
    if not check:
        place.write_text(text)
        return 0
    return int(not place.exists() or place.read_text() != text)


def _model(model: str, found: dict[str, Any]) -> Iterator[str]:
    rows = found["methods"]
    noise = rows["random"]
    yield f"## {model}\n"
    yield "| method | pictures | pointing game | energy | deletion (lower) | insertion | seconds |"
    yield "|---|---|---|---|---|---|---|"
    sound = {name: row for name, row in rows.items() if "error" not in row}
    order = sorted(sound, key=lambda n: (n in BASELINES, n))
    for name in order:
        yield _row(name, sound[name], noise)
    refused = {name: row["error"] for name, row in sorted(rows.items()) if "error" in row}
    if refused:
        yield "\nNot for this model:\n"
        yield from (f"- `{name}`: {why}" for name, why in refused.items())
    yield ""


def _row(name: str, row: dict[str, Any], noise: dict[str, Any]) -> str:
    worse = [m for m in HIGHER if not _beats(m, row[m], noise[m])]
    cells = [f"{_number(row[m])}{' -' if m in worse and name not in BASELINES else ''}"
             for m in HIGHER]  # fmt: skip
    localised = {"pointing-game", "energy"} <= set(worse)
    faithful = {"deletion", "insertion"} <= set(worse)
    bad = name not in BASELINES and (len(worse) >= 3 or (localised and faithful))
    shown = f"*{name}*" if name in BASELINES else f"**`{name}`**" if bad else f"`{name}`"
    return f"| {shown} | {row['pictures']} | {' | '.join(cells)} | {row['seconds']:.2f} |"


def _beats(metric: str, value: float | None, other: float) -> bool:
    if value is None:
        return False
    return value > other if HIGHER[metric] else value < other


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
