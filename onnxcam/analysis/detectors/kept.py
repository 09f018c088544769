"""The rows that a model's own suppression left: boxes, their probabilities and classes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from onnxcam.analysis.detectors.records import Column, Rows
from onnxcam.analysis.layers.path import ancestors
from onnxcam.graph import ir
from onnxcam.graph.emit import Tensor, is_float, shape_of

_COORDINATES = 4
_SUPPRESS = ("NonMaxSuppression", "TopK")
_CLASSES = re.compile(r"class|label|cls|categor", re.IGNORECASE)


def kept_rows(graph: ir.Graph) -> Rows | None:
    """Return what suppression, or a choice of the surest, left; None where a model has none."""
    if not any(suppresses(node) for node in graph.nodes):
        return None
    shown = [t for t in graph.outputs if shape_of(t) is not None and _chosen(t)]
    return _joined(shown) or _apart(shown)


def _chosen(tensor: Tensor) -> bool:
    """Tell whether a tensor depends on which boxes were kept."""
    return any(t.inputs and suppresses(t.inputs[0]) for t in ancestors(tensor))


def suppresses(node: ir.Node) -> bool:
    """Tell whether a node keeps some of the boxes, itself or in a branch that it runs."""
    bodies = (value for value in node.attrs.values() if isinstance(value, ir.Graph))
    return node.op in _SUPPRESS or any(suppresses(n) for body in bodies for n in body.nodes)


def _joined(shown: Sequence[Tensor]) -> Rows | None:
    """Return the rows of one output: [x, y, x, y, score, class, ...], or with the input first."""
    for tensor in shown:
        shape = shape_of(tensor) or ()
        size, rank = shape[-1] if shape else None, len(shape)
        if not isinstance(size, int) or rank not in (2, 3) or not is_float(tensor) or size < 6:
            continue
        name = str(tensor.name)
        if size == 7 and rank == 2:  # the input, the box, the class, the score
            return Rows(Column(name, 6, 2), Column(name, 1, 2), Column(name, 5, 2))
        columns = (Column(name, first, rank) for first in (4, 0, 5))
        return Rows(*columns)
    return None


def _apart(shown: Sequence[Tensor]) -> Rows | None:
    """Return the rows of several outputs: boxes [.., R, 4], scores [.., R], classes [.., R]."""
    boxes = [t for t in shown if (shape_of(t) or (0,))[-1] == _COORDINATES and is_float(t)]
    for box in boxes:
        shape = shape_of(box) or ()
        rest = [t for t in shown if t is not box and len(shape_of(t) or ()) == len(shape) - 1]
        named = [t for t in rest if not is_float(t) or _CLASSES.search(str(t.name))]
        scores = [t for t in rest if is_float(t) and t not in named]
        if len(shape) not in (2, 3) or len(scores) != 1:
            continue
        kinds = (scores[0], named[0] if named else None)
        score, cls = (
            None if t is None else Column(str(t.name), None, len(shape) - 1) for t in kinds
        )
        assert score is not None
        return Rows(score, Column(str(box.name), 0, len(shape)), cls)
    return None
