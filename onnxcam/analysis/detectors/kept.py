"""The rows that a model's own suppression left: boxes, their probabilities and classes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from onnxcam.analysis.detectors.columns import declared_order, order_of
from onnxcam.analysis.detectors.records import Column, Rows
from onnxcam.analysis.layers.path import ancestors
from onnxcam.graph import ir
from onnxcam.graph.emit import Tensor, is_float, shape_of

_COORDINATES = 4
_SUPPRESS = ("NonMaxSuppression", "TopK")
_CLASSES = re.compile(r"class|label|cls|categor", re.IGNORECASE)


def kept_rows(graph: ir.Graph, columns: object = None) -> Rows | None:
    """Return what suppression, or a choice of the surest, left; None where a model has none.

    Args:
        graph: The graph.
        columns: What a caller says that the columns of the rows are; None reads them off.

    Raises:
        UsageError: What is said does not fit.
    """
    if not any(suppresses(node) for node in graph.nodes):
        return None
    shown = [t for t in graph.outputs if shape_of(t) is not None and _chosen(t)]
    return _joined(shown, columns) or _apart(shown)


def unread_rows(graph: ir.Graph) -> str:
    """Return the name of an output whose rows suppression left, as far as there is one."""
    if not any(node.op == "NonMaxSuppression" for node in graph.nodes):
        return ""
    return next((str(t.name) for t in graph.outputs if is_float(t) and _chosen(t)), "")


def _chosen(tensor: Tensor) -> bool:
    """Tell whether a tensor depends on which boxes were kept."""
    return any(t.inputs and suppresses(t.inputs[0]) for t in ancestors(tensor))


def suppresses(node: ir.Node) -> bool:
    """Tell whether a node keeps some of the boxes, itself or in a branch that it runs."""
    bodies = (value for value in node.attrs.values() if isinstance(value, ir.Graph))
    return node.op in _SUPPRESS or any(suppresses(n) for body in bodies for n in body.nodes)


def _joined(shown: Sequence[Tensor], columns: object) -> Rows | None:
    """Return the rows of one output: box, score, class and more, in one order or another."""
    for tensor in shown:
        shape = shape_of(tensor) or ()
        size, rank = shape[-1] if shape else None, len(shape)
        flat = rank == 4 and tuple(shape[:2]) == (1, 1)  # [1, 1, R, 7] of Caffe and OpenVINO
        if not isinstance(size, int) or not is_float(tensor) or size < _COORDINATES + 1:
            continue
        if rank not in (2, 3) and not flat:
            continue
        order = order_of(tensor, size) if columns is None else declared_order(columns, size)
        if order is None:
            continue
        at = {letter: order.letters.find(letter) for letter in "bsca"}
        box, score, cls, anything = (
            None if at[x] < 0 else Column(str(tensor.name), at[x], rank) for x in "bsca"
        )
        assert box is not None and score is not None
        return Rows(score, box, cls, anything, order.letters, order.sure)
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
