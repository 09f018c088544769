"""What sets a class apart from those that are most like it: Finer-CAM's target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxcam.autodiff.cotangents import one_hot
from onnxcam.errors import UsageError
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, shape_of
from onnxcam.targets.classes import picked
from onnxcam.targets.target import Class, Outputs, Target


@dataclass(frozen=True)
class Finer(Target):
    """The score of a class without what the most similar classes share with it.

    Zhang et al., Finer-CAM: Spotting the Difference Reveals Finer Details for Visual Explanation,
    CVPR 2025, equation 5. The similar classes are those whose scores are nearest to its own.

    Args:
        cls: The class: index or label; None for the one with the highest score.
        others: How many similar classes.
        strength: How much of their scores is taken away.

    Raises:
        UsageError: There are none, or the strength is below 0.
    """

    others: int = 3
    strength: float = 1.0

    def __init__(self, cls: Class = None, others: int = 3, strength: float = 1.0) -> None:
        if others < 1 or not strength >= 0:
            raise UsageError(
                f"{others} similar classes, of which {strength} is taken away",
                "give at least 1, and a strength from 0 on",
            )
        object.__setattr__(self, "cls", cls)
        object.__setattr__(self, "others", int(others))
        object.__setattr__(self, "strength", float(strength))

    @property
    def quantity(self) -> str:
        """What it is, in words."""
        often = "" if self.strength == 1 else f"{self.strength:g} times "
        return f"margin over {often}the {self.others} most similar"

    def emit(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor:
        """y_c - strength * mean over the classes d most similar in the explained input of y_d.

        Raises:
            UsageError: There are not so many other classes.
        """
        own, places = picked(op, outputs.scores, index), self.chosen(op, outputs, index)
        nearest = op.GatherElements(outputs.scores, places, axis=1)
        similar = op.ReduceMean(nearest, axes=[1], keepdims=0)
        return op.Sub(own, op.Mul(similar, self.strength))

    def choice(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor | None:
        """Return the most similar classes, int64 [N, others].

        Raises:
            UsageError: There are not so many.
        """
        scores = outputs.scores
        count = (shape_of(scores) or (None, None))[1]
        if isinstance(count, int) and count <= self.others:
            raise UsageError(
                f"there are {count} classes, of which {self.others} others are to be similar",
                f"give `others={count - 1}`" if count > 1 else "explain the score",
            )
        kind = dtype_of(scores) or np.dtype(np.float32)
        own = picked(op, scores, index)
        apart = op.Abs(op.Sub(scores, op.Unsqueeze(own, axes=[1])))
        itself = op.Greater(one_hot(op, index, op.dim(scores, 1), np.dtype(np.float32)), 0.5)
        apart = op.Where(itself, op.const(np.array(np.inf, kind)), apart)
        number = np.array([self.others], np.int64)
        _, places = op.TopK(apart, number, axis=1, largest=0, _outputs=2)
        found: Tensor = places
        return found
