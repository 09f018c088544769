"""Every candidate feature layer, why it can be used or not, and the default."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import TypeAlias

from onnxcam.analysis.layers.path import ancestors, bottlenecks, moves, path, producer
from onnxcam.analysis.layers.records import Candidate, Catalog
from onnxcam.analysis.layers.score import reduction
from onnxcam.analysis.layout import Layout, opened, spatial_shape
from onnxcam.analysis.layout.rows import Need, Rows, joined, needed, reach
from onnxcam.errors import bounded
from onnxcam.graph import ir
from onnxcam.graph.contrib import cuts_at_zero, scale_of
from onnxcam.graph.emit import Dim, Tensor, const_value, is_float, shape_of
from onnxcam.graph.ops import Trait, has, traits_of
from onnxcam.model.model import Model

PLACE = "layers"  # among the findings of a model: catalogs by the score that was asked for
_ONLY = "reaches the score"
Asked: TypeAlias = tuple[str | None, int | None]  # the score's name, and the axis of its classes


@bounded("the model cannot be looked through")
def catalog(
    model: Model, *, reduction_layer: str | None = None, class_axis: int | None = None
) -> Catalog:
    """List the layers of a model and choose the defaults; it is done once for a model and a score.

    Args:
        model: The model.
        reduction_layer: Name of the tensor to take the score from; None chooses it.
        class_axis: Axis of its classes; None reads it off the graph.

    Raises:
        ModelError: The model has no float output, or no input to explain.
        UsageError: There is no tensor of the name given, or it has no such axis.
    """
    found: dict[Asked, Catalog] = model.findings.setdefault(PLACE, {})
    asked = (reduction_layer, class_axis)
    if asked not in found:
        found[asked] = _catalog(model, reduction_layer, class_axis)
    return found[asked]


def _catalog(model: Model, reduction_layer: str | None, class_axis: int | None) -> Catalog:
    draft, known = opened(model)
    graph = draft.graph
    scores = reduction(graph, draft, reduction_layer, known, class_axis)
    score = draft.tensor(scores.name)
    nodes, source = path(graph, score, known)
    above = {id(t) for t in ancestors(score)}
    made = (t for n in nodes for t in n.outputs if id(t) in above)
    tensors = {t.name: t for t in made if is_float(t) or scale_of(t) is not None}
    views, rows = _views(score), reach(nodes, [score])
    candidates = tuple(
        _candidate(t, views, known.get(id(t)), rows.get(id(t))) for t in tensors.values()
    )

    def tells(node: ir.Node, tensor: Tensor) -> bool:
        """A class token alone says nothing of where something is."""
        layout = known.get(id(tensor))
        return layout is None or _few(layout, _used(node, tensor, rows)) is None

    narrow = bottlenecks(nodes, source, tells)
    layout = known.get(id(source))
    feature, reason = _default_feature(_in_all_directions(candidates, layout), tensors, narrow)
    reason += _unread(nodes, tensors[feature.name]) if feature is not None else ""
    return Catalog(candidates, feature, reason, scores, source.name, layout)


def _unread(nodes: Sequence[ir.Node], feature: Tensor) -> str:
    """Name an operator behind the feature layer that nothing is known of, "" for none."""
    place = next(i for i, n in enumerate(nodes) if any(t is feature for t in n.outputs))
    strange = (n for n in nodes[place + 1 :] if not traits_of(n.domain, n.op))
    node = next(strange, None)
    return "" if node is None else f"; behind it nothing is known of {node.domain}::{node.op}"


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
        usable, reason = False, f"only {few} {_ONLY}: the rest has no gradient"
    return Candidate(
        tensor.name, producer(tensor), shape, layout, usable, reason, _is_activation(tensor)
    )


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
    return True, f"{_space_word(layout)} map of {_times(extent)}{_extra(layout)}"


def _extra(layout: Layout) -> str:
    """Say how many tokens are no part of the grid."""
    parts = [(layout.prefix, "behind"), (layout.suffix, "before")]
    said = [f"{where} {n} class token{'s' * (n > 1)}" for n, where in parts if n]
    return f" {' and '.join(said)}" if said else ""


def _few(layout: Layout, rows: Need) -> str | None:
    """Name the rows of a tensor where they are none of its patches, or a single step of many."""
    if rows is None or rows.axis not in layout.space:
        return None
    if layout.axes[rows.axis] == "T":
        behind = None if layout.cells is None else (layout.prefix or 0) + layout.cells
        if rows.stop <= (layout.prefix or 0) or (behind is not None and rows.start >= behind):
            return "its class token" if rows.stop - rows.start == 1 else "the row of class tokens"
        return None
    return f"position {rows.start} of it" if rows.stop - rows.start <= 1 else None


def _used(node: ir.Node, tensor: Tensor, known: dict[int, Need]) -> Need:
    """Return the rows of a tensor that a node uses of it for the score."""
    used: Need = Rows(0, 0, 0)
    for i, y in enumerate(node.outputs):
        if id(y) in known:
            needs = needed(node, known[id(y)], i)
            for x, rows in zip(node.inputs, needs, strict=True):
                used = joined(used, rows) if x is tensor else used
    return used if any(x is tensor for x in node.inputs) else None


def _is_activation(tensor: Tensor) -> bool:
    if not tensor.inputs:
        return False
    node = tensor.inputs[0]
    if has(node, Trait.ACTIVATION) or cuts_at_zero(node):
        return True
    if node.op == "DequantizeLinear" and producer(node.inputs[0]) == "QuantizeLinear":
        rounding = node.inputs[0].inputs[0]
        return cuts_at_zero(rounding) or _is_activation(rounding.inputs[0])
    # x * sigmoid(x) and x * hardsigmoid(x), as exporters write SiLU and HardSwish
    gates = [t.inputs[0] for t in node.inputs if t.inputs] if node.op == "Mul" else []
    return any(has(g, Trait.GATE) and any(t is g.inputs[0] for t in node.inputs) for g in gates)


def _default_feature(
    candidates: Sequence[Candidate], tensors: dict[str, Tensor], narrow: set[int]
) -> tuple[Candidate | None, str]:
    usable = {c.name: c for c in candidates if c.usable}
    if not usable:
        return None, "no tensor on the path to the score has a spatial, time or token extent"
    whole = [c for c in usable.values() if id(tensors[c.name]) in narrow]
    last = (whole or list(usable.values()))[-1]
    where = f"the last layer before the score that still is a {last.reason}"
    if any(_ONLY in c.reason for c in candidates[candidates.index(last) :]):
        where = f"the last layer of which every position reaches the score, a {last.reason}"
    elif whole and last is not list(usable.values())[-1]:
        where = f"the last layer that all of the score passes through and that is a {last.reason}"
    found, passed = _before(tensors[last.name], usable, _is_activation, _moves_or_pools)
    if found is not None:
        return usable[found.name], f"{where}{passed}; an activation ({producer(found)})"
    found, passed = _before(tensors[last.name], usable, _is_norm, _projects)
    if found is None:
        return last, where
    return usable[found.name], f"{where}{passed}; a normalisation"


def _in_all_directions(
    candidates: Sequence[Candidate], source: Layout | None
) -> Sequence[Candidate]:
    """Return the layers without those that are no default where there are others.

    A layer of one value a frame says nothing of where in the frames something is; one whose
    positions lie beside the batch is a step inside of something.
    """
    space = None if source is None or source.regrouped.strange else source.regrouped.space
    rank = 0 if source is None or space is None else len(source.grid) or len(space)
    layouts = {c.name: c.layout for c in candidates if c.usable and c.layout is not None}
    ranks = {name: len(x.grid) or len(x.regrouped.space) for name, x in layouts.items()}
    full = {name for name in layouts if ranks[name] == rank} or set(layouts)
    plain = {name for name in full if not layouts[name].pieces}
    return [c for c in candidates if not c.usable or c.name in (plain or full)]


def _before(
    tensor: Tensor,
    usable: Container[str],
    wanted: Callable[[Tensor], bool],
    through: Callable[[ir.Node], bool],
) -> tuple[Tensor | None, str]:
    """Go back from a tensor through some nodes to one that is wanted; say what was passed."""
    passed = ""
    while not wanted(tensor):
        node = tensor.inputs[0]
        source = next((t for t in map(_unrounded, node.inputs) if t.name in usable), None)
        if source is None or not through(node):
            return None, ""
        tensor, passed = source, f", before its {node.op}"
    return tensor, passed


def _unrounded(tensor: Tensor) -> Tensor:
    """Return what a tensor is the rounding of, else the tensor."""
    return tensor.inputs[0].inputs[0] if producer(tensor) == "QuantizeLinear" else tensor


def _moves_or_pools(node: ir.Node) -> bool:
    return moves(node) or has(node, Trait.POOL)


def _projects(node: ir.Node) -> bool:
    """Tell whether a node cuts off class tokens or is a product or a sum with a constant."""
    fixed = any(const_value(t) is not None for t in node.inputs)
    linear = has(node, Trait.PRODUCT, Trait.BIAS) and fixed
    return linear or node.op == "Slice" or _moves_or_pools(node)


def _is_norm(tensor: Tensor) -> bool:
    return bool(tensor.inputs) and has(tensor.inputs[0], Trait.NORMALISES_LAST, Trait.EMBEDS)


def _space_word(layout: Layout) -> str:
    if layout.grid:
        return "token"
    return {1: "time", 2: "spatial", 3: "volume"}.get(len(layout.regrouped.space), "spatial")


def _times(extent: Sequence[Dim]) -> str:
    return " x ".join("?" if d is None else str(d) for d in extent)
