"""Scores and boxes of a detector that are outputs of their own, one a scale or one for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

from onnxcam.analysis.detectors.records import Boxes, Detector, Head
from onnxcam.analysis.layers import Reduction
from onnxcam.analysis.layers.axes import axes_of
from onnxcam.analysis.layers.behind import behind
from onnxcam.analysis.layout import Layout
from onnxcam.errors import UsageError
from onnxcam.graph import ir
from onnxcam.graph.emit import Tensor, is_float, shape_of

COORDINATES = 4
_WITH_POINTS = 16  # the most numbers that follow a box: key points of a face, in its rows


def boxes_in(tensor: Tensor, positions: Sequence[object], reduction: Reduction) -> Boxes | None:
    """Return the boxes of an output, where it has four numbers for each of these positions."""
    shape = shape_of(tensor) or ()
    batch = 0 if reduction.batch_axis is not None and len(shape) > 2 else None
    for axis in range(len(shape) - 1, -1, -1):
        size = shape[axis]
        rest = tuple(d for i, d in enumerate(shape) if i not in (batch, axis))
        if axis == batch or not isinstance(size, int) or not _fits(rest, positions):
            continue
        if COORDINATES <= size <= _WITH_POINTS:
            return Boxes(str(tensor.name), batch, axis)
    return None


def _fits(one: Sequence[object], other: Sequence[object]) -> bool:
    """Tell whether two lists of sizes may count the same positions."""
    sizes = [[d for d in dims if isinstance(d, int)] for dims in (one, other)]
    if len(sizes[0]) == len(one) and len(sizes[1]) == len(other):
        return prod(sizes[0]) == prod(sizes[1])
    return len(one) == len(other)


def one_class_at(graph: ir.Graph, made: Detector, reduction: Reduction) -> Detector | None:
    """Return a detector of one class whose positions look like classes: [N, A, 1] beside boxes."""
    shown = [t for t in graph.outputs if is_float(t)]
    last = [t for t in shown if (shape_of(t) or (0,))[-1] == 1 and len(shape_of(t) or ()) == 3]
    heads, boxes = [], []
    for tensor in last:
        count = tuple((shape_of(tensor) or ())[1:2])
        others = (t for t in shown if t not in last)
        place = next((b for t in others if (b := boxes_in(t, count, reduction))), None)
        if place is not None:
            heads.append(Head(str(tensor.name), 0, 2))
            boxes.append(place)
    if not heads:
        return None
    return replace(made, heads=tuple(heads), boxes=tuple(boxes), single=False)


def siblings(graph: ir.Graph, reduction: Reduction, known: Mapping[int, Layout]) -> Detector | None:
    """Return the scores of several outputs, one a scale, each with its boxes in another."""
    shown = next((t for t in graph.outputs if t.name == reduction.output), None)
    shape = None if shown is None else shape_of(shown)
    if shown is None or shape is None or reduction.class_axis is None:
        return None
    heads, boxes = [], []
    for tensor in graph.outputs:
        own = shape_of(tensor)
        if own is None or not is_float(tensor) or len(own) != len(shape) or not tensor.inputs:
            continue
        found = behind(tensor, known)
        axes = axes_of(found, graph, known)
        if axes.count != reduction.classes or found.final != reduction.final:
            continue
        sizes = tuple(d for i, d in enumerate(axes.shape) if i not in (axes.batch, axes.classes))
        others = (t for t in graph.outputs if t is not tensor and is_float(t))
        place = next((b for t in others if (b := boxes_in(t, sizes, reduction))), None)
        if place is None:
            continue
        name = str(found.tensor.name)
        heads.append(Head(name, axes.batch, axes.classes, space=axes.turned))
        boxes.append(place)
    if len(heads) < 2 or len({b.name for b in boxes}) < len(heads):
        return None
    kind = "" if reduction.kind == "probabilities" else reduction.final or "Sigmoid"
    return Detector(tuple(heads), tuple(boxes), kind, single=False)


def refuse_raw(graph: ir.Graph, reduction: Reduction) -> None:
    """Refuse outputs of several scales whose rows are box, objectness and classes at once.

    Raises:
        UsageError: There are some, and which rows are classes is not declared.
    """
    shown = next((t for t in graph.outputs if t.name == reduction.output), None)
    shape = [] if shown is None else list(shape_of(shown) or ())
    if len(shape) < 4:
        return
    alike = [t for t in graph.outputs if is_float(t) and is_other_scale(shape_of(t), shape)]
    if alike:
        names = ", ".join(repr(t.name) for t in (shown, *alike) if t is not None)
        raise UsageError(
            f"the outputs {names} are alike but for their grids: heads of a detector's scales, of "
            "which nothing says which rows are boxes and which classes",
            "say it as `detector`: scores, boxes, axis, first_class, anything, format and anchors; "
            "docs/detection.md has a line for each family",
        )


def is_other_scale(shape: Sequence[object] | None, own: Sequence[object]) -> bool:
    """Tell whether a shape is another but for two sizes, both larger or both smaller."""
    if shape is None or len(shape) != len(own):
        return False
    off = [(a, b) for a, b in zip(shape, own, strict=True) if a != b]
    if len(off) != 2 or not all(isinstance(n, int) for pair in off for n in pair):
        return False
    return len({a > b for a, b in off}) == 1  # type: ignore[operator]
