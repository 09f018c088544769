"""The reduction layer: the tensor whose entries are the scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from onnxcam.analysis.layers.axes import Axes, axes_of, with_classes
from onnxcam.analysis.layers.behind import behind, kept_by_suppression
from onnxcam.analysis.layers.embeddings import is_unit_length
from onnxcam.analysis.layers.finals import final_of
from onnxcam.analysis.layers.heads import Behind, Layouts
from onnxcam.analysis.layers.path import ancestors
from onnxcam.analysis.layers.readings import PLACES, Reading, is_boxes, told_apart
from onnxcam.analysis.layers.records import Best, Reduction
from onnxcam.errors import ModelError, UsageError
from onnxcam.graph import ir
from onnxcam.graph.emit import Tensor, is_float, is_sequence, shape_of
from onnxcam.graph.emit.walks import OP_LIBRARY_DOMAINS
from onnxcam.model.draft import Draft

_NOTHING = "a detector without a last function: its highest class may be the one for nothing"


def reduction(
    graph: ir.Graph,
    draft: Draft,
    name: str | None,
    known: Layouts,
    class_axis: int | None = None,
    explained: str | None = None,
) -> Reduction:
    """Return the tensor of this name as the score, or choose one.

    Args:
        graph: The graph.
        draft: What it is the graph of.
        name: Name of a tensor; None chooses one.
        known: The meaning of axes, by the ids of tensors.
        class_axis: The axis of its classes; None reads it off the graph.
        explained: Name of the input that is explained, whose batch the scores count; None takes
            the first.

    Raises:
        ModelError: No output depends on floats, or the score's rank is unknown.
        UsageError: There is no tensor of this name, no output shows it, or it has no such axis.
    """
    readings = told_apart([r for t in graph.outputs if (r := _read(graph, t, known, explained))])
    reason, chosen = "named by the caller", None
    if name is not None:
        reading, kind, shown = _named(graph, draft.tensor(name), known, readings, explained)
        if reading in readings:
            chosen = reading
        described = _described(reading, reason, class_axis)
        described = replace(described, kind=kind or described.kind, output=shown)
    elif readings:
        chosen = reading = min(readings, key=lambda r: r.order)
        described = _described(reading, _reason(reading), class_axis)
    else:
        raise ModelError(_nothing(graph), "name a `reduction_layer`")
    others = [r for r in readings if r is not chosen]
    described = _finding(described, reading, others) if class_axis is None else described
    return replace(described, others=tuple(r.words for r in others))


def _named(
    graph: ir.Graph,
    tensor: Tensor,
    known: Layouts,
    readings: Sequence[Reading],
    explained: str | None,
) -> tuple[Reading, str, str]:
    """Return what a tensor holds that a caller names, of which kind it is, and who shows it."""
    for reading in readings:
        if reading.found.tensor is tensor and tensor is not reading.output:
            return reading, "", str(reading.output.name)
    final = final_of(tensor)
    found = Behind(tensor, axis=None if final is None else final.axis)
    axes = axes_of(found, graph, known, explained)
    kind = "output" if final is None else "probabilities"
    return Reading(tensor, Behind(tensor), axes), kind, _shown_by(graph, tensor)


def _finding(described: Reduction, reading: Reading, others: Sequence[Reading]) -> Reduction:
    """Say how a detector with boxes beside its scores finds its best class."""
    if described.best is not None and described.final is None and described.kind == "logits":
        return replace(described, note=described.note or _NOTHING)  # boxes stand before them
    boxed = any(is_boxes(r) or PLACES.search(str(r.output.name)) for r in others)
    axes = reading.axes
    if not boxed or not axes.positions or axes.batch is None or axes.count == 1:
        return described
    if axes.classes is None or described.best is not None:
        return described
    if described.final in ("Softmax", "Sigmoid"):
        nothing = described.final == "Softmax"  # one class stands for it; of Sigmoids none does
        best = Best(described.name, None, axes.classes, axes.batch, background=nothing)
        return replace(described, best=best)
    if described.final is None and not described.note:
        return replace(described, note=_NOTHING)
    return described


def _read(graph: ir.Graph, output: Tensor, known: Layouts, explained: str | None) -> Reading | None:
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
    if is_sequence(found.tensor) or not is_float(found.tensor) or shape_of(found.tensor) is None:
        return None
    found = _unmerged(found, output)
    axes = axes_of(found, graph, known, explained)
    if axes.chosen and axes.classes != found.axis:
        found = replace(found, final=None)
    return Reading(output, found, axes)


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


def _described(reading: Reading, reason: str, class_axis: int | None) -> Reduction:
    found, axes = reading.found, reading.axes
    if class_axis is not None:
        axes = with_classes(axes, class_axis, found.tensor)
        found = replace(found, first=0, mixed=False)
        reason += f"; axis {axes.classes} for its classes, named by the caller"
    count = None if axes.count is None else axes.count - found.first
    name, best = str(found.tensor.name), found.best
    if found.first and axes.classes is not None and axes.batch is not None:
        best = Best(name, None, axes.classes, axes.batch, first=found.first)
    return Reduction(
        name,
        axes.classes,
        count,
        _kind(reading),
        str(reading.output.name),
        reason,
        found.final,
        axes.positions,
        axes.batch,
        found.labels if count in (None, len(found.labels)) else (),
        best,
        found.mixed,
        note=_note(found, axes),
        sure=axes.sure,
        first=found.first,
        space=axes.turned,
    )


def _note(found: Behind, axes: Axes) -> str:
    """Say what a reader of a map must know."""
    if axes.guessed and not found.mixed:
        return (
            f"which axis of {found.tensor.name!r} {axes.written} counts the classes is a guess by "
            f"its sizes, axis {axes.classes}: `class_axis` names it"
        )
    return f"a probability is explained, not a logit: {found.probable}" if found.probable else ""


def _kind(reading: Reading) -> str:
    found = reading.found
    if found.final is not None:
        return "logits"
    if found.probable:
        return "probabilities"
    unsure = found.mixed or reading.axes.chosen or is_unit_length(found.tensor)
    return "output" if unsure else "logits"


def _reason(reading: Reading) -> str:
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
    extra = sorted({n.op for n in graph.nodes if n.domain in OP_LIBRARY_DOMAINS})
    if extra:
        return (
            f"the model's outputs ({listed}) are made by operators of a custom operator library, "
            f"onnxruntime-extensions ({', '.join(extra)}), and hold no floating point scores"
        )
    return f"the model has no floating point output with axes ({listed})"


def _shown_by(graph: ir.Graph, tensor: Tensor) -> str:
    """Return the output that depends on a tensor and shows it."""
    for output in graph.outputs:
        if output is tensor or any(t is tensor for t in ancestors(output)):
            return str(output.name)
    raise UsageError(
        f"no output of the model depends on {tensor.name!r}", "name a tensor on the way to one"
    )
