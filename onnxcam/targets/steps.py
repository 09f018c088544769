"""The score of a class at one place: a step of time, a token, a pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnxcam.errors import UsageError
from onnxcam.graph.emit import Emitter, Tensor, shape_of
from onnxcam.targets.classes import picked
from onnxcam.targets.positions import by_position
from onnxcam.targets.target import Class, Outputs, Target


@dataclass(frozen=True)
class At(Target):
    """The score of a class at one position: what a network says at this step, of this token.

    Of a language model the class is a token of the vocabulary, and the position the one whose
    prediction is explained: the last one of a causal model says the next token, and the one of
    the mask what stands there. Of a CTC network it is a frame, and class 0 often the blank.

    Args:
        place: Where: a number, from the end where it is negative; one for each axis of positions.
        cls: The class: index or label; None for the highest at that place.

    Raises:
        UsageError: It is no whole number.
    """

    place: tuple[int, ...] = ()

    def __init__(self, place: int | Sequence[int], cls: Class = None) -> None:
        each = [place] if isinstance(place, int | np.integer) else list(place)
        if not each or not all(isinstance(p, int | np.integer) for p in each):
            raise UsageError(f"{place!r} is no place", "give a whole number for each axis")
        object.__setattr__(self, "cls", cls)
        object.__setattr__(self, "place", tuple(int(p) for p in each))

    @property
    def quantity(self) -> str:
        """What it is, in words."""
        return f"score at {', '.join(map(str, self.place))}"

    @property
    def turns(self) -> bool:
        """Whether it means the same in a mirrored input."""
        return False

    def emit(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor:
        """y_c(p).

        Raises:
            UsageError: The scores have no such position.
        """
        return picked(op, self._there(op, outputs), index)

    def top(self, op: Emitter, outputs: Outputs) -> Tensor | None:
        """Return the highest class at the place."""
        return op.ArgMax(self._there(op, outputs), axis=1, keepdims=1)

    def _there(self, op: Emitter, outputs: Outputs) -> Tensor:
        """Return the scores [N, C] at the place."""
        scores = by_position(op, outputs)
        sizes = (shape_of(scores) or ())[2:]
        fits = len(sizes) == len(self.place) and all(
            not isinstance(d, int) or -d <= p < d for d, p in zip(sizes, self.place, strict=True)
        )
        if not fits:
            raise UsageError(
                f"there is no place {list(self.place)}: the positions of the scores "
                f"{outputs.reduction.name!r} are {list(sizes)}",
                "give one number for each axis, in its range",
            )
        for place in self.place:
            scores = op.Gather(scores, np.int64(place), axis=2)
        return scores
