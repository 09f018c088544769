"""Model + target -> one graph that predicts and returns gradients of a score."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onnx import ModelProto

from onnxcam import __version__
from onnxcam.autodiff.api import GRADIENT as PREFIX
from onnxcam.autodiff.api import provenance
from onnxcam.autodiff.engine import vjp
from onnxcam.compose.quantities import chosen_classes, class_scores, class_seed
from onnxcam.compose.wish import CLASS, GRADIENT, Wish
from onnxcam.errors import UsageError
from onnxcam.layers import Catalog
from onnxcam.model import Model
from onnxcam.surgery import Draft


@dataclass(frozen=True)
class Gradients:
    """A model that returns gradients of its score, and what it holds.

    Attributes:
        model: The model; it shares the weights of the one that it differentiates.
        wrt: Names of the tensors; the outputs are called ``grad::<name>``.
        score: Name of the tensor with the scores.
        wish: What was asked for.
    """

    model: Model
    wrt: tuple[str, ...]
    score: str
    wish: Wish

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs with the gradients."""
        return tuple(PREFIX + name for name in self.wrt)

    @property
    def summary(self) -> str:
        """What it holds, in words."""
        return f"gradient of {self.score} with respect to {', '.join(self.wrt)}"

    @property
    def gradient(self) -> str:
        """How true it is: "exact" or "straight-through (operators)"."""
        return self.model.metadata[GRADIENT]

    @property
    def proto(self) -> ModelProto:
        """A full copy of the model, weights and all."""
        return self.model.proto


def gradient_graph(
    model: Model,
    catalog: Catalog,
    wrt: Sequence[str],
    wish: Wish,
    *,
    metadata: Mapping[str, str] | None = None,
) -> Gradients:
    """Write the gradient of a score behind a model.

    Args:
        model: The model.
        catalog: Its layers.
        wrt: Names of tensors: inputs, weights, what lies between.
        wish: The target, one for all inputs of a batch or the top class of each.
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
    draft = Draft(model)
    op = draft.op
    tensors = [draft.tensor(name) for name in dict.fromkeys(wrt)]
    score = class_scores(op, draft.tensor(catalog.reduction.name), catalog.reduction.class_axis)
    classes = chosen_classes(draft, score, wish)
    seed = class_seed(op, score, op.Squeeze(classes, axes=[1]))
    found = vjp(op, [(score, seed)], tensors)
    for tensor, gradient in zip(tensors, found, strict=True):
        if gradient is None:
            raise UsageError(
                f"the score {catalog.reduction.name!r} does not depend on {tensor.name!r}",
                "`onnxcam layers MODEL` lists the layers that it depends on",
            )
        draft.output(gradient, PREFIX + tensor.name)
    draft.output(classes, CLASS)
    names = tuple(t.name for t in tensors)
    entries = {
        **(metadata or {}),
        "onnxcam.version": __version__,
        "onnxcam.source.sha256": model.sha256,
        "onnxcam.method": "gradient",
        "onnxcam.wrt": json.dumps(names),
        "onnxcam.reduction_layer": catalog.reduction.name,
        "onnxcam.builder": "native",
        "onnxcam.score": catalog.reduction.kind,
        "onnxcam.final": catalog.reduction.final or "none",
        GRADIENT: provenance(op),
    }
    return Gradients(draft.finish(entries), names, catalog.reduction.name, wish)
