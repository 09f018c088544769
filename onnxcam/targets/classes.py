"""Targets that are made of class scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from onnxcam.analysis.layers import Reduction
from onnxcam.autodiff.cotangents import one_hot
from onnxcam.errors import UsageError
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, shape_of
from onnxcam.targets.names import TOP, resolve_target
from onnxcam.targets.target import Class, Outputs, Target


@dataclass(frozen=True)
class Score(Target):
    """The score of a class: its logit, or what else the reduction layer holds."""

    linear: ClassVar[bool] = True

    @property
    def quantity(self) -> str:
        """What it is, in words."""
        return "score"

    def emit(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor:
        """y_c."""
        return picked(op, outputs.scores, index)

    def cotangents(
        self, op: Emitter, outputs: Outputs, index: Tensor
    ) -> list[tuple[Tensor, Tensor]]:
        """Return the scores with a one in the place of the class: nothing is added to pick it."""
        kind = dtype_of(outputs.scores) or np.dtype(np.float32)
        return [(outputs.scores, one_hot(op, index, op.dim(outputs.scores, 1), kind))]


@dataclass(frozen=True)
class Probability(Target):
    """The probability of a class: what Softmax or Sigmoid make of the logits."""

    @property
    def quantity(self) -> str:
        """What it is, in words."""
        return "probability"

    def emit(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor:
        """p_c = softmax(y)_c, or sigmoid(y_c) where that is the model's last function.

        Raises:
            UsageError: The scores are no logits or probabilities of classes.
        """
        kind = outputs.reduction
        check_probability(kind, shape_of(outputs.scores))
        if kind.kind == "probabilities":
            return picked(op, outputs.scores, index)
        if kind.final == "Sigmoid":
            return op.Sigmoid(picked(op, outputs.scores, index))
        return picked(op, op.Softmax(outputs.scores, axis=1), index)


@dataclass(frozen=True)
class Margin(Target):
    """How much the score of a class is above that of another: why this one and not that one.

    Attributes:
        against: The other class: index or label; None for the highest of all others.
    """

    against: Class = None
    linear: ClassVar[bool] = True

    @property
    def quantity(self) -> str:
        """What it is, in words."""
        return f"margin over {'the runner-up' if self.against is None else self.against}"

    def described(self, labels: Sequence[str] | None, index: int = TOP) -> str:
        """Return the quantity in words, with the name of the other class where it is known."""
        known = labels and isinstance(self.against, int) and self.against < len(labels)
        return f"margin over {labels[self.against]}" if known else self.quantity  # type: ignore

    @property
    def names_labels(self) -> bool:
        """Whether a label of a class occurs, for which the labels are needed."""
        return super().names_labels or isinstance(self.against, str)

    def emit(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor:
        """y_c - y_d.

        Raises:
            UsageError: There is one class only.
        """
        scores = outputs.scores
        if (shape_of(scores) or (None, None))[1] == 1:
            raise UsageError("there is one score only: it has no margin", "explain the score")
        if self.against is None:
            other = self.chosen(op, outputs, index)
        else:
            other = op.Add(op.Mul(index, 0), np.int64(self.against))
        return op.Sub(picked(op, scores, index), picked(op, scores, other))

    def choice(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor | None:
        """Return the runner-up, int64 [N]; None where the other class is named."""
        if self.against is not None:
            return None
        return op.ArgMax(_without(op, outputs.scores, index), axis=1, keepdims=0)

    def resolved(self, classes: int | None, labels: Sequence[str] | None) -> tuple[Target, int]:
        """Return the target with the index of the other class, and the index of its own.

        Raises:
            UsageError: There is no such class, or both are the same.
        """
        target, index = super().resolved(classes, labels)
        if self.against is None:
            return target, index
        other = resolve_target(self.against, classes, labels)
        if other in (TOP, index):
            raise UsageError(
                f"a margin of class {self.cls!r} over {self.against!r}: these must be two classes",
                "name another one in `against`, or none for the runner-up",
            )
        assert isinstance(target, Margin)
        return replace(target, against=other), index


@dataclass(frozen=True)
class Sum(Target):
    """The sum of all scores: what moves the model at all."""

    of_class: ClassVar[bool] = False
    linear: ClassVar[bool] = True

    @property
    def quantity(self) -> str:
        """What it is, in words."""
        return "sum of the scores"

    def emit(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor:
        """The sum of y_c over all classes c."""
        return op.ReduceSum(outputs.scores, axes=[1], keepdims=0)


def picked(op: Emitter, scores: Tensor, index: Tensor) -> Tensor:
    """Return the scores [N] of one class of each input, int64 [N], from [N, C]."""
    column = op.GatherElements(scores, op.Unsqueeze(index, axes=[1]), axis=1)
    return op.Squeeze(column, axes=[1])


def class_scores(op: Emitter, z: Tensor, reduction: Reduction) -> Tensor:
    """Return the scores as [N, C]: other axes than those of batch and classes are summed over."""
    z = classes_only(op, z, reduction)
    batch, classes = reduction.batch_axis, reduction.class_axis
    positions = [i for i in range(len(shape_of(z) or ())) if i not in (batch, classes)]
    if positions:
        z = op.ReduceSum(z, axes=positions, keepdims=0)
    if batch is not None and classes is not None and classes < batch:
        z = op.Transpose(z, perm=[1, 0])
    missing = [i for i, axis in enumerate((batch, classes)) if axis is None]
    return op.Unsqueeze(z, axes=missing) if missing else z


def classes_only(op: Emitter, z: Tensor, reduction: Reduction) -> Tensor:
    """Return the scores without the rows that stand before those of the classes."""
    if not reduction.first:
        return z
    end, axis = np.iinfo(np.int64).max, reduction.class_axis
    return op.Slice(z, starts=[reduction.first], ends=[end], axes=[axis])


def _without(op: Emitter, scores: Tensor, index: Tensor) -> Tensor:
    """Return scores [N, C] that are lowest where the class of each input is."""
    own = one_hot(op, index, op.dim(scores, 1), np.dtype(np.float32))
    kind = dtype_of(scores) or np.dtype(np.float32)
    return op.Where(op.Greater(own, 0.5), op.const(np.array(-np.inf, kind)), scores)


def check_probability(reduction: Reduction, shape: Sequence[object] | None) -> None:
    """Check that scores have probabilities.

    Raises:
        UsageError: They are no logits or probabilities of classes.
    """
    problem = ""
    if reduction.positions:
        problem = "they are sums over positions"
    elif reduction.kind == "output":
        problem = "they are neither logits nor probabilities"
    elif reduction.kind == "logits" and reduction.final != "Sigmoid" and (shape or (0, 0))[1] == 1:
        problem = "there is only one, and no Sigmoid behind it"
    if problem:
        raise UsageError(
            f"the scores {reduction.name!r} have no probability: {problem}",
            "explain the score, or name another `reduction_layer`",
        )
