"""What came of all cells, as it is kept: reasons once, and who has which."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from kinds.cells import REFUSED, RIGHT, Cell

# Kind -> target -> (verdict, why) -> methods.
Answer: TypeAlias = tuple[str, str]
Row: TypeAlias = dict[Answer, list[str]]
Results: TypeAlias = dict[str, dict[str, Row]]


def gathered(cells: Iterable[Cell]) -> Results:
    """Return cells by kind, target, verdict and reason."""
    found: Results = {}
    for cell in cells:
        row = found.setdefault(cell.kind, {}).setdefault(cell.target, {})
        row.setdefault((cell.verdict, plain(cell.why)), []).append(cell.method)
    return found


def plain(why: str) -> str:
    """Return a reason without the names and numbers of a network's own, which say nothing here."""
    return re.sub(r"(?<![=\w])'/?[\w./ ]+'", "'...'", why)


def ran(row: Row) -> list[str]:
    """Return the methods of a row."""
    return [name for names in row.values() for name in names]


def merged(old: Results, new: Results) -> Results:
    """Return old results with the cells of new ones in their places."""
    found = {kind: dict(targets) for kind, targets in old.items()}
    for kind, targets in new.items():
        for target, row in targets.items():
            kept = _without(found.get(kind, {}).get(target, {}), ran(row))
            for answer, names in row.items():
                kept[answer] = sorted([*kept.get(answer, []), *names])
            found.setdefault(kind, {})[target] = kept
    return found


def ordered(
    results: Results, kinds: Sequence[str], targets: Sequence[str], methods: Collection[str]
) -> Results:
    """Return results in an order, without what is no kind, target or method any more."""
    return {
        kind: {
            target: {
                answer: kept
                for answer, names in sorted(results[kind][target].items())
                if (kept := [n for n in names if n in methods])
            }
            for target in targets
            if target in results[kind]
        }
        for kind in kinds
        if kind in results
    }


def _without(row: Row, names: Collection[str]) -> Row:
    """Return the cells of a target without those of some methods."""
    left = {answer: [n for n in own if n not in names] for answer, own in row.items()}
    return {answer: own for answer, own in left.items() if own}


def missing(
    results: Results, kind: str, targets: Sequence[str], methods: Sequence[str]
) -> dict[str, list[str]]:
    """Return the methods that have not been run, by target."""
    there = {target: set(ran(results.get(kind, {}).get(target, {}))) for target in targets}
    left = {target: [m for m in methods if m not in there[target]] for target in targets}
    return {target: names for target, names in left.items() if names}


def counted(results: Results) -> dict[str, int]:
    """Return how many cells there are of each verdict."""
    found: dict[str, int] = {}
    for targets in results.values():
        for row in targets.values():
            for (verdict, _), names in row.items():
                found[verdict] = found.get(verdict, 0) + len(names)
    return found


def wrong(results: Results) -> list[str]:
    """Return the cells that are neither right nor refused, in words."""
    return [
        f"{kind}, {target}, {name}: {verdict}, {why}"
        for kind, targets in results.items()
        for target, row in targets.items()
        for (verdict, why), names in row.items()
        for name in names
        if verdict not in (RIGHT, REFUSED)
    ]


def read(path: Path) -> Results:
    """Return results as they are kept; none where there is no file."""
    if not path.is_file():
        return {}
    kept = json.loads(path.read_text())
    answers: list[Answer] = [(verdict, why) for verdict, why in kept["answers"]]
    return {
        kind: {
            target: {answers[int(number)]: names.split() for number, names in row.items()}
            for target, row in targets.items()
        }
        for kind, targets in kept["cells"].items()
    }


def write(path: Path, results: Results) -> None:
    """Keep results: every answer once, the methods that have it by its number."""
    numbers: dict[Answer, int] = {}
    cells: dict[str, dict[str, Mapping[str, str]]] = {}
    for kind, targets in results.items():
        for target, row in targets.items():
            cells.setdefault(kind, {})[target] = {
                str(numbers.setdefault(answer, len(numbers))): " ".join(names)
                for answer, names in row.items()
            }
    kept = {"answers": list(numbers), "cells": cells}
    path.write_text(json.dumps(kept, indent=0, ensure_ascii=False) + "\n")
