"""The walk from the input through the graph that follows where cells lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnxcam.analysis.geometry.computed import Computed
from onnxcam.analysis.geometry.joins import shared
from onnxcam.analysis.geometry.records import WHOLE, Area, Place, Reach
from onnxcam.analysis.geometry.rules import may_move, rule_of
from onnxcam.analysis.geometry.runs import UNKNOWN, Run
from onnxcam.analysis.geometry.site import RULES, Runs, Site
from onnxcam.analysis.layout import SPACE, Layout
from onnxcam.graph import ir
from onnxcam.graph.emit import Dim, Tensor, shape_of
from onnxcam.graph.ops import Trait, data_inputs, has

_SIZES = (1 << 14, 1 << 15)  # what stands for an extent that is not known
_STRANGE = Area(doubt="which axis of the input is which could not be read")
_NEAR = 0.5  # samples; and cells, where only convolutions moved them


def areas(
    nodes: Sequence[ir.Node], source: Tensor, known: Mapping[int, Layout], names: set[str]
) -> dict[str, Area]:
    """Return where the cells of layers lie that are not even shares of the whole input.

    Convolutions and pools that keep the size (divided by their stride) keep the grid, as all
    frameworks and tools have it; one without padding moves it. Cells are at the centres of their
    receptive fields where these begin more than half a cell away from even shares (or end one and a
    half away: a window that is not full is none); crops, pads and flips count whatever they are.

    Args:
        nodes: The path from the input to the score, producers first.
        source: The input.
        known: The meaning of axes, by the ids of tensors.
        names: Which layers.
    """
    layout = known.get(id(source))
    sizes = {} if layout is None else _extents(source, layout)
    if not sizes:
        return {}
    layers = [t for n in nodes for t in n.outputs if t.name in names]
    tensors = ((n, (*n.inputs, *n.outputs)) for n in nodes if n.inputs)
    first = ((n, next((known[id(t)] for t in ts if id(t) in known), None)) for n, ts in tensors)
    if not any(may_move(node, layout) for node, layout in first):
        strange = (t.name for t in layers if not sizes.keys() >= set(_letters(known[id(t)])))
        return dict.fromkeys(strange, _STRANGE)
    fixed = all(isinstance(d, int) for d in sizes.values())
    walks = [
        _walked(nodes, source, known, {c: d if isinstance(d, int) else n for c, d in sizes.items()})
        for n in (_SIZES[:1] if fixed else _SIZES)
    ]
    found = {}
    for tensor in layers:
        if all(id(tensor) in walk for walk in walks):
            area = _area([walk[id(tensor)] for walk in walks], sizes, known[id(tensor)])
            found.update({} if area is None else {tensor.name: area})
    return found


def _walked(
    nodes: Sequence[ir.Node], source: Tensor, known: Mapping[int, Layout], sizes: Mapping[str, int]
) -> dict[int, Runs]:
    """Return the cells of all tensors, by their ids, for an input of this size."""
    free = [n for n in sizes.values() if n in _SIZES]
    computed = Computed(source, free[0] if free else _SIZES[0])
    state: dict[int, Runs] = {
        id(source): {c: Run(0, n, 0, n, n) for c, n in sizes.items()},
    }
    for node in nodes:
        operands = data_inputs(node, node.inputs)
        states = [state[id(t)] for t in operands if id(t) in state]
        if not states:
            states = [state[id(t)] for t in node.inputs if id(t) in state][:1]
        if not states or has(node, Trait.READS_SHAPE):
            continue
        for i, tensor in enumerate(node.outputs):
            state[id(tensor)] = _passed(node, i, states, state, known, computed)
    return state


def _passed(
    node: ir.Node,
    output: int,
    states: Sequence[Runs],
    state: Mapping[int, Runs],
    known: Mapping[int, Layout],
    computed: Computed,
) -> Runs:
    """Return the cells of an output."""
    first, rule, tensor = states[0], rule_of(node), node.outputs[output]
    if rule is None and has(node, Trait.KEEPS_SHAPE) and all(s is first for s in states[1:]):
        return first
    layout = known.get(id(tensor))
    counts = {} if layout is None else _counts(tensor, layout)
    name = f"{node.op} {node.name or tensor.name!r}"
    runs = first if all(s is first for s in states[1:]) else shared(name, states, counts)
    source = next((t for t in node.inputs if id(t) in state), node.inputs[0])
    meant = known.get(id(source)) or layout
    letters = "" if meant is None else meant.axes
    if rule is None or not letters:  # of axes that nobody knows no rule can say anything
        return _fitted(runs, counts)
    parts = [state.get(id(t)) for t in node.inputs] if node.op == "Concat" else []
    site = Site(
        node, output, [c if c in SPACE[3] else "" for c in letters], counts, runs, parts, computed
    )
    changed = rule(site)
    return {**runs, **changed} if node.op in RULES else _fitted({**runs, **changed}, counts)


def _fitted(runs: Runs, counts: Mapping[str, float]) -> Runs:
    """Return the runs with as many cells as the tensor has; the same where nothing changes."""
    changed = {
        c: run.sized(n)
        for c, run in runs.items()
        if (n := counts.get(c, UNKNOWN)) == n and n != run.count + sum(run.beside)
    }
    return {**runs, **changed} if changed else runs


def _extents(tensor: Tensor, layout: Layout) -> dict[str, Dim]:
    """Return the extents of space of a tensor, by direction."""
    shape = shape_of(tensor)
    if shape is None:
        return {}
    if layout.grid:
        return dict(zip(SPACE[len(layout.grid)], layout.grid, strict=True))
    return dict(zip(_letters(layout), layout.extents(shape), strict=False))


def _counts(tensor: Tensor, layout: Layout) -> dict[str, float]:
    extents = _extents(tensor, layout)
    return {c: float(d) if isinstance(d, int) else UNKNOWN for c, d in extents.items()}


def _area(walks: Sequence[Runs], sizes: Mapping[str, Dim], layout: Layout) -> Area | None:
    """Return where the cells of a layer lie; None where they share all of the input evenly."""
    letters = _letters(layout)
    runs = {c: [walk[c].padded for walk in walks] for c in letters if c in walks[0]}
    if any(c not in sizes for c in letters):
        return _STRANGE
    if any(c not in runs for c in letters):
        return None
    doubts = [r.doubt for found in runs.values() for r in found if r.doubt]
    if doubts:
        return Area(doubt=doubts[0])
    extents = [n if isinstance(n := sizes[c], int) else None for c in letters]
    away = [_is_away(runs[c][0], n or _SIZES[0]) for c, n in zip(letters, extents, strict=True)]
    if not any(away):
        return None
    reaches = zip((runs[c] for c in letters), extents, away, strict=True)
    return Area(tuple(_reach(found, n) if moved else WHOLE for found, n, moved in reaches))


def _letters(layout: Layout) -> list[str]:
    """Return the directions of a layer's map."""
    axes = SPACE[len(layout.grid)] if layout.grid else layout.regrouped.axes
    return [c for c in SPACE[3] if c in axes]


def _is_away(run: Run, extent: int) -> bool:
    """Tell whether cells are not where even shares of the whole axis are."""
    edges = abs(run.first), abs(run.last - extent), abs(run.begin), abs(run.end - extent)
    if run.moved and max(edges) > _NEAR:
        return True
    if run.count != run.count or not run.count:
        return False
    # At the end up to a whole cell more may be missing: one whose window was not full.
    front, end = (edge / abs(run.cell) for edge in edges[:2])
    return front > _NEAR or end > 1 + _NEAR


def _reach(runs: Sequence[Run], extent: int | None) -> Reach:
    """Return the places of the edges: of one size, or as a line through those of two."""
    edges = [(r.first, r.last, r.begin, r.end) for r in runs]
    if extent is not None:
        return Reach(*(Place(float(edge), 0.0) for edge in edges[0]))
    span = _SIZES[1] - _SIZES[0]
    shares = [(b - a) / span for a, b in zip(*edges, strict=True)]
    return Reach(*(Place(a - s * _SIZES[0], s) for a, s in zip(edges[0], shares, strict=True)))
