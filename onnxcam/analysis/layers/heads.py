"""Heads that are joined or mixed to one output: which of them are classes, what the others are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from onnxcam.analysis.layers.boxed import boxes_among
from onnxcam.analysis.layers.finals import is_number, made_by
from onnxcam.analysis.layers.path import ancestors
from onnxcam.analysis.layers.records import Best
from onnxcam.analysis.layout import Layout
from onnxcam.graph import ir
from onnxcam.graph.emit import Tensor, const_value, is_float, shape_of
from onnxcam.graph.ops import Trait, has

Layouts = Mapping[int, Layout]
_COORDINATES = 4  # of a box


@dataclass(frozen=True)
class Behind:
    """What lies behind an output.

    Attributes:
        tensor: The logits, or what is nearest to them.
        final: "Softmax", "LogSoftmax" or "Sigmoid" when that makes probabilities of them.
        axis: Its axis of the classes, where an operator names it.
        labels: Names of the classes that stand in the graph.
        passed: Operators between it and the output that choose or name classes.
        probable: Why it holds probabilities without logits of its own, in words; empty where it
            does not.
        best: How a detector finds its best class, None for other models.
        mixed: Whether rows that are no classes are joined to those that are.
        first: The row of the first class where an anchor is its box, its objectness, its classes.
        moved: Whether it lies beyond 0 to 1: an angle that is made of a Sigmoid is no probability.
    """

    tensor: Tensor
    final: str | None = None
    axis: int | None = None
    labels: tuple[str, ...] = ()
    passed: tuple[str, ...] = ()
    probable: str = ""
    best: Best | None = None
    mixed: bool = False
    first: int = 0
    moved: bool = False

    @property
    def all_probable(self) -> bool:
        """Whether all that it holds are probabilities."""
        alone = self.best is None and not (self.mixed or self.first or self.moved)
        return alone and (bool(self.probable) or self.final is not None)


Walk = Callable[[Tensor, "int | None"], Behind]


def of_heads(found: Behind, tensor: Tensor, node: ir.Node, known: Layouts, walk: Walk) -> Behind:
    """Return what a node makes of several heads, or of a part of one.

    Args:
        found: What was found on the way here, and is returned where the node says nothing.
        tensor: What the node makes.
        node: The node.
        known: The meaning of axes, by the ids of tensors.
        walk: Walks back from a part, with the axis of its classes as far as that is known.
    """
    parts = [t for t in node.inputs if t.name and const_value(t) is None and is_float(t)]
    if has(node, Trait.JOINS):
        flat = parts if len(parts) < len(node.inputs) else _flat(node, _rank(parts[0]))
        return _of_parts(found, tensor, node, flat, known, walk)
    if node.op in ("Slice", "Gather", "Split", "GatherElements", "GatherND") and parts:
        end = walk(parts[0], None)
        why = "a part of what a Softmax or Sigmoid makes"
    elif (rest := rest_of(node)) is not None:
        end = walk(rest, None)
        if end.final != "Sigmoid":  # of a Softmax it is that of all other classes
            return found
        why = "what a probability leaves of one"
    elif node.op in ("Add", "Sum", "Mean", "Mul") and len(parts) > 1:
        ends = [walk(part, None) for part in parts]
        end = ends[0] if all(e.all_probable for e in ends) else Behind(tensor)
        why = f"{'a product' if node.op == 'Mul' else 'a mean'} of {len(parts)} heads"
    else:
        return found
    if not end.all_probable:
        return found
    axis = _class_axis(parts[0], end, known) if found.tensor is tensor else found.axis
    return replace(found, probable=why, axis=axis)


def rest_of(node: ir.Node) -> Tensor | None:
    """Return the tensor x of 1 - x, also written as 1 + (-x); None for anything else."""
    if node.op == "Sub":
        return node.inputs[1] if is_number(node.inputs[0], 1) else None
    if node.op != "Add":
        return None
    for one, other in (node.inputs, node.inputs[::-1]):
        made = made_by(other)
        if is_number(one, 1) and made is not None and made.op == "Neg":
            return made.inputs[0]
    return None


def _of_parts(
    found: Behind,
    tensor: Tensor,
    node: ir.Node,
    parts: Sequence[Tensor],
    known: Layouts,
    walk: Walk,
) -> Behind:
    """Choose among the parts that a tensor is joined of: the classes, beside boxes and the like."""
    if not parts or len(parts) < len(node.inputs):
        return found
    rank, layout = _rank(parts[0]), known.get(id(parts[0]))
    axis = int(node.attrs.get("axis", 0)) % rank
    if axis == (0 if layout is None and rank > 1 else layout and layout.batch):
        return found  # more inputs, no heads
    ends = [walk(part, axis) for part in parts]
    likely = [i for i, end in enumerate(ends) if end.all_probable]
    place = boxes_among(parts, axis)
    if place is not None and len(parts) == 2 and ends[1 - place].first == 0:
        return _beside_boxes(found, parts[1 - place], ends[1 - place], node, axis, known)
    if len(likely) == len(parts):
        return _all_joined(found, tensor, axis, parts[0], ends, known)
    if likely:
        return _classes_beside(found, tensor, node, axis, parts, ends, known)
    firsts = {end.first for end in ends}
    if firsts != {0} and len(firsts) == 1 and axis != rank - 1:
        return _anchors(found, ends[0].first)  # of several scales, one behind the other
    unclear = firsts != {0} or any(end.best is not None or end.mixed for end in ends)
    return replace(found, mixed=True) if unclear else found


def _beside_boxes(
    found: Behind, classes: Tensor, end: Behind, node: ir.Node, axis: int, known: Layouts
) -> Behind:
    """Return the scores beside boxes: probabilities, or what a caller makes these of."""
    layout = known.get(id(classes))
    batch = 0 if layout is None or layout.batch is None else layout.batch
    if not end.all_probable and end.tensor is classes:
        end = replace(end, axis=axis)
    return replace(
        end,
        labels=found.labels or end.labels,
        passed=(*found.passed, str(node.op), *end.passed),
        best=Best(classes.name, None, axis, batch),
    )


def _flat(node: ir.Node, rank: int) -> list[Tensor]:
    """Return what a node joins; its first part, where that is joined along the same axis, apart."""
    first, *rest = node.inputs
    inner = first.inputs[0] if first.inputs else None
    axes = [int(n.attrs.get("axis", 0)) % rank for n in (node, inner) if n is not None]
    if inner is None or not inner.op == node.op == "Concat" or axes[0] != axes[1]:
        return [first, *rest]
    if any(const_value(t) is not None or not is_float(t) for t in inner.inputs):
        return [first, *rest]
    return [*_flat(inner, rank), *rest]


def _classes_beside(
    found: Behind,
    tensor: Tensor,
    node: ir.Node,
    axis: int,
    parts: Sequence[Tensor],
    ends: Sequence[Behind],
    known: Layouts,
) -> Behind:
    """Return the part that holds classes, beside one that says whether there is anything."""
    likely = [i for i, end in enumerate(ends) if end.all_probable]
    wide = [i for i in likely if _size(parts[i], axis) != 1]
    if len(shape_of(tensor) or ()) == 2:  # of one thing: its values beside its classes
        return replace(found, mixed=True, axis=axis if found.tensor is tensor else found.axis)
    chosen = wide or likely[-1:]
    if len(chosen) != 1:
        return replace(found, mixed=True, axis=axis if found.tensor is tensor else found.axis)
    classes, end = parts[chosen[0]], ends[chosen[0]]
    first = _first_class(parts, chosen[0], axis)
    if first:
        return _anchors(found, first)
    beside = [parts[i] for i in likely if i != chosen[0] and _size(parts[i], axis) == 1]
    objectness = beside[0].name if len(beside) == 1 else None
    layout = known.get(id(classes))
    batch = 0 if layout is None or layout.batch is None else layout.batch
    return replace(
        end,
        labels=found.labels or end.labels,
        passed=(*found.passed, str(node.op), *end.passed),
        best=Best(classes.name, objectness, axis, batch),
    )


def _first_class(parts: Sequence[Tensor], chosen: int, axis: int) -> int:
    """Return the row of the first class of an anchor of YOLO's, up to version 7; 0 for others.

    There one Sigmoid makes all of an anchor: its box, its objectness and its classes, last.
    """
    part = parts[chosen]
    node = part.inputs[0] if part.inputs else None
    sizes = [_size(t, axis) for t in parts]
    last = chosen == len(parts) - 1 and axis == _rank(part) - 1
    if node is None or node.op not in ("Split", "Slice") or not last or (sizes[-1] or 0) < 2:
        return 0
    before = [s for s in sizes[:-1] if s is not None]
    shared = all(any(t is node.inputs[0] for t in ancestors(p)) for p in parts[:-1])
    return sum(before) + 1 if shared and sum(before) == _COORDINATES else 0


def _anchors(found: Behind, first: int) -> Behind:
    why = "what the model says of each of its anchors"
    return replace(found, probable=why, first=first, axis=-1)


def _all_joined(
    found: Behind, tensor: Tensor, axis: int, part: Tensor, ends: Sequence[Behind], known: Layouts
) -> Behind:
    """Return heads of the same classes at other positions, or of other classes."""
    along = _class_axis(part, ends[0], known)
    if along is not None and along % _rank(part) != axis:
        why = f"probabilities of {len(ends)} heads, one behind the other"
        return replace(found, probable=why, axis=along if found.tensor is tensor else None)
    why = f"probabilities of {len(ends)} heads, joined"
    return replace(found, probable=why, axis=axis if found.tensor is tensor else found.axis)


def _class_axis(part: Tensor, end: Behind, known: Layouts) -> int | None:
    layout = known.get(id(part))
    if layout is not None and layout.channel is not None:
        return layout.channel
    return end.axis if end.final != "Sigmoid" else None


def _rank(tensor: Tensor) -> int:
    return len(shape_of(tensor) or (None,))


def _size(tensor: Tensor, axis: int) -> int | None:
    shape = shape_of(tensor)
    size = shape[axis] if shape is not None and axis < len(shape) else None
    return size if isinstance(size, int) else None
