"""What lies behind an output: the logits, found by walking back what the operators compute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from onnxcam.analysis.layers.finals import axes_of, final_of, made_by
from onnxcam.analysis.layers.path import ancestors
from onnxcam.analysis.layers.records import Best
from onnxcam.analysis.layout import Layout
from onnxcam.graph import ir
from onnxcam.graph.emit import Tensor, const_value, is_float, shape_of
from onnxcam.graph.ops import Trait, has

SPACE = "DHWT"
_DEEPEST = 3  # joins of joins; beyond them nobody wrote a head of a model
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
        heads: How many heads are joined to the tensor, of which each holds probabilities.
        best: How a detector finds its best class, None for other models.
        mixed: Whether rows that are no classes are joined to those that are.
    """

    tensor: Tensor
    final: str | None = None
    axis: int | None = None
    labels: tuple[str, ...] = ()
    passed: tuple[str, ...] = ()
    heads: int = 0
    best: Best | None = None
    mixed: bool = False


@dataclass(frozen=True)
class _Step:
    """One operator back: to which tensor, and whether that is nearer to the scores for certain."""

    tensor: Tensor
    certain: bool = False
    rounds: bool = False
    axis: int | None = None
    labels: tuple[str, ...] = ()


def behind(output: Tensor, known: Layouts, depth: int = 0) -> Behind:
    """Walk back from an output to the logits.

    Args:
        output: An output of the graph, or a part of one.
        known: The meaning of axes, by the ids of tensors.
        depth: How many joins were walked through to come here.
    """
    tensor, found, axis = output, Behind(output), None
    while True:
        final = final_of(tensor)
        if final is not None:
            named = final.axis if final.axis is not None else axis
            return replace(found, tensor=_unrounded(final.tensor), final=final.kind, axis=named)
        node = made_by(tensor)
        if node is None:
            return found
        if has(node, Trait.JOINS):
            return found if depth > _DEEPEST else _of_parts(found, tensor, node, known, depth + 1)
        step = _back(node, tensor, known)
        if step is None:
            return found
        axis = step.axis if step.certain else _moved(node, axis)
        tensor = step.tensor
        labels = found.labels or step.labels
        if step.certain and not (step.rounds and is_float(found.tensor)):
            passed = (*found.passed, str(node.op))
            found = replace(found, tensor=tensor, axis=axis, passed=passed)
        found = replace(found, labels=labels)


def kept_by_suppression(output: Tensor) -> Tensor | None:
    """Return the scores [N, classes, boxes] of which suppression left an output's rows."""
    for tensor in ancestors(output):
        node = made_by(tensor)
        if node is not None and node.op == "NonMaxSuppression":
            return node.inputs[1]
    return None


def _back(node: ir.Node, tensor: Tensor, known: Layouts) -> _Step | None:
    """Return what a node makes its output of where that says which classes there are."""
    source = node.inputs[0] if node.inputs else None
    if source is None:
        return None
    if node.op in ("ZipMap", "LabelEncoder"):
        return _Step(source, certain=True, labels=_names(node))
    if node.op in ("ArrayFeatureExtractor", "Gather") and _texts(const_value(source)):
        return _Step(node.inputs[1], certain=True, labels=_texts(const_value(source)))
    if node.op in ("ArgMax", "Hardmax", "TopK", "ReduceMax"):
        return _picked(node, source, known)
    if node.op == "ReduceMean":
        axes, layout = axes_of(node), known.get(id(source))
        over = layout is not None and axes is not None and _all_space(layout.axes, axes)
        return _Step(source) if over else None
    if has(node, Trait.SAME, Trait.VIEW):
        return _Step(source, certain=not is_float(tensor) and is_float(source), rounds=True)
    return _Step(source) if _keeps_order(node) else None


def _picked(node: ir.Node, source: Tensor, known: Layouts) -> _Step | None:
    """Step over a choice among classes; a choice among positions names no axis of classes."""
    default = {"ArgMax": 0}.get(node.op, -1)
    axes = axes_of(node) if node.op == "ReduceMax" else (int(node.attrs.get("axis", default)),)
    if axes is None or len(axes) != 1:
        return None
    layout = known.get(id(source))
    if layout is None or not _all_space(layout.axes, axes):
        return _Step(source, certain=True, axis=axes[0])
    return None if node.op == "ReduceMax" else _Step(source, certain=True)


