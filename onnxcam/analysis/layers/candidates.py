"""Every candidate feature layer, why it can be used or not, and the default."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace

from onnxcam.analysis.layers.copies import Copies, copies, of_part
from onnxcam.analysis.layers.default import Layers, default_feature
from onnxcam.analysis.layers.modules import matching, origins
from onnxcam.analysis.layers.path import ancestors, bottlenecks, moves, path, producer
from onnxcam.analysis.layers.records import ONLY, SHARED, Asked, Candidate, Catalog, Reduction
from onnxcam.analysis.layers.score import reduction
from onnxcam.analysis.layers.scored import scored, skipping
from onnxcam.analysis.layout import SPACE, Layout, opened, spatial_shape
from onnxcam.analysis.layout.rows import Need, Rows, joined, needed, reach
from onnxcam.errors import bounded
from onnxcam.graph import ir
from onnxcam.graph.contrib import scale_of
from onnxcam.graph.emit import Dim, Tensor, is_float, shape_of
from onnxcam.model.model import Model

PLACE = "layers"  # among the findings of a model: catalogs by the score that was asked for
_UNREAD = ("its rank is", "the meaning of", "its tokens have")  # reasons: the graph may tell more


@bounded("the model cannot be looked through")
def catalog(
    model: Model,
    asked: Asked | None = None,
    *,
    reduction_layer: str | None = None,
    class_axis: int | None = None,
) -> Catalog:
    """List the layers of a model and choose the defaults; it is done once for what is asked.

    Args:
        model: The model.
        asked: What is said of the score, its classes, the input and its axes; None reads all of it.
        reduction_layer: Name of the tensor with the score, where no more is said.
        class_axis: Axis of its classes.

    Raises:
        ModelError: The model has no float output, or no input to explain.
        UsageError: There is no tensor of a name given, or it has no such axis.
    """
    asked = asked or Asked(reduction_layer, class_axis)
    found: dict[Asked, Catalog] = model.findings.setdefault(PLACE, {})
    if asked not in found:
        found[asked] = _catalog(model, asked)
    return found[asked]


def _catalog(model: Model, asked: Asked) -> Catalog:
    draft, known = opened(model, dict(asked.formats))
    graph = draft.graph
    sources, wanted = origins(model), asked.reduction_layer
    if wanted is not None and wanted not in sources:
        wanted = next(reversed(matching(wanted, sources)), wanted)
    scores = reduction(graph, draft, wanted, known, asked.class_axis, asked.input)
    nodes, source = path(graph, draft.tensor(scores.name), known, asked.input)
    if asked.input is None and source is not graph.inputs[0]:  # it is known only now
        scores = reduction(graph, draft, wanted, known, asked.class_axis, source.name)
        nodes, source = path(graph, draft.tensor(scores.name), known, source.name)
    score = draft.tensor(scores.name)
    above = {id(t) for t in ancestors(score)}
    made = (t for n in nodes for t in n.outputs if id(t) in above)
    tensors = {t.name: t for t in made if is_float(t) or scale_of(t) is not None}
    views, own, rows = _views(score), scored(score, known), reach(nodes, [score])
    skips, beside = skipping(nodes, own), copies(nodes, source, known)
    made_of = ((t, known.get(id(t)), rows.get(id(t)), beside.get(id(t))) for t in tensors.values())
    candidates = tuple(
        replace(_shared(t, _candidate(t, views, layout, few), copy), origin=sources[t.name])
        for t, layout, few, copy in made_of
    )
    candidates = _placed(candidates, nodes, source, known)
    narrow = bottlenecks(nodes, source, _telling(skips, own, known, rows))
    layout = known.get(id(source))
    batch = (shape_of(source) or (None,))[(layout and layout.batch) or 0]
    layers = Layers(candidates, tensors, nodes, narrow, own, batch, layout)
    default = default_feature(layers)
    if any(SHARED in c.reason for c in candidates):  # or it is two heads that are joined
        scores = _of_copies(graph, scores, beside.get(id(score)))
    positions = _positions(shape_of(source) or (), shape_of(score) or ())
    head = Catalog(candidates, default.feature, default.reason, scores, source.name, layout)
    said = replace(head, warnings=default.warnings, beside=default.beside)
    return replace(said, input_positions=positions)


def _telling(
    skips: Container[int],
    own: Container[int],
    known: Mapping[int, Layout],
    rows: Mapping[int, Need],
) -> Callable[[ir.Node, Tensor], bool]:
    """Return what tells whether an input of a node says something of where it was made.

    A class token alone, or what is added to the score, says nothing of that.
    """
    used: dict[int, dict[int, Need]] = {}

    def tells(node: ir.Node, tensor: Tensor) -> bool:
        if id(tensor) in skips and any(id(y) in own for y in node.outputs):
            return False
        layout = known.get(id(tensor))
        if layout is None:
            return True
        if id(node) not in used:  # it is asked for one input after the other
            used.clear()
            used[id(node)] = _used(node, rows)
        return _few(layout, used[id(node)].get(id(tensor))) is None

    return tells


def _of_copies(graph: ir.Graph, scores: Reduction, rows: Copies | None) -> Reduction:
    """Return the scores with rows of crops or copies as positions: all are of the one input."""
    own = rows is not None and (all(rows) if rows else len(graph.inputs) == 1)
    if not own or scores.batch_axis is None or not scores.sure:
        return scores
    said = "its rows are of crops or copies of the input: their scores are added up"
    return replace(scores, batch_axis=None, positions=True, note=scores.note or said)


def _placed(
    candidates: tuple[Candidate, ...],
    nodes: Sequence[ir.Node],
    source: Tensor,
    known: dict[int, Layout],
) -> tuple[Candidate, ...]:
    """Return the candidates with where they lie on the input."""
    from onnxcam.analysis.geometry.walk import areas  # late: a second start reads what it found

    where = areas(nodes, source, known, {c.name for c in candidates if c.usable})
    return tuple(replace(c, area=where.get(c.name)) for c in candidates) if where else candidates


def _positions(source: Sequence[Dim], score: Sequence[Dim]) -> Layout | None:
    """Return the layout of an input of batch and positions, where the score has its batch too."""
    space = SPACE.get(len(source) - 1)
    if not space or not score:
        return None
    sizes = [isinstance(shape[0], int) for shape in (source, score)]
    other = source[0] != score[0] if all(sizes) else sizes[1]
    return None if other else Layout(f"N{space}")


def _views(score: Tensor) -> set[int]:
    """Return the ids of the score and of the tensors that it is only a reshape of."""
    found = {id(score)}
    while score.inputs and moves(score.inputs[0]):
        score = score.inputs[0].inputs[0]
        found.add(id(score))
    return found


def _candidate(tensor: Tensor, score: set[int], layout: Layout | None, rows: Need) -> Candidate:
    shape = shape_of(tensor)
    usable, reason = _judge(tensor, score, layout, shape)
    few = _few(layout, rows) if layout is not None and usable else None
    if few is not None:
        usable, reason = False, f"only {few} {ONLY}: the rest has no gradient"
    unread = not usable and reason.startswith(_UNREAD)
    return Candidate(tensor.name, producer(tensor), shape, layout, usable, reason, unread)


def _shared(tensor: Tensor, candidate: Candidate, rows: Copies | None) -> Candidate:
    """Return a candidate whose batch holds more than the inputs: this input's part of it."""
    layout = candidate.layout
    if rows is None or layout is None or not candidate.usable:
        return candidate
    part = of_part(layout, shape_of(tensor) or (), rows)
    if part is None:
        many = "several" if not rows else len(rows)
        what = "crops or copies of it, or other inputs"
        return replace(candidate, usable=False, reason=f"its batch has {many} {SHARED}: {what}")
    said = f"{candidate.reason} (part {part.part + 1} of {len(rows)} of its batch)"
    return replace(candidate, layout=part, reason=said)


