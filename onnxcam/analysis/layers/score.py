"""The reduction layer: the tensor whose entries are the scores."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from onnxcam.analysis.layers.axes import Axes, axes_of, with_classes
from onnxcam.analysis.layers.behind import behind, kept_by_suppression
from onnxcam.analysis.layers.embeddings import is_unit_length
from onnxcam.analysis.layers.finals import final_of
from onnxcam.analysis.layers.heads import Behind, Layouts
from onnxcam.analysis.layers.path import ancestors
from onnxcam.analysis.layers.records import Reduction
from onnxcam.errors import ModelError, UsageError
from onnxcam.graph import ir
from onnxcam.graph.emit import Tensor, is_float, shape_of
from onnxcam.model.draft import Draft

_PLACES = re.compile(r"box|bbox|landmark|keypoint|coord|regress|delta", re.IGNORECASE)
_COORDINATES = 4


@dataclass(frozen=True)
class _Reading:
    """What an output holds.

    Attributes:
        output: The output.
        found: The tensor with its scores.
        axes: The meaning of that tensor's axes.
        unlike: Why it holds no scores of classes, empty where it does.
    """

    output: Tensor
    found: Behind
    axes: Axes
    unlike: str = ""

    @property
    def order(self) -> tuple[bool, bool, bool]:
        """What speaks for it, the lowest for most: the first output of these is chosen."""
        final = self.found.final
        certain = final is not None and (final != "Sigmoid" or self.axes.count != 1)
        return bool(self.unlike), self.axes.positions, not certain

    @property
    def words(self) -> str:
        """What the output holds, in words."""
        count = self.axes.count
        classes = "scores" if count is None else f"scores of {count} class{'es' * (count != 1)}"
        where = " at each position" if self.axes.positions else ""
        return f"{self.output.name}: {self.unlike or f'{classes}{where}'}"


def reduction(
    graph: ir.Graph,
    draft: Draft,
    name: str | None,
    known: Layouts,
    class_axis: int | None = None,
) -> Reduction:
    """Return the tensor of this name as the score, or choose one.

    Args:
        graph: The graph.
        draft: What it is the graph of.
        name: Name of a tensor; None chooses one.
        known: The meaning of axes, by the ids of tensors.
        class_axis: The axis of its classes; None reads it off the graph.

    Raises:
        ModelError: No output depends on floats, or the score's rank is unknown.
        UsageError: There is no tensor of this name, no output shows it, or it has no such axis.
    """
    if name is not None:
        return _named(graph, draft.tensor(name), known, class_axis)
    readings = list(_told_apart([r for t in graph.outputs if (r := _read(graph, t, known))]))
    if not readings:
        raise ModelError(_nothing(graph), "name a `reduction_layer`")
    reading = min(readings, key=lambda r: r.order)
    others = tuple(r.words for r in readings if r is not reading)
    return replace(_described(reading, _reason(reading), class_axis), others=others)


def _named(graph: ir.Graph, tensor: Tensor, known: Layouts, class_axis: int | None) -> Reduction:
    shown = _shown_by(graph, tensor)
    reason = "named by the caller"
    for output in graph.outputs:
        reading = _read(graph, output, known)
        if reading is not None and reading.found.tensor is tensor and tensor is not output:
            return _described(reading, reason, class_axis)
    found = Behind(tensor)
    final = final_of(tensor)
    axis = None if final is None else final.axis
    axes = axes_of(replace(found, axis=axis), graph, known)
    kind = "output" if final is None else "probabilities"
    described = _described(_Reading(tensor, found, axes), reason, class_axis)
    return replace(described, kind=kind, output=shown)


def _read(graph: ir.Graph, output: Tensor, known: Layouts) -> _Reading | None:
    """Return what an output holds, None where no floats with axes are behind it."""
    if not output.inputs:
        return None
    found = behind(output, known)
    kept = kept_by_suppression(graph, found.tensor)
    if kept is not None:
        end = behind(kept, known, 1)
        found = replace(end, passed=("NonMaxSuppression", *end.passed))
    if not is_float(found.tensor) and is_float(output):
        found = Behind(
            output, axis=found.axis, probable="what the final function takes are integers"
        )
    if not is_float(found.tensor) or shape_of(found.tensor) is None:
        return None
    found = _unmerged(found, output)
    axes = axes_of(found, graph, known)
    if axes.chosen and axes.classes != found.axis:
        found = replace(found, final=None)
    return _Reading(output, found, axes)


def _told_apart(readings: Sequence[_Reading]) -> list[_Reading]:
    """Say which of several outputs hold no scores of classes."""
    if len(readings) < 2:
        return list(readings)
    used = _used(readings)
    told = [replace(r, unlike=_unlike(r, used)) for r in readings]
    four = [_is_boxes(r) for r in told]
    if all(f or r.unlike for f, r in zip(four, told, strict=True)):
        return told
    return [
        replace(r, unlike=r.unlike or ("boxes, by its size" if f else ""))
        for f, r in zip(four, told, strict=True)
    ]


def _unlike(reading: _Reading, used: set[int]) -> str:
    if reading.axes.chosen:
        return "weights of positions"
    if id(reading.output) in used:
        return "what another output is made of"
    if is_unit_length(reading.output):
        return "an embedding of length one"
    if reading.found.final != "Softmax" and _PLACES.search(str(reading.output.name)):
        return "places, by its name"
    return ""


def _used(readings: Sequence[_Reading]) -> set[int]:
    """Return the ids of the outputs that the scores of other outputs are made of."""
    inner = [r.output for r in readings if r.output.outputs]
    if not inner:
        return set()
    scores = {id(r.found.tensor): r.found.tensor for r in readings if not r.output.outputs}
    above = {id(t) for s in scores.values() for t in ancestors(s) if t is not s}
    return {id(t) for t in inner if id(t) in above and id(t) not in scores}


def _is_boxes(reading: _Reading) -> bool:
    count = reading.axes.count == _COORDINATES and reading.found.final != "Softmax"
    return count and reading.axes.positions


def _unmerged(found: Behind, output: Tensor) -> Behind:
    """Return the scores before positions were merged into the batch.

    Old Softmaxes of [N, anchors, C] do so; the rows of their logits are no longer inputs.
    """
    score = found.tensor
    if not score.inputs or score.inputs[0].op not in ("Flatten", "Reshape"):
        return found
    rows, shown = shape_of(score), shape_of(output)
    before = shape_of(score.inputs[0].inputs[0])
    if not rows or not shown or not before or len(before) < 2 or len(rows) != 2:
        return found
    if rows[0] != shown[0] and before[0] == shown[0] and before[-1] == rows[-1]:
        return replace(found, tensor=score.inputs[0].inputs[0], axis=-1)
    return found


def _described(reading: _Reading, reason: str, class_axis: int | None) -> Reduction:
    found, axes = reading.found, reading.axes
    if class_axis is not None:
        axes = with_classes(axes, class_axis, found.tensor)
        reason += f"; axis {axes.classes} for its classes, named by the caller"
    labels = found.labels if axes.count in (None, len(found.labels)) else ()
    return Reduction(
        found.tensor.name,
        axes.classes,
        axes.count,
        _kind(reading),
        str(reading.output.name),
        reason,
        found.final,
        axes.positions,
        axes.batch,
        labels,
        found.best,
        found.mixed and class_axis is None,
        note=_note(found, axes),
        sure=axes.sure,
    )


def _note(found: Behind, axes: Axes) -> str:
    """Say what a reader of a map must know."""
    if axes.guessed and not found.mixed:
        return (
            f"which axis of {found.tensor.name!r} {axes.written} counts the classes is a guess by "
            f"its sizes, axis {axes.classes}: `class_axis` names it"
        )
    return f"a probability is explained, not a logit: {found.probable}" if found.probable else ""


def _kind(reading: _Reading) -> str:
    found = reading.found
    if found.final is not None:
        return "logits"
    if found.probable:
        return "probabilities"
    unsure = found.mixed or reading.axes.chosen or is_unit_length(found.tensor)
    return "output" if unsure else "logits"


def _reason(reading: _Reading) -> str:
    found, output = reading.found, reading.output
    if found.final is not None and final_of(output) is not None and not found.passed:
        node = output.inputs[0]
        return f"the input of the final {node.op} ({node.name or output.name})"
    passed = f", behind {', '.join(dict.fromkeys(found.passed))}" if found.passed else ""
    if found.final is not None:
        return f"the input of the {found.final} of {output.name!r}{passed}"
    if found.probable:
        return f"the model's output; {found.probable}"
    if found.mixed:
        return "the model's output; not all of its rows are classes"
    if is_unit_length(found.tensor):
        return "the model's output, an embedding of length one: no classes"
    if reading.axes.chosen:
        return "the model's output, weights of positions"
    return f"the model's output{passed}; no Softmax or Sigmoid behind it, so it is taken as logits"


def _nothing(graph: ir.Graph) -> str:
    """Say what the outputs are where none can be explained."""
    listed = ", ".join(f"{t.name!r}" for t in graph.outputs)
    return f"the model has no floating point output with axes ({listed})"


def _shown_by(graph: ir.Graph, tensor: Tensor) -> str:
    """Return the output that depends on a tensor and shows it."""
    for output in graph.outputs:
        if output is tensor or any(t is tensor for t in ancestors(output)):
            return str(output.name)
    raise UsageError(
        f"no output of the model depends on {tensor.name!r}", "name a tensor on the way to one"
    )