def _keeps_order(node: ir.Node) -> bool:
    """Tell whether a node only bounds, scales or shifts its values: the order is the same."""
    if node.op == "Clip":
        return True
    values = [const_value(t) for t in node.inputs if t.name]
    given = [v for v in values if v is not None and v.size == 1 and v.dtype.kind in "fiu"]
    if len(values) != 2 or len(given) != 1:
        return False
    if node.op in ("Mul", "Add", "Max", "Min"):
        return node.op != "Mul" or bool(given[0].item() > 0)
    # What is divided, or taken from, is the first.
    if node.op not in ("Div", "Sub") or values[0] is not None:
        return False
    return node.op == "Sub" or bool(given[0].item() > 0)


def _of_parts(found: Behind, tensor: Tensor, node: ir.Node, known: Layouts, depth: int) -> Behind:
    """Choose among the parts that a tensor is joined of: the classes, beside boxes and the like."""
    parts = [t for t in node.inputs if t.name and const_value(t) is None and is_float(t)]
    ends = [behind(part, known, depth) for part in parts]
    axis = int(node.attrs.get("axis", 0))
    finals = [i for i, end in enumerate(ends) if end.final is not None]
    if not finals or len(parts) != len(node.inputs):
        return found
    if len(finals) == len(parts):
        along = _class_axis_of(parts[0], ends[0], known)
        positions = along is not None and along % _rank(parts[0]) != axis % _rank(parts[0])
        return replace(
            found, heads=len(parts), axis=along if positions else _at(tensor, found, axis)
        )
    wide = [i for i in finals if _size(parts[i], axis) != 1]
    chosen = wide or finals[-1:]
    if len(chosen) != 1:
        return replace(found, mixed=True, axis=_at(tensor, found, axis))
    classes = chosen[0]
    beside = [parts[i] for i in finals if i != classes and _size(parts[i], axis) == 1]
    layout = known.get(id(parts[classes]))
    batch = 0 if layout is None or layout.batch is None else layout.batch
    objectness = beside[0].name if len(beside) == 1 else None
    best = Best(parts[classes].name, objectness, axis % _rank(parts[classes]), batch)
    end = ends[classes]
    passed = (*found.passed, str(node.op), *end.passed)
    return replace(end, labels=found.labels or end.labels, passed=passed, best=best)


def _at(tensor: Tensor, found: Behind, axis: int) -> int | None:
    """Return an axis of a tensor where that is what was found, not something moved."""
    return axis if found.tensor is tensor else found.axis


def _class_axis_of(part: Tensor, end: Behind, known: Layouts) -> int | None:
    layout = known.get(id(part))
    if layout is not None and layout.channel is not None:
        return layout.channel
    return end.axis if end.final != "Sigmoid" else None


def _rank(tensor: Tensor) -> int:
    return len(shape_of(tensor) or (None,))


def _size(tensor: Tensor, axis: int) -> int | None:
    shape = shape_of(tensor)
    size = shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None
    return size if isinstance(size, int) else None


def _moved(node: ir.Node, axis: int | None) -> int | None:
    """Return where an axis of a node's output is in its input."""
    if axis is None or not has(node, Trait.VIEW) or has(node, Trait.SAME):
        return axis
    perm = node.attrs.get("perm")
    return None if node.op != "Transpose" or perm is None else int(perm[axis])


def _all_space(letters: str, axes: Sequence[int]) -> bool:
    return all(-len(letters) <= a < len(letters) and letters[a] in SPACE for a in axes)


def _unrounded(tensor: Tensor) -> Tensor:
    """Return what a tensor is the rounding of, else the tensor."""
    node = made_by(tensor)
    return node.inputs[0] if node is not None and has(node, Trait.QUANTISES) else tensor


def _names(node: ir.Node) -> tuple[str, ...]:
    """Return the names of classes that a node gives to numbers 0, 1, 2, ... or to columns."""
    attrs = node.attrs
    if node.op == "ZipMap":
        names = attrs.get("classlabels_strings") or attrs.get("classlabels_int64s") or ()
        return tuple(_text(name) for name in names)
    keys = [int(str(k)) for k in _values(attrs, "keys_int64s", "keys_tensor") if _is_number(k)]
    names = list(_values(attrs, "values_strings", "values_tensor"))
    if sorted(keys) != list(range(len(keys))) or len(names) != len(keys):
        return ()
    return tuple(_text(name) for _, name in sorted(zip(keys, names, strict=True)))


def _values(attrs: Mapping[str, object], *names: str) -> Iterator[object]:
    for name in names:
        value = attrs.get(name)
        if value is not None:
            values = getattr(value, "values", value)
            yield from np.asarray(values, object).ravel()
            return


def _is_number(value: object) -> bool:
    return isinstance(value, int | np.integer)


def _texts(value: object) -> tuple[str, ...]:
    """Return the texts that a constant holds, none for numbers."""
    array = None if value is None else np.asarray(value)
    if array is None or array.dtype.kind not in "OSU":
        return ()
    return tuple(_text(each) for each in array.ravel())


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