def _judge(
    tensor: Tensor, score: set[int], layout: Layout | None, shape: tuple[Dim, ...] | None
) -> tuple[bool, str]:
    if id(tensor) in score:
        return False, "it is the score itself"
    if shape is None:
        return False, "its rank is unknown"
    if layout is None:
        return False, "the meaning of its axes is unknown"
    if not layout.known:
        return False, "it has no spatial, time or token axis"
    extent = spatial_shape(tensor, layout)
    if all(d == 1 for d in extent):
        return False, f"its {_space_word(layout)} extent is {_times(extent)}"
    if layout.strange:
        return False, f"the meaning of one of its axes is unknown ({layout.axes})"
    if "T" in layout.axes and (not layout.grid or layout.prefix is None):
        return False, "its tokens have no known grid"
    if layout.rolled:
        return False, "its positions are rolled round: they are not where the input has them"
    grids = " and ".join(_times(grid) for grid in (extent, *layout.more))
    return True, f"{_space_word(layout)} map of {grids}{_extra(layout)}"


def _extra(layout: Layout) -> str:
    """Say how many tokens are no part of the grid."""
    parts = [(layout.prefix, "behind"), (layout.scales[-1].suffix, "before")]
    said = [f"{where} {n} class token{'s' * (n > 1)}" for n, where in parts if n]
    return f" {' and '.join(said)}" if said else ""


def _few(layout: Layout, rows: Need) -> str | None:
    """Name the rows of a tensor where they are none of its patches, or a single step of many."""
    if rows is None or rows.axis not in layout.space:
        return None
    if rows.computed:
        return "one position of it"
    if layout.axes[rows.axis] == "T":
        behind = None if layout.cells is None else (layout.prefix or 0) + layout.cells
        if rows.stop <= (layout.prefix or 0) or (behind is not None and rows.start >= behind):
            return "its class token" if rows.stop - rows.start == 1 else "the row of class tokens"
        return None
    return f"position {rows.start} of it" if rows.stop - rows.start <= 1 else None


def _used(node: ir.Node, known: Mapping[int, Need]) -> dict[int, Need]:
    """Return the rows that a node uses of each of its inputs for the score, by their ids."""
    used: dict[int, Need] = {id(x): Rows(0, 0, 0) for x in node.inputs}
    for i, y in enumerate(node.outputs):
        if id(y) in known:
            for x, rows in zip(node.inputs, needed(node, known[id(y)], i), strict=True):
                used[id(x)] = joined(used[id(x)], rows)
    return used


def _space_word(layout: Layout) -> str:
    if layout.grid:
        return "token"
    return {1: "time", 2: "spatial", 3: "volume"}.get(len(layout.regrouped.space), "spatial")


def _times(extent: Sequence[Dim]) -> str:
    return " x ".join("?" if d is None else str(d) for d in extent)
