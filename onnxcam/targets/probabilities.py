"""Targets about probabilities: their logarithm, and a sigmoid's yes or no."""

from __future__ import annotations

from dataclasses import dataclass

from onnxcam.errors import UsageError
from onnxcam.graph.emit import Emitter, Tensor, shape_of
from onnxcam.targets.classes import check_probability, picked
from onnxcam.targets.target import Class, Outputs, Target


@dataclass(frozen=True)
class LogProbability(Target):
    """The logarithm of the probability of a class: its gradient does not vanish where it is sure.

    That of the probability itself is p (1 - p) times that of the logit.
    """

    @property
    def quantity(self) -> str:
        """What it is, in words."""
        return "log-probability"

    def emit(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor:
        """Log p_c = log softmax(y)_c, or log sigmoid(y_c) where that is the last function.

        Raises:
            UsageError: The scores are no logits or probabilities of classes.
        """
        kind = outputs.reduction
        check_probability(kind, shape_of(outputs.scores))
        own = picked(op, outputs.scores, index)
        if kind.kind == "probabilities":
            return op.Log(own)
        if kind.final == "Sigmoid":
            return op.Neg(op.Softplus(op.Neg(own)))
        return picked(op, op.LogSoftmax(outputs.scores, axis=1), index)


@dataclass(frozen=True)
class Binary(Target):
    """What speaks for a sigmoid's yes, or for its no: the score of a class with its sign.

    A sigmoid answers for its class alone, so that what speaks against it has no score of its own:
    it is what lowers the logit.

    Args:
        cls: The class, where there are several: index or label; None for the highest.
        positive: True for what speaks for it, False for what speaks against it, None for what the
            model says: a probability above one half is a yes.
    """

    positive: bool | None = None

    def __init__(self, cls: Class = None, positive: bool | None = None) -> None:
        object.__setattr__(self, "cls", cls)
        object.__setattr__(self, "positive", positive)

    @property
    def quantity(self) -> str:
        """What it is, in words."""
        said = {True: "score for yes", False: "score for no", None: "score for its own answer"}
        return said[self.positive]

    def emit(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor:
        """y_c for yes, -y_c for no.

        Raises:
            UsageError: No Sigmoid makes probabilities of the scores.
        """
        reduction, count = outputs.reduction, (shape_of(outputs.scores) or (None, None))[1]
        final = [node.op for node in outputs.tensor.inputs[:1]]  # of probabilities by their name
        one = count == 1 and reduction.kind != "output"
        sigmoid = one or reduction.final == "Sigmoid" or final == ["Sigmoid"]
        if reduction.positions or not sigmoid:
            raise UsageError(
                f"the scores {reduction.name!r} are no yes or no: there is no Sigmoid behind them",
                "explain the score of a class, or its margin over another class",
            )
        own = picked(op, outputs.scores, index)
        if self.positive is not None:
            return own if self.positive else op.Neg(own)
        return op.Where(self.chosen(op, outputs, index), op.Neg(own), own)

    def choice(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor | None:
        """Return where the model says no, bool [N]; None where the answer is given."""
        if self.positive is not None:
            return None
        half = 0.5 if outputs.reduction.kind == "probabilities" else 0.0
        return op.Less(picked(op, outputs.scores, index), half)
