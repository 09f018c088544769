"""Which part of a joined output is the boxes of a detector, told by how it is computed."""

from __future__ import annotations

from collections.abc import Sequence

from onnxcam.graph import ir
from onnxcam.graph.emit import Tensor, const_value, is_float, shape_of
from onnxcam.graph.ops import Trait, has

_COORDINATES = 4
_FAR = 24  # operators between a box and what a network learnt of it
_SCALES = ("Add", "Sub", "Mul", "Div")


def boxes_among(parts: Sequence[Tensor], axis: int) -> int | None:
    """Return which of some parts holds boxes of positions, None where none does for certain.

    It has four rows, and they are counted from where it stands: a grid or anchors are added (or
    multiplied), or a guess is refined (the box of a query, in RT-DETR). Four classes are not.

    Args:
        parts: What is joined.
        axis: Along which axis.
    """
    found = []
    for i, part in enumerate(parts):
        shape = shape_of(part) or ()
        if len(shape) > 2 and shape[axis] == _COORDINATES and is_placed(part):
            found.append(i)
    return found[0] if len(found) == 1 else None


def is_placed(tensor: Tensor) -> bool:
    """Tell whether numbers are counted from a grid, from anchors or from a guess."""
    stack, seen = [(tensor, _FAR)], set[int]()
    while stack:
        current, left = stack.pop()
        if not left or id(current) in seen or not current.inputs:
            continue
        seen.add(id(current))
        node = current.inputs[0]
        if node.op in _SCALES and (_is_grid(node) or _refines(node)):
            return True
        if not has(node, Trait.CONVOLUTION, Trait.PRODUCT) or _turns(node):
            stack.extend((t, left - 1) for t in node.inputs if t.name and is_float(t))
    return False


def _is_grid(node: ir.Node) -> bool:
    """Tell whether a node takes a constant of many positions: a row of four for each."""
    values = [const_value(t) for t in node.inputs]
    many = [v for v in values if v is not None and v.ndim > 1 and v.size > _COORDINATES]
    return any(sorted(v.shape)[-1] > _COORDINATES for v in many)


def _refines(node: ir.Node) -> bool:
    """Tell whether a node adds to what is the inverse of a Sigmoid: a box that is a guess."""
    return node.op == "Add" and any(t.inputs and t.inputs[0].op == "Log" for t in node.inputs)


def _turns(node: ir.Node) -> bool:
    """Tell whether a product only mixes the four numbers: corners of a centre and a size."""
    shapes = [v.shape for t in node.inputs if (v := const_value(t)) is not None]
    return (_COORDINATES, _COORDINATES) in shapes
