"""The page of what came of all cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kinds.cells import REFUSED, RIGHT, ROUNDING
from kinds.store import Results, Row, counted, ran

HEAD = """# What is asked of a model: kinds, targets and methods

Written by `tools/kinds.py`, which builds a small network of every kind with random weights,
explains it by every method at every target, and judges every cell; a test holds it. A cell is
*right* where score and map equal those of torch's own network:

{held}

In {near} of these cells{whose} the last digit decides: the map is farther off than the others may
be, by no more than twice what torch's own map moves where values are rounded otherwise, and by at
most 0.3 of its largest value.

A cell that is not right is *refused*, with the reason and the next step, which stand
[below](#reasons) by their numbers. {kinds} kinds, {targets} targets, {methods} methods:
**{total} cells, {right} right, {refused} refused**.
"""

# What maps are held against, in words.
HELD = {
    "torch's gradients": "the method's formula over torch's values and gradients",
    "torch with the method's rules for gradients": "torch's functions with the method's rules in "
    "the place of their gradients (guided backpropagation, relevance, DeepLIFT)",
    "the method run on torch": "the method's own function with torch to answer it, for what runs "
    "a network many times (the function itself is held by tests of its own)",
    "a twin of one score": "the map of a twin of the file whose only output is what the target "
    "means, written in torch",
}


def page(results: Results, what: Mapping[str, str]) -> str:
    """Return the page.

    Args:
        results: What came of the cells.
        what: What each kind is made of.
    """
    reasons: dict[str, int] = {}
    parts = [_head(results), _overview(results)]
    for kind, targets in results.items():
        rows = ["| target | right | refused |", "|---|---|---|"]
        rows += [_line(names, row, reasons) for names, row in _alike(targets)]
        said = f"{what[kind][:1].upper()}{what[kind][1:]}."
        parts.append(f"## {kind}\n\n{said}\n\n" + "\n".join(rows) + "\n")
    listed = "".join(f"{number}. {why}\n" for why, number in reasons.items())
    return "\n".join([*parts, f"## Reasons\n\n{listed}"])


def _head(results: Results) -> str:
    counts, by = counted(results), dict.fromkeys(HELD, 0)
    first, near = next(iter(results.values())), dict.fromkeys(results, 0)
    for kind, row in ((k, row) for k, targets in results.items() for row in targets.values()):
        for (verdict, why), names in row.items():
            if verdict == RIGHT:
                what = why.removesuffix(f", {ROUNDING}")
                by[what] = by.get(what, 0) + len(names)
                near[kind] += len(names) * (what != why)
    whose = ", ".join(f"{kind} {count}" for kind, count in near.items() if count)
    held = [f"- {HELD.get(why, why)}: {count} cells;" for why, count in by.items() if count]
    return HEAD.format(
        near=sum(near.values()), whose=f" ({whose})" if whose else "",
        held="\n".join(held).removesuffix(";") + ".", kinds=len(results), targets=len(first),
        methods=len(ran(next(iter(first.values())))), total=sum(counts.values()),
        right=counts.get(RIGHT, 0), refused=counts.get(REFUSED, 0),
    )  # fmt: skip


def _overview(results: Results) -> str:
    """Return one line a kind: how many methods answer each target."""
    targets = list(next(iter(results.values())))
    rows = [
        "Methods that answer; \u2013 where none does.\n",
        f"| kind | {' | '.join(targets)} |",
        f"|---|{'---|' * len(targets)}",
    ]
    for kind, found in results.items():
        marks = [str(_right(found.get(target, {})) or "\u2013") for target in targets]
        rows.append(f"| {kind} | {' | '.join(marks)} |")
    return "\n".join(rows) + "\n"


def _right(row: Row) -> int:
    return sum(len(names) for (verdict, _), names in row.items() if verdict == RIGHT)


def _alike(targets: Mapping[str, Row]) -> list[tuple[list[str], Row]]:
    """Return the rows of a kind, those of which the same is refused for the same reason once."""
    found: dict[str, tuple[list[str], Row]] = {}
    for target, row in targets.items():
        refused = sorted((a, sorted(n)) for a, n in row.items() if a[0] != RIGHT)
        found.setdefault(str(refused), ([], row))[0].append(target)
    return list(found.values())


def _line(targets: Sequence[str], row: Row, reasons: dict[str, int]) -> str:
    total = ran(row)
    refused = [
        f"{_who(names, total)} [{reasons.setdefault(why, len(reasons) + 1)}]"
        for (verdict, why), names in row.items()
        if verdict == REFUSED
    ]
    return f"| {', '.join(targets)} | {_right(row)} of {len(total)} | {'; '.join(refused)} |"


def _who(names: Sequence[str], total: Sequence[str]) -> str:
    left = sorted(set(total) - set(names))
    if not left:
        return "all"
    return f"all but {', '.join(left)}" if len(left) < len(names) / 2 else ", ".join(sorted(names))
