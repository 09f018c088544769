"""Several parts in one tensor: one behind the other, or position by position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnxcam.analysis.geometry.runs import Run, merged
from onnxcam.analysis.geometry.site import Runs, Site, rule
from onnxcam.analysis.layout.rules import rolled
from onnxcam.graph.emit import shape_of


@rule("Concat")
def _joined(site: Site) -> dict[str, Run]:
    node = site.node
    axis = int(node.attrs.get("axis", 0)) % max(len(site.letters), 1)
    letter = site.letters[axis] if axis < len(site.letters) else ""
    parts = [None if runs is None else runs.get(letter) for runs in site.parts]
    if not letter or not any(parts):
        return {}
    if rolled(node) is not None:
        turned = next(run for run in parts if run is not None)
        return {letter: turned.unsure(f"{site.name} rolls the picture round")}
    places = [i for i, run in enumerate(parts) if run is not None]
    sizes = [(shape_of(t) or (None,) * (axis + 1))[axis] for t in node.inputs]
    inside = range(places[0], places[-1] + 1)
    whole = _in_a_row([parts[i] for i in inside])
    beside = [sizes[: places[0]], sizes[places[-1] + 1 :]]
    if whole is None or any(not isinstance(d, int) for side in beside for d in side):
        first = next(run for run in parts if run is not None)
        return {letter: first.unsure(f"{site.name} joins parts of the picture")}
    return {letter: whole.put(*(_total(side) for side in beside))}


def _in_a_row(runs: Sequence[Run | None]) -> Run | None:
    """Return the run that several make, one behind the other; None where they do not follow."""
    found: Run | None = None
    for run in runs:
        if run is None or run.doubt or any(run.beside):
            return run if len(runs) == 1 else None
        if found is None:
            found = run
            continue
        near = abs(run.first - found.last) < 0.01 and abs(run.cell - found.cell) < 0.01
        if not near:
            return None
        begin, end = min(run.begin, found.begin), max(run.end, found.end)
        found = Run(found.first, run.last, begin, end, found.count + run.count, True)
    return found


def _total(sizes: Sequence[object]) -> float:
    return float(sum(d for d in sizes if isinstance(d, int)))


def shared(name: str, states: Sequence[Runs], counts: Mapping[str, float]) -> dict[str, Run]:
    """Return the cells of a tensor that is made of several, position by position."""
    found: dict[str, Run] = {}
    for letter in dict.fromkeys(c for runs in states for c in runs):
        runs = [r[letter] for r in states if letter in r]
        runs = [r for r in runs if r.count] or runs  # a part of nothing lies nowhere
        wide = [r for r in runs if r.count != 1 or counts.get(letter) == 1] or runs
        found[letter] = merged(wide, f"{name} joins what lies in different places")
    return found
