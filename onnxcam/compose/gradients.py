"""Model + target -> one graph that predicts and returns gradients of a score."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxcam.analysis.layout import sized
from onnxcam.autodiff.api import GRADIENT as PREFIX
from onnxcam.autodiff.engine import vjp
from onnxcam.compose.made import Made, origin
from onnxcam.compose.plan import Plan
from onnxcam.compose.slopes import Slopes, chosen_classes
from onnxcam.errors import UsageError
from onnxcam.graph.emit import Emitter, Tensor, dtype_of
from onnxcam.model.draft import Draft
from onnxcam.model.model import Model
from onnxcam.names import CLASS, VALUE
from onnxcam.targets.classes import class_scores
from onnxcam.targets.target import Outputs, scalar


@dataclass(frozen=True)
class Gradients(Made):
    """A model that returns gradients of its score, and what it holds.

    Attributes:
        wrt: Names of the tensors; the outputs are called ``grad::<name>``.
        score: Name of the tensor with the scores.
    """

    wrt: tuple[str, ...]
    score: str

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs with the gradients."""
        return tuple(PREFIX + name for name in self.wrt)

    @property
    def summary(self) -> str:
        """What it holds, in words."""
        return f"gradient of {self.score} with respect to {', '.join(self.wrt)}"


def gradient_graph(
    model: Model,
    plan: Plan,
    wrt: Sequence[str],
    *,
    metadata: Mapping[str, str] | None = None,
) -> Gradients:
    """Write the gradient of a score behind a model.

    Args:
        model: The model.
        plan: The target, one for all inputs of a batch or the top class of each. No maps.
        wrt: Names of tensors: inputs, weights, what lies between.
        metadata: More entries for the model's metadata.

    Returns:
        The model with input ``onnxcam.target`` (int64 [1]), output ``onnxcam.class`` (int64
        [N, 1]) and for each tensor T an output ``grad::T`` of its shape and dtype: the derivative
        of the sum of the scores over the batch, which for a tensor with a batch axis is that of
        each input's own score.

    Raises:
        UsageError: There is no tensor of that name, or the score does not depend on it.
        UnsupportedOp: No gradient between the two.
    """
    draft = sized(model)
    op, reduction = draft.op, plan.catalog.reduction
    tensors = [draft.tensor(name) for name in dict.fromkeys(wrt)]
    outputs, chosen, there = _asked(draft, plan)
    seeds = plan.target.cotangents(op, outputs, op.Squeeze(chosen, axes=[1]))
    found = vjp(op, [(y, _where(op, there, dy)) for y, dy in seeds], tensors)
    for tensor, gradient in zip(tensors, found, strict=True):
        if gradient is None:
            raise UsageError(
                f"the score {reduction.name!r} does not depend on {tensor.name!r}",
                "`onnxcam.analysis.layers.catalog(model)` lists the layers that it depends on",
            )
        draft.output(gradient, PREFIX + tensor.name)
    draft.output(plan.target.classes(op, outputs, chosen), CLASS)
    names = tuple(t.name for t in tensors)
    entries = {
        **(metadata or {}),
        **origin(draft, model, plan, "gradient"),
        "onnxcam.wrt": json.dumps(names),
    }
    return Gradients(draft.finish(entries), plan, names, reduction.name)


def value_graph(model: Model, plan: Plan) -> Model:
    """Write what a plan explains behind a model: ``onnxcam.value``, float [N].

    Args:
        model: The model.
        plan: The target, as of :func:`gradient_graph`.
    """
    draft = sized(model)
    outputs, chosen, there = _asked(draft, plan)
    value = plan.target.emit(draft.op, outputs, draft.op.Squeeze(chosen, axes=[1]))
    draft.output(_where(draft.op, there, scalar(plan.target, value, outputs)), VALUE)
    return draft.finish()


def _asked(draft: Draft, plan: Plan) -> tuple[Outputs, Tensor, Tensor | None]:
    """Return the outputs, the class or row of each input [N, 1], and whether it is there."""
    reduction = plan.catalog.reduction
    tensor = draft.tensor(reduction.name)
    outputs = Outputs(class_scores(draft.op, tensor, reduction), tensor, reduction, draft.tensor)
    if plan.detector is not None:
        outputs = Slopes(draft, plan).outputs
    chosen = chosen_classes(draft, outputs, plan)
    return outputs, chosen, plan.target.there(draft.op, outputs, chosen)


def _where(op: Emitter, there: Tensor | None, value: Tensor) -> Tensor:
    """Return a value [N], 0 where what is asked for is not there [N, 1]."""
    if there is None:
        return value
    return op.Mul(value, op.cast(op.Squeeze(there, axes=[1]), dtype_of(value) or np.float32))
