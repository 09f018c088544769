"""The reduction layer: the tensor whose entries are the scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from onnxcam.analysis.layers.path import ancestors, moves
from onnxcam.analysis.layers.records import Reduction
from onnxcam.errors import ModelError, UsageError
from onnxcam.graph import ir
from onnxcam.graph.emit import Dim, Tensor, is_float, shape_of
from onnxcam.graph.ops import Trait, has
from onnxcam.model.draft import Draft


def reduction(graph: ir.Graph, draft: Draft, name: str | None) -> Reduction:
    """Return the tensor of this name as the score, or choose one.

    Raises:
        ModelError: No output is floating point, or the score's rank is unknown.
        UsageError: There is no tensor of this name, or no output shows it.
    """
    if name is not None:
        tensor = draft.tensor(name)
        shown = _shown_by(graph, tensor)
        last = bool(tensor.inputs) and has(tensor.inputs[0], Trait.PROBABILITIES)
        kind = "probabilities" if last else "output"
        return _described(tensor, kind, shown, "named by the caller", None)
    outputs = [t for t in graph.outputs if is_float(t) and t.inputs]
    if not outputs:
        raise ModelError("the model has no floating point output", "name a `reduction_layer`")
    finals = [(t, _final(t)) for t in outputs]
    output, final = next((pair for pair in finals if pair[1] is not None), finals[0])
    if final is None:
        reason = "the model's output; no Softmax or Sigmoid behind it, so it is taken as logits"
        return _described(output, "logits", output.name, reason, None)
    axis = None if has(final, Trait.ELEMENTWISE) else int(final.attrs.get("axis", -1))
    reason = f"the input of the final {final.op} ({final.name or final.outputs[0].name})"
    score = _unrounded(final.inputs[0])
    if not is_float(score):
        reason = f"the model's output; what the final {final.op} takes are integers"
        return _described(output, "probabilities", output.name, reason, axis)
    if axis is not None and _merges_batch(score, output):
        score, axis = score.inputs[0].inputs[0], -1
    found = _described(score, "logits", output.name, reason, axis)
    return replace(found, final=str(final.op).removeprefix("QLinear"))


def _unrounded(tensor: Tensor) -> Tensor:
    """Return what a tensor is the rounding of, else the tensor."""
    rounds = bool(tensor.inputs) and has(tensor.inputs[0], Trait.QUANTISES)
    return tensor.inputs[0].inputs[0] if rounds else tensor


def _merges_batch(score: Tensor, output: Tensor) -> bool:
    """Tell whether positions were merged into the batch, as old Softmaxes of [N, anchors, C] are.

    The rows of the score are then no longer inputs; the tensor before the merging has them.
    """
    if not score.inputs or score.inputs[0].op not in ("Flatten", "Reshape"):
        return False
    rows, shown = shape_of(score), shape_of(output)
    before = shape_of(score.inputs[0].inputs[0])
    if not rows or not shown or not before or len(before) < 2 or len(rows) != 2:
        return False
    return rows[0] != shown[0] and before[0] == shown[0] and before[-1] == rows[-1]


def _final(tensor: Tensor) -> ir.Node | None:
    """Return the final Softmax or Sigmoid behind an output, looking through moves."""
    while tensor.inputs:
        node = tensor.inputs[0]
        if has(node, Trait.PROBABILITIES):
            return node
        if not moves(node):
            return None
        tensor = node.inputs[0]
    return None


def _described(tensor: Tensor, kind: str, output: str, reason: str, axis: int | None) -> Reduction:
    shape = shape_of(tensor)
    if shape is None:
        raise ModelError(
            f"the rank of the score {tensor.name!r} is unknown", "name another `reduction_layer`"
        )
    rank = len(shape)
    if axis is None:
        axis = _class_axis(shape)
    size = shape[axis] if rank else 1
    return Reduction(
        tensor.name,
        axis % rank if rank else 0,
        size if isinstance(size, int) else None,
        kind,
        output,
        reason,
        positions=any(d != 1 for i, d in enumerate(shape) if i not in (0, axis % max(rank, 1))),
    )


def _class_axis(shape: Sequence[Dim]) -> int:
    """The only axis behind the batch that is not 1, else axis 1 (or 0 for a vector)."""
    wide = [i for i, d in enumerate(shape) if i > 0 and d != 1]
    if len(wide) == 1:
        return wide[0]
    return min(1, max(len(shape) - 1, 0))


def _shown_by(graph: ir.Graph, tensor: Tensor) -> str:
    """Return the output that depends on a tensor and shows it."""
    for output in graph.outputs:
        if output is tensor or any(t is tensor for t in ancestors(output)):
            return str(output.name)
    raise UsageError(
        f"no output of the model depends on {tensor.name!r}", "name a tensor on the way to one"
    )
