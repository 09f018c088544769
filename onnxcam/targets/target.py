"""What is explained: a target is a subgraph of the outputs with one number for each input.

The gradient engine differentiates it like anything else. The class that a target speaks of is an
input of the explained model, so one compiled model answers for every class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeAlias

import numpy as np

from onnxcam.analysis.layers import Reduction
from onnxcam.errors import UsageError
from onnxcam.graph.emit import Dim, Emitter, Tensor, dtype_of, is_float, shape_of
from onnxcam.targets.found import Found
from onnxcam.targets.names import TOP, resolve_target

Class: TypeAlias = "int | str | None"
Wanted: TypeAlias = "Target | int | str | Callable[..., Any] | None"


@dataclass(frozen=True)
class Outputs:
    """What a target is made of.

    Attributes:
        scores: The scores, float [N, C]; other axes than batch and class are summed over.
        tensor: The reduction layer itself, with the axes that the model gives it.
        reduction: What is known of it.
        named: Returns any tensor of the model by its name; None where what is explained is
            computed once more in another precision.
        boxes: What a detector finds, where a box is explained; else None.
        size: The extents of the input's space, from depth to width; () where they are not known.
        held: What the target chose in the explained input, where this is another one; None where
            it is that input itself.
    """

    scores: Tensor
    tensor: Tensor
    reduction: Reduction
    named: Callable[[str], Tensor] | None = None
    boxes: Found | None = None
    size: tuple[Dim, ...] = ()
    held: Tensor | None = None


@dataclass(frozen=True)
class Target(ABC):
    """What is explained.

    Attributes:
        cls: The class that it speaks of: index or label; None for the class with the highest
            score. Targets that speak of no class have none.
        of_class: Whether it speaks of a class.
        linear: Whether it is a sum of scores with constant factors.
        placed: Whether it is one of a detector's boxes; what is explained is then a place, and a
            map that knows no places shows little of it.
        many: Whether it stands for as many targets as an input has findings.
    """

    cls: Class = None
    of_class: ClassVar[bool] = True
    linear: ClassVar[bool] = False
    placed: ClassVar[bool] = False
    many: ClassVar[bool] = False

    @abstractmethod
    def emit(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor:
        """Write the target, and return it.

        Args:
            op: Emitter of the graph or of a subgraph.
            outputs: The model's outputs.
            index: The class of each input, int64 [N].

        Returns:
            One number for each input, float [N].
        """

    def choice(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor | None:
        """Return what is chosen by the explained input: its pixels, a box's class, a rival class.

        A method that runs the model on changed inputs explains one and the same quantity in all of
        them, so that such a choice is made once. None where the target makes none.

        Args:
            op: Emitter of the graph or of a subgraph.
            outputs: The model's outputs for the explained input.
            index: The class of each input, int64 [N].

        Returns:
            Integers or truth values, [N, ...], or None.
        """
        return None

    def chosen(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor:
        """Return the choice of the explained input: what is held, or made here."""
        found = outputs.held if outputs.held is not None else self.choice(op, outputs, index)
        assert found is not None, "asked where there is a choice"
        return found

    @property
    @abstractmethod
    def quantity(self) -> str:
        """What of the class it is, in words: "score", "probability"."""

    @property
    def turns(self) -> bool:
        """Whether it means the same in a mirrored input: it names no place, no left or right."""
        return True

    @property
    def key(self) -> str | None:
        """What it is but for its class, for the name of a compiled model; None: no name tells."""
        return self.quantity

    def top(self, op: Emitter, outputs: Outputs) -> Tensor | None:
        """Return what is taken where a call names nothing, int64 [N, 1]: a class, or a box's row.

        None for the class with the highest score, or of a detector's best finding.
        """
        return None

    def referred(self, scores: Callable[[Any], Any]) -> Target:
        """Return the target with the scores of the input that it refers to; itself without one.

        Args:
            scores: Returns the scores [C] of an input, as an Explainer takes it.
        """
        return self

    def described(self, labels: Sequence[str] | None, index: int = TOP) -> str:
        """Return the quantity in words, with the names of classes where they are known.

        Args:
            labels: Names of the classes, None where nothing says them.
            index: What a call asks for: a class, or a box's row.
        """
        return self.quantity

    def classes(self, op: Emitter, outputs: Outputs, chosen: Tensor) -> Tensor:
        """Return the classes, int64 [N, K], of what a call asks for, which are classes mostly."""
        return chosen

    def there(self, op: Emitter, outputs: Outputs, chosen: Tensor) -> Tensor | None:
        """Tell whether what a call asks for is in the input, bool [N, K]; None: it always is."""
        return None

    @property
    def names_labels(self) -> bool:
        """Whether a label of a class occurs, for which the labels are needed."""
        return isinstance(self.cls, str)

    def cotangents(
        self, op: Emitter, outputs: Outputs, index: Tensor
    ) -> list[tuple[Tensor, Tensor]]:
        """Return tensors with their cotangents, whose products sum to the target's gradient."""
        value = scalar(self, self.emit(op, outputs, index), outputs)
        kind = dtype_of(value) or np.dtype(np.float32)
        return [(value, op.Expand(np.ones(1, kind), op.shape(value)))]

    def resolved(self, classes: int | None, labels: Sequence[str] | None) -> tuple[Target, int]:
        """Return the target without its class, and the index of that (-1 for the top class).

        Raises:
            UsageError: There is no such class.
        """
        if not self.of_class:
            return self, TOP
        return replace(self, cls=None), resolve_target(self.cls, classes, labels)


def scalar(target: Target, value: Tensor, outputs: Outputs) -> Tensor:
    """Return a target's value as float [N].

    Raises:
        UsageError: It is not one number for each input.
    """
    if not is_float(value):
        raise UsageError(
            f"the target ({target.quantity}) is of {dtype_of(value)}, which has no gradient",
            "make it of floats",
        )
    got, scores = shape_of(value), shape_of(outputs.scores) or (None,)
    if got is not None:
        batch = scores[0]
        wrong = len(got) != 1 or (
            isinstance(got[0], int) and isinstance(batch, int) and got[0] != batch
        )
        if wrong:
            raise UsageError(
                f"the target ({target.quantity}) has the shape {list(got)}: it must be one number "
                f"for each input, [{batch or 'N'}]",
                "reduce the other axes: op.ReduceSum(y, axes=[1], keepdims=0)",
            )
    return value
