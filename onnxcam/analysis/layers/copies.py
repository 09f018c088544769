"""What shares the batch with an input: a second input joined to it, crops or mirrored copies of it.

A pair of pictures goes through one network as a batch of both (a Siamese network), and so do the
crops or mirrored copies of a picture whose scores are averaged. A row of such a layer is no input.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from onnxcam.analysis.layers.path import moves
from onnxcam.analysis.layout import Layout
from onnxcam.graph import ir
from onnxcam.graph.emit import Tensor, const_value, shape_of
from onnxcam.graph.ops import Trait, has

Copies = tuple[bool, ...]  # of each row that an input has: whether it is of the explained one
MANY: Copies = ()  # so many rows that are not told apart
_ONE: Copies = (True,)


def copies(
    nodes: Sequence[ir.Node], source: Tensor, known: Mapping[int, Layout]
) -> dict[int, Copies]:
    """Return what stands beside an input in the batch of tensors, by their ids.

    Args:
        nodes: The path from the input to the score, producers first.
        source: The input.
        known: The meaning of axes, by the ids of tensors.

    Returns:
        Of each tensor whose batch is not the input's the parts that follow one another in it, each
        of all inputs, and whether they are of this one; :data:`MANY` where that is not known.
    """
    found: dict[int, Copies] = {}
    own, inputs = {id(source)}, _inputs(source, known)
    for node in nodes:
        varying = [t for t in node.inputs if id(t) in own]
        before = next((found[id(t)] for t in varying if id(t) in found), _ONE)
        for y in node.outputs:
            own.add(id(y))
            layout = known.get(id(y))
            if layout is None or layout.batch is None or len(layout.axes) != _rank(y):
                rows = MANY if _is_stacked(layout) else before if _passes(node) else _ONE
            elif has(node, Trait.JOINS) and _axis(node, y) == layout.batch:
                rows = _joined(node, own, found)
            else:
                rows = _kept(node, layout.batch, before, y)
            rows = _counted(rows, y, layout, inputs)
            if rows != _ONE:
                found[id(y)] = rows
    return found


def of_part(layout: Layout, shape: Sequence[object], rows: Copies) -> Layout | None:
    """Return the layout of the explained input's part of a layer; None where it has several.

    Args:
        layout: The meaning of the layer's axes.
        shape: Its shape.
        rows: What stands in its batch.
    """
    plain = not layout.pieces and not layout.prefix and not layout.suffix and not layout.more
    if sum(rows) != 1 or not plain or layout.batch != 0 or "?" in layout.axes:
        return None
    sizes = [d if isinstance(d, int | str) else None for d in shape]
    space = zip("DHW"[-len(layout.grid) :], layout.grid, strict=True) if layout.grid else ()
    tokens = tuple((letter, extent, 0) for letter, extent in space)
    rest = [
        tokens if letter == "T" else ((letter, size, 0),)
        for letter, size in zip(layout.axes[1:], sizes[1:], strict=True)
    ]
    pieces = ((("P", len(rows), 0), ("N", None, 0)), *rest)
    return replace(layout, grid=(), pieces=pieces, part=rows.index(True))


def _inputs(source: Tensor, known: Mapping[int, Layout]) -> int | None:
    """Return how many inputs the file takes, None for any number."""
    layout, shape = known.get(id(source)), shape_of(source)
    if layout is None or layout.batch is None or not shape or len(shape) != len(layout.axes):
        return None
    size = shape[layout.batch]
    return size if isinstance(size, int) else None


def _joined(node: ir.Node, own: Iterable[int], found: Mapping[int, Copies]) -> Copies:
    """Return the parts of inputs that follow one another in the batch."""
    parts: list[bool] = []
    mine = set(own)
    data = [t for t in node.inputs if t.name]
    if len(data) == 1:
        return found.get(id(data[0]), _ONE)
    sizes = [_size(t, _axis(node, t)) for t in data]
    if len(set(sizes)) != 1 and all(isinstance(d, int) for d in sizes):
        return MANY  # of one batch there are as many of each
    for t in data:
        rows = found.get(id(t), (id(t) in mine,))
        if rows == MANY:
            return MANY
        parts += rows
    return tuple(parts)


def _is_stacked(layout: Layout | None) -> bool:
    """Tell whether two axes count inputs, as of copies that were stacked."""
    pieces = () if layout is None else layout.pieces
    return sum(any(letter == "N" for letter, _, _ in axis) for axis in pieces) > 1


def _kept(node: ir.Node, batch: int, before: Copies, y: Tensor) -> Copies:
    """Return what is left of the parts behind a node."""
    if moves(node):  # apart again where there are more axes
        return _ONE if _rank(y) > _rank(node.inputs[0]) and node.op == "Reshape" else before
    if before == _ONE or not (has(node, Trait.PICKS, Trait.REDUCES) or node.op == "Split"):
        return before
    axis = _named(node, _rank(node.inputs[0]))
    same = _size(node.inputs[0], batch) == _size(y, batch) is not None
    return before if same or (axis is not None and batch not in axis) else _ONE


def _counted(rows: Copies, y: Tensor, layout: Layout | None, inputs: int | None) -> Copies:
    """Return what the sizes say of the rows, where these stand in the file."""
    if layout is None or layout.batch is None or inputs is None or layout.pieces:
        return rows
    size = _size(y, layout.batch) if len(layout.axes) == _rank(y) else None
    if not isinstance(size, int) or not size or size % inputs:
        return rows
    if size == inputs:
        return _ONE
    return rows if rows and len(rows) * inputs == size else MANY


def _named(node: ir.Node, rank: int) -> set[int] | None:
    """Return the axes along which a node takes parts, or reduces; None where they are not said."""
    axes = node.attrs.get("axes", node.attrs.get("axis"))
    place = 3 if node.op == "Slice" else 1
    if axes is None and node.op != "Gather" and len(node.inputs) > place:
        axes = const_value(node.inputs[place])
    if axes is None:
        return {0} if node.op in ("Gather", "Split") else None
    listed = [axes] if isinstance(axes, int) else list(axes)
    return {int(a) % max(rank, 1) for a in listed}


def _passes(node: ir.Node) -> bool:
    return moves(node) or has(node, Trait.KEEPS_AXES)


def _axis(node: ir.Node, tensor: Tensor) -> int:
    return int(node.attrs.get("axis", 0)) % max(_rank(tensor), 1)


def _rank(tensor: Tensor) -> int:
    return len(shape_of(tensor) or ())


def _size(tensor: Tensor, axis: int) -> object:
    shape = shape_of(tensor) or ()
    return shape[axis] if axis < len(shape) else None
