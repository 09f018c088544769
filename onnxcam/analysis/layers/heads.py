"""Heads that are joined or mixed to one output: which of them are classes, what the others are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from onnxcam.analysis.layers.records import Best
from onnxcam.analysis.layout import Layout
from onnxcam.graph import ir
from onnxcam.graph.emit import Tensor, const_value, is_float, shape_of
from onnxcam.graph.ops import Trait, has

Layouts = Mapping[int, Layout]


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
    """

    tensor: Tensor
    final: str | None = None
    axis: int | None = None
    labels: tuple[str, ...] = ()
    passed: tuple[str, ...] = ()
    probable: str = ""
    best: Best | None = None
    mixed: bool = False

    @property
    def all_probable(self) -> bool:
        """Whether all that it holds are probabilities."""
        alone = self.best is None and not self.mixed
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
        return _of_parts(found, tensor, node, parts, known, walk)
    if node.op in ("Slice", "Gather", "Split") and parts:
        end = walk(parts[0], None)
        why = "a part of what a Softmax or Sigmoid makes"
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


def _of_parts(
    found: Behind,
    tensor: Tensor,
    node: ir.Node,
    parts: Sequence[Tensor],
    known: Layouts,
    walk: Walk,
) -> Behind:
    """Choose among the parts that a tensor is joined of: the classes, beside boxes and the like."""
    axis = int(node.attrs.get("axis", 0)) % (_rank(parts[0]) if parts else 1)
    ends = [walk(part, axis) for part in parts]
    likely = [i for i, end in enumerate(ends) if end.all_probable]
    if any(end.best is not None or end.mixed for end in ends) and not likely:
        return replace(found, mixed=True)  # scales of a detector, one behind the other
    if not likely or len(parts) != len(node.inputs):
        return found
    if len(likely) == len(parts):
        return _all_joined(found, tensor, axis, parts[0], ends, known)
    wide = [i for i in likely if _size(parts[i], axis) != 1]
    chosen = wide or likely[-1:]
    if len(chosen) != 1:
        return replace(found, mixed=True, axis=axis if found.tensor is tensor else found.axis)
    classes, end = parts[chosen[0]], ends[chosen[0]]
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
