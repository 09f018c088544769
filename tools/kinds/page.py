"""What came of all cells: kept as JSON, shown as a page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from kinds.cells import REFUSED, RIGHT, Cell

# Kind -> target -> verdict -> why -> methods.
Results: TypeAlias = dict[str, dict[str, dict[str, dict[str, list[str]]]]]

HEAD = """# What is asked of a model: kinds, targets and methods

Written by `tools/kinds.py`, which builds a small network of every kind with random weights,
explains it, and judges every cell; a test holds it. A cell is *right* where the map equals the
method's formula over torch's own gradients of the same network, or, for methods of other
formulas, the map of a twin of the network whose only output is what the target means, written in
torch. Anything else is *refused*, with the reason and the next step. Every method is run at the
targets {core}; the methods {full} at all of them.

{total} cells: {right} right, {refused} refused.
"""


def gathered(cells: Iterable[Cell]) -> Results:
    """Return cells by kind, target, verdict and reason."""
    found: Results = {}
    for cell in cells:
        target = found.setdefault(cell.kind, {}).setdefault(cell.target, {})
        target.setdefault(cell.verdict, {}).setdefault(_plain(cell.why), []).append(cell.method)
    return found


def _plain(why: str) -> str:
    """Return a reason without the names of a network's own nodes, which say nothing here."""
    return re.sub(r"'/?inner[^']*'", "'...'", why)


def counted(results: Results) -> dict[str, int]:
    """Return how many cells there are of each verdict."""
    found: dict[str, int] = {}
    for targets in results.values():
        for verdicts in targets.values():
            for verdict, reasons in verdicts.items():
                found[verdict] = found.get(verdict, 0) + sum(map(len, reasons.values()))
    return found


def page(
    results: Results, what: Mapping[str, str], core: Sequence[str], full: Sequence[str]
) -> str:
    """Return the page.

    Args:
        results: What came of the cells.
        what: What each kind is made of.
        core: The targets of every method.
        full: The methods at every target.
    """
    counts = counted(results)
    head = HEAD.format(
        core=", ".join(core), full=", ".join(full), total=sum(counts.values()),
        right=counts.get(RIGHT, 0), refused=counts.get(REFUSED, 0),
    )  # fmt: skip
    parts = [head, _overview(results)]
    for kind, targets in results.items():
        rows = ["| target | right | refused |", "|---|---|---|"]
        rows += [_row(target, verdicts) for target, verdicts in targets.items()]
        parts.append(
            f"## {kind}\n\n{what[kind][:1].upper()}{what[kind][1:]}.\n\n" + "\n".join(rows) + "\n"
        )
    return "\n".join(parts)


def _overview(results: Results) -> str:
    """Return one line a kind: which targets Grad-CAM answers."""
    targets = list(next(iter(results.values())))
    rows = [
        "Grad-CAM, or saliency where there is no map of a layer: \u25cf right, \u2013 refused.\n",
        f"| kind | {' | '.join(targets)} |",
        f"|---|{'---|' * len(targets)}",
    ]
    for kind, found in results.items():
        marks = [_mark(found[target]) for target in targets]
        rows.append(f"| {kind} | {' | '.join(marks)} |")
    return "\n".join(rows) + "\n"


def _mark(verdicts: Mapping[str, Mapping[str, Sequence[str]]]) -> str:
    right = {name for names in verdicts.get(RIGHT, {}).values() for name in names}
    return "\u25cf" if right & {"gradcam", "saliency", "rise"} else "\u2013"


def _row(target: str, verdicts: Mapping[str, Mapping[str, Sequence[str]]]) -> str:
    right = sum(map(len, verdicts.get(RIGHT, {}).values()))
    total = sum(len(names) for reasons in verdicts.values() for names in reasons.values())
    refused = [_reason(why, names, total) for why, names in verdicts.get(REFUSED, {}).items()]
    return f"| {target} | {right} of {total} | {'<br>'.join(refused)} |"


def _reason(why: str, names: Sequence[str], total: int) -> str:
    who = "all" if len(names) == total else ", ".join(names)
    return f"{who}: {why.replace('|', '/')}"


def wrong(results: Results) -> list[str]:
    """Return the cells that are neither right nor refused, in words."""
    return [
        f"{kind}, {target}, {name}: {verdict}, {why}"
        for kind, targets in results.items()
        for target, verdicts in targets.items()
        for verdict, reasons in verdicts.items()
        for why, names in reasons.items()
        for name in names
        if verdict not in (RIGHT, REFUSED)
    ]


def merged(old: Results, new: Results, only: Sequence[str] = ()) -> Results:
    """Return old results with the kinds that were run anew, or with some of their methods."""
    found: dict[str, Any] = {**old, **new}
    for kind in [k for k in new if only and k in old]:
        found[kind] = {
            target: _joined(_without(verdicts, only), new[kind].get(target, {}))
            for target, verdicts in old[kind].items()
        }
    return found


def _without(verdicts: Mapping[str, Any], methods: Sequence[str]) -> dict[str, Any]:
    """Return the cells of a target without those of some methods."""
    kept: dict[str, Any] = {}
    for verdict, reasons in verdicts.items():
        for why, names in reasons.items():
            left = [name for name in names if name not in methods]
            if left:
                kept.setdefault(verdict, {})[why] = left
    return kept


def _joined(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cells of both."""
    found = {verdict: dict(reasons) for verdict, reasons in one.items()}
    for verdict, reasons in other.items():
        for why, names in reasons.items():
            place = found.setdefault(verdict, {})
            place[why] = sorted([*place.get(why, []), *names])
    return found
