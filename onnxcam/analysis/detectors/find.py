"""Find the scores, boxes and scales of a detector in its graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from onnxcam.analysis.detectors.columns import of_one_function
from onnxcam.analysis.detectors.declared import of_declared
from onnxcam.analysis.detectors.joins import row_of_boxes
from onnxcam.analysis.detectors.kept import kept_rows, unread_rows
from onnxcam.analysis.detectors.records import Boxes, Detector, Head
from onnxcam.analysis.detectors.scales import before, scales_of, scales_of_rows
from onnxcam.analysis.detectors.several import (
    COORDINATES,
    boxes_in,
    is_other_scale,
    one_class_at,
    refuse_raw,
    siblings,
)
from onnxcam.analysis.layers import Catalog, Reduction
from onnxcam.analysis.layers.axes import in_order
from onnxcam.analysis.layout import Layout, opened
from onnxcam.errors import UsageError
from onnxcam.graph import ir
from onnxcam.graph.emit import Tensor, is_float, shape_of
from onnxcam.model.draft import Draft
from onnxcam.model.model import Model


def detector(
    model: Model, catalog: Catalog, declared: Mapping[str, Any] | None = None
) -> Detector | None:
    """Return where a model says what it finds, None where it scores no positions.

    Args:
        model: The model.
        catalog: Its layers.
        declared: What a caller says of it, see :mod:`onnxcam.analysis.detectors.declared`.

    Raises:
        UsageError: What is declared does not fit the model.
    """
    draft, known = opened(model)
    graph, reduction = draft.graph, catalog.reduction
    found = of_declared(draft, reduction, declared) if declared else None
    if found is None or not found.heads:
        columns = (declared or {}).get("columns")
        read = _read(graph, draft.tensor(reduction.name), reduction, known)
        read = read or _of_rows(graph, columns)
        if read is None:
            return None
        found = read if found is None else _completed(read, found, declared or {})
    if not found.heads:
        return _with_rows(model, draft, catalog, found, declared)
    count = (
        reduction.classes if found.single else _classes(draft.tensor(found.heads[0].name), found)
    )
    rows = kept_rows(graph, (declared or {}).get("columns")) if found.single else None
    if rows is not None and rows.sure and rows.classes is not None and count == 1 and not declared:
        return _with_rows(model, draft, catalog, Detector((), rows=rows, single=False))
    unread = unread_rows(graph) if rows is None else ""
    scales = scales_of(model, draft, catalog, found)
    ways = () if found.single else tuple(before(model, catalog, h.name) for h in found.heads)
    boxes = tuple(_turned(draft.tensor(b.name), b, known) for b in _whole(draft, found.boxes))
    found = replace(found, boxes=boxes, rows=rows, scales=scales, classes=count, catalogs=ways)
    best = reduction.best
    counted = None if best is None else best.nothing
    return _as_told(replace(found, unread=unread), draft, declared or {}, counted)


def _with_rows(
    model: Model,
    draft: Draft,
    catalog: Catalog,
    found: Detector,
    declared: Mapping[str, Any] | None = None,
) -> Detector:
    """Return a detector of which its rows are all that is known, with scales and layers."""
    assert found.rows is not None
    ways = (before(model, catalog, found.rows.scores.name),)
    scales = scales_of_rows(model, draft, catalog, found)
    return _as_told(replace(found, scales=scales, catalogs=ways), draft, declared or {})


def _as_told(
    found: Detector, draft: Draft, declared: Mapping[str, Any], counted: int | None = None
) -> Detector:
    """Return a detector with what the graph says of how its boxes are written, and of nothing."""
    queries = found.background and all(s.grid is None for s in found.scales)
    place = declared.get("nothing", -1 if queries else counted)
    if place is not None and found.classes and not -found.classes <= place < found.classes:
        raise UsageError(
            f"`detector` says that class {place} stands for nothing, and there are {found.classes}",
            f"give 0 to {found.classes - 1}, or -1 for the last",
        )
    found = replace(found, nothing=place)
    if found.rows is not None:
        return replace(found, taken=_taken(draft.graph))
    one = len(found.boxes) == 1 and of_one_function(draft.tensor(found.boxes[0].name))
    return replace(found, corners=False if one else None)


def _taken(graph: ir.Graph) -> tuple[str, bool] | None:
    """Return the boxes that suppression takes, and whether as centre and size."""
    nodes = [n for n in graph.nodes if n.op == "NonMaxSuppression"]
    if not nodes:
        return None
    return str(nodes[-1].inputs[0].name), bool(nodes[-1].attrs.get("center_point_box", 0))


def _whole(draft: Draft, boxes: Sequence[Boxes]) -> tuple[Boxes, ...]:
    """Return boxes before they are rounded to whole numbers: these are of another unit."""
    found = []
    for each in boxes:
        tensor = draft.tensor(each.name)
        node = tensor.inputs[0] if tensor.inputs else None
        if is_float(tensor):
            found.append(each)
        elif node is None or node.op != "QuantizeLinear":
            return ()
        else:
            found.append(replace(each, name=str(node.inputs[0].name)))
    return tuple(found)


def _completed(read: Detector, said: Detector, declared: Mapping[str, Any]) -> Detector:
    """Return what was read, with what is declared in its place."""
    found = replace(
        read, form=said.form, unit=said.unit, coding=said.coding, boxes=said.boxes or read.boxes
    )
    if "final" not in declared:
        return found
    return replace(found, final=said.final, background=said.background)


def _of_rows(graph: ir.Graph, columns: object) -> Detector | None:
    """Return a detector of whose scores only those are known that its suppression leaves."""
    rows = kept_rows(graph, columns)
    return None if rows is None else Detector((), rows=rows, single=False)


def _turned(tensor: Tensor, boxes: Boxes, known: Mapping[int, Layout]) -> Boxes:
    """Return boxes whose positions are in the order of space."""
    if boxes.each > 1:
        return boxes
    layout, rank = known.get(id(tensor)), len(shape_of(tensor) or ())
    rest = [i for i in range(rank) if i not in (boxes.batch, boxes.axis)]
    return replace(boxes, space=in_order("" if layout is None else layout.axes, rest))


def _classes(tensor: Tensor, found: Detector) -> int | None:
    head, shape = found.heads[0], shape_of(tensor)
    size = 1 if head.classes is None or shape is None else shape[head.classes]
    end = head.last if head.last is not None else size
    whole = isinstance(end, int) and head.last is None
    return end // (head.each if whole else 1) - head.first if isinstance(end, int) else None


def _read(
    graph: ir.Graph, score: Tensor, reduction: Reduction, known: Mapping[int, Layout]
) -> Detector | None:
    """Return the scores and boxes as the graph tells them."""
    if reduction.mixed:
        return None
    final = reduction.final if reduction.final != "LogSoftmax" else "Softmax"
    loose = "" if reduction.kind == "probabilities" else final or "Sigmoid"
    best = reduction.best
    made = Detector(
        (
            Head(
                reduction.name,
                reduction.batch_axis,
                reduction.class_axis,
                reduction.first,
                space=reduction.space,
            ),
        ),
        final=loose,
        background=best is not None and best.background,
    )
    if reduction.first > COORDINATES:  # a box, its objectness and its classes in one row
        axis = reduction.class_axis or 0
        boxes = Boxes(reduction.name, reduction.batch_axis, axis, reduction.first - 5)
        return replace(made, boxes=(boxes,))
    beside = _beside(graph, score, reduction)
    if not reduction.positions:
        return one_class_at(graph, made, reduction)
    several = siblings(graph, reduction, known)
    if several is not None:
        return several
    if beside is None:
        refuse_raw(graph, reduction)
    return made if beside is None else replace(made, boxes=(beside,))


def _beside(graph: ir.Graph, score: Tensor, reduction: Reduction) -> Boxes | None:
    """Return the boxes that stand in the same output, or in another one."""
    shown = next((t for t in graph.outputs if t.name == reduction.output), None)
    if shown is not None:
        row = row_of_boxes(shown, score)
        if row is not None:
            return Boxes(str(shown.name), _batch_of(shown, row[0], reduction), row[0], row[1])
    count = _positions(score, reduction)
    own: Sequence[object] = () if shown is None else shape_of(shown) or ()
    others = [t for t in graph.outputs if t is not shown and is_float(t)]
    others = [t for t in others if not is_other_scale(shape_of(t), own)]  # of scores too
    return next((b for t in others if (b := boxes_in(t, count, reduction))), None)


def _batch_of(tensor: Tensor, axis: int, reduction: Reduction) -> int | None:
    rank = len(shape_of(tensor) or ())
    if reduction.batch_axis is None and rank < 3:
        return None
    return 0 if axis != 0 else None


def _positions(score: Tensor, reduction: Reduction) -> tuple[object, ...]:
    """Return the sizes of the axes of a score that are positions."""
    own = (reduction.batch_axis, reduction.class_axis)
    return tuple(d for i, d in enumerate(shape_of(score) or ()) if i not in own)
