"""The feature maps that a detector's boxes are read off, and the layer of each to explain at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from onnxcam.analysis.detectors.joins import channels_of, grid_of, last_maps, scale_parts
from onnxcam.analysis.detectors.records import Detector, Scale
from onnxcam.analysis.layers import Candidate, Catalog
from onnxcam.analysis.layers import catalog as layers_of
from onnxcam.analysis.layers.default import is_activation
from onnxcam.analysis.layers.path import bottlenecks, moves, path
from onnxcam.graph import ir
from onnxcam.graph.emit import Tensor
from onnxcam.graph.ops import Trait, has
from onnxcam.model.draft import Draft
from onnxcam.model.model import Model


def scales_of(model: Model, draft: Draft, catalog: Catalog, found: Detector) -> tuple[Scale, ...]:
    """Return the scales of a detector in the order of its positions.

    The layer of a scale is the last that all of its scores and boxes pass through: the output of
    the neck that its heads read, as `model.15` of YOLOv8 is, or P3 of a feature pyramid.

    Args:
        model: The model.
        draft: Its graph, with the known shapes.
        catalog: Its layers.
        found: Its scores and boxes.
    """
    scores = [(h.name, p) for h in found.heads for p in scale_parts(draft.tensor(h.name))]
    boxes = [p for b in found.boxes for p in scale_parts(draft.tensor(b.name))]
    scales = []
    for (head, score), box in _paired(scores, boxes):
        grid, layer = grid_of(score), None
        if grid is not None:
            own = catalog if found.single else before(model, catalog, head)
            layer = _layer(draft.graph, own, score, [] if box is None else [box])
        usual = catalog.feature if grid is None else None
        scales.append(Scale(grid, channels_of(score), layer or usual))
    return tuple(scales)


def scales_of_rows(
    model: Model, draft: Draft, catalog: Catalog, found: Detector
) -> tuple[Scale, ...]:
    """Return the scales of a detector of which the rows behind its suppression are known.

    The layer of a scale is what its scores and boxes are read off: the last that the last
    convolutions of both pass through, or, where regions are cut out of it, the layer itself.

    Args:
        model: The model.
        draft: Its graph, with the known shapes.
        catalog: Its layers.
        found: Its rows.
    """
    assert found.rows is not None
    scores, boxes = (last_maps(draft.tensor(c.name)) for c in (found.rows.scores, found.rows.boxes))
    own = before(model, catalog, found.rows.scores.name)
    usable = {c.name: c for c in own.candidates if c.usable}
    scales: dict[tuple[int, int], Scale] = {}
    every = [t for t, _ in (*scores, *boxes)]
    for tensor, cut in scores:
        grid = grid_of(tensor)
        if grid is None or grid in scales:
            continue
        rest = [t for t in every if t is not tensor and grid_of(t) == grid]
        layer = usable.get(str(tensor.name)) if cut else _layer(draft.graph, own, tensor, rest)
        scales[grid] = Scale(grid, channels_of(tensor), layer)
    left = [s for s in scales.values() if s.layer is not None]
    return tuple(sorted(left, key=lambda s: s.grid or (0, 0), reverse=True))


def before(model: Model, catalog: Catalog, head: str) -> Catalog:
    """Return the layers before one of several heads: not all lie before each."""
    return layers_of(model, reduction_layer=head) if head != catalog.reduction.name else catalog


def _paired(
    scores: Sequence[tuple[str, Tensor]], boxes: Sequence[Tensor]
) -> Iterator[tuple[tuple[str, Tensor], Tensor | None]]:
    """Yield the scores of each scale with its boxes."""
    alike = [grid_of(t) for _, t in scores] == [grid_of(t) for t in boxes]
    yield from zip_longest(scores, boxes if alike else ())


def _narrow(graph: ir.Graph, catalog: Catalog, end: Tensor) -> tuple[list[ir.Node], set[int]]:
    """Return the way from the input to a tensor, and what all of it passes through."""
    nodes, source = path(graph, end, {}, catalog.input)
    return nodes, bottlenecks(nodes, source, lambda node, tensor: True)


def _layer(
    graph: ir.Graph,
    catalog: Catalog,
    score: Tensor,
    others: Sequence[Tensor],
) -> Candidate | None:
    """Return the last usable layer that the scores and all others of a scale pass through."""
    usable = {c.name: c for c in catalog.candidates if c.usable}
    nodes, narrow = _narrow(graph, catalog, score)
    for other in others:
        narrow &= _narrow(graph, catalog, other)[1]
    passed = [t for n in nodes for t in n.outputs if id(t) in narrow and t.name in usable]
    passed = [t for t in passed if t is not score]
    if not passed:
        return None
    last = passed[-1]
    while not is_activation(last):  # before a pool or a view of it, where it bends
        node = last.inputs[0]
        source = next((t for t in node.inputs if t.name in usable), None)
        if source is None or not (moves(node) or has(node, Trait.POOL)):
            break
        last = source
    return usable[str((last if is_activation(last) else passed[-1]).name)]
