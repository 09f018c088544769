"""How some rows of a node's output ask for rows of its inputs, operator by operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from onnxcam.analysis.layout.groups import groups
from onnxcam.analysis.layout.rules import axes_of
from onnxcam.graph import ir
from onnxcam.graph.emit import shape_of
from onnxcam.graph.ops import Trait


@dataclass(frozen=True)
class Rows:
    """A run of the rows of one axis of a tensor; none where start and stop are equal.

    Attributes:
        axis: The axis, counted from the front.
        start: First row.
        stop: The row behind the last.
        computed: It is one row, which the model computes: ``start`` does not say which.
        cycle: Where the axis is one of so many rows that was flattened into those above it (tokens
            and their batch): these rows of each of them; 0 for an axis of its own.
    """

    axis: int
    start: int
    stop: int
    computed: bool = False
    cycle: int = 0

    def along(self, axis: int) -> Rows:
        """Return the same rows of another axis."""
        return replace(self, axis=axis)


Need: TypeAlias = Rows | None  # None: all of a tensor
Rule: TypeAlias = Callable[[ir.Node, Rows], "list[Need] | None"]


def _elementwise(node: ir.Node, rows: Rows) -> list[Need] | None:
    """Give every operand its rows, none where it is broadcast; None where that is not known."""
    whole = shape_of(node.outputs[0]) or ()
    if whole[rows.axis] is None:
        return None
    found: list[Need] = []
    for x in node.inputs:
        shape = shape_of(x) if x.name else ()
        axis = rows.axis - (len(whole) - len(shape or ()))
        if shape is None or (axis >= 0 and shape[axis] not in (1, whole[rows.axis])):
            return None
        broadcast = axis < 0 or shape[axis] != whole[rows.axis]
        found.append(None if broadcast else rows.along(axis))
    return found


def _softmax(node: ir.Node, rows: Rows) -> list[Need]:
    rank = len(shape_of(node.outputs[0]) or ())
    axis = int(node.attrs.get("axis", -1)) % rank
    return [rows if rows.axis < axis else None]


def _norm(node: ir.Node, rows: Rows) -> list[Need]:
    rank = len(shape_of(node.outputs[0]) or ())
    first = int(node.attrs.get("axis", -1)) % rank
    return [rows if rows.axis < first else None, *[None] * (len(node.inputs) - 1)]


def _reduce(node: ir.Node, rows: Rows) -> list[Need]:
    rank = len(shape_of(node.inputs[0]) or ())
    axes = axes_of(node, rank)
    rest: list[Need] = [None] * (len(node.inputs) - 1)
    if axes is None:
        return [None, *rest]
    if node.attrs.get("keepdims", 1):
        return [None if rows.axis in axes else rows, *rest]
    kept = [i for i in range(rank) if i not in axes]
    return [rows.along(kept[rows.axis]), *rest]


def _transpose(node: ir.Node, rows: Rows) -> list[Need]:
    rank = len(shape_of(node.outputs[0]) or ())
    perm = node.attrs.get("perm", list(range(rank))[::-1])
    return [rows.along(int(perm[rows.axis]))]


def _reshape(node: ir.Node, rows: Rows) -> list[Need]:
    rest: list[Need] = [None] * (len(node.inputs) - 1)
    source, target = shape_of(node.inputs[0]), shape_of(node.outputs[0])
    if source is not None and target is not None:
        for before, after in groups(source, target):
            wide = [i for i in before if source[i] != 1]
            ends = [i for i in after if target[i] != 1]
            size = target[rows.axis]
            if len(wide) == 1 and ends == [rows.axis]:
                return [rows.along(wide[0]), *rest]
            if len(wide) == 1 and ends[-1:] == [rows.axis] and isinstance(size, int):
                return [None if rows.cycle else replace(rows, axis=wide[0], cycle=size), *rest]
            if len(wide) > 1 and ends == [rows.axis] and rows.cycle == source[wide[-1]]:
                return [replace(rows, axis=wide[-1], cycle=0), *rest]
    return [None, *rest]


def _by_channel(node: ir.Node, rows: Rows) -> list[Need]:
    """A normalisation with constants for each channel, which are the second axis."""
    return [None if rows.axis == 1 else rows, *[None] * (len(node.inputs) - 1)]


def _matmul(node: ir.Node, rows: Rows) -> list[Need] | None:
    ranks = [len(shape_of(t) or ()) for t in node.inputs]
    rank = len(shape_of(node.outputs[0]) or ())
    if min(ranks) < 2:
        return [None, None]
    if rows.axis == rank - 2:
        return [rows.along(ranks[0] - 2), None]
    if rows.axis == rank - 1:
        return [None, rows.along(ranks[1] - 1)]
    return _elementwise(node, rows)


def _gemm(node: ir.Node, rows: Rows) -> list[Need] | None:
    if rows.axis != 0 or any(len(shape_of(x) or ()) > 1 for x in node.inputs[2:]):
        return None
    taken = rows.along(1 if node.attrs.get("transA", 0) else 0)
    return [taken, *[None] * (len(node.inputs) - 1)]


def _product(node: ir.Node, rows: Rows) -> list[Need] | None:
    """A product that was fused with what stood round it: its first factor may be turned."""
    rank, first = (len(shape_of(t) or ()) for t in (node.outputs[0], node.inputs[0]))
    turned = int(node.attrs.get("transA", 0))
    if rows.axis != rank - 2 or first < 2 or node.attrs.get("transBatchA", 0):
        return None
    return [rows.along(first - 2 + turned), *[None] * (len(node.inputs) - 1)]


def _skip_norm(node: ir.Node, rows: Rows) -> list[Need] | None:
    """A normalisation of the last axis, and of the sum of what it is given."""
    last = len(shape_of(node.outputs[0]) or ()) - 1
    return None if rows.axis == last else _elementwise(node, rows)


def _einsum(node: ir.Node, rows: Rows) -> list[Need]:
    equation = str(node.attrs.get("equation", "")).replace(" ", "")
    terms, _, result = equation.partition("->")
    if "." in equation or not result:
        return [None] * len(node.inputs)
    letter = result[rows.axis]
    if any(t.count(letter) > 1 for t in terms.split(",")):
        return [None] * len(node.inputs)
    return [rows.along(t.index(letter)) if letter in t else None for t in terms.split(",")]


RULES: dict[str, Rule] = {
    "Expand": _elementwise,
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _reshape),
    "Transpose": _transpose,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "BatchNormalization": _by_channel,
    "Einsum": _einsum,
}
BY_TRAIT = {
    Trait.ELEMENTWISE: _elementwise, Trait.NORMALISES_LAST: _norm, Trait.REDUCES: _reduce,
}  # fmt: skip
QUANTISED: dict[str, Rule] = {  # what their tensors of data need; see graph.ops.data_inputs
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _elementwise),
    **dict.fromkeys(("QLinearSigmoid", "QLinearLeakyRelu"), _elementwise),
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), _elementwise),
    "DynamicQuantizeLinear": _elementwise,
    "QLinearSoftmax": _softmax,
    **dict.fromkeys(("QLinearMatMul", "MatMulInteger"), _matmul),
}
FUSED = {  # ONNX Runtime's own operators
    Trait.ELEMENTWISE: _elementwise, Trait.NORMALISES_LAST: _skip_norm, Trait.PRODUCT: _product,
}  # fmt: skip
