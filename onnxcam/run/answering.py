"""The sessions that answer a method which runs a model many times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from onnxcam.analysis.layers import Catalog
from onnxcam.analysis.layout import Layout
from onnxcam.compose.headed import Start
from onnxcam.model.tail import Tail
from onnxcam.names import BASELINE, SCORE
from onnxcam.run.groups import Batch
from onnxcam.run.session import Session
from onnxcam.run.straight import Sessions
from onnxcam.run.together import together

if TYPE_CHECKING:
    from onnxcam.run.detections import Finder

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Engine:
    """The sessions that answer, made once for a model.

    Attributes:
        whole: Runs the model, see :class:`onnxcam.compose.parts.Parts`.
        head: Runs the part behind the feature layer; None where it is not needed.
        tail: That part.
        catalog: The model's layers.
        feature: Name of the feature layer.
        layout: The meaning of its axes.
        kind: dtype of the input.
        most: The most inputs in one run.
        batch: The batch that the model takes.
        start: Where the head begins; None without one.
        output: Name of the output with what is explained: the scores, or ``onnxcam.value`` [N] of
            the class ``onnxcam.target``.
        of_class: Whether what is asked for are classes, not boxes.
        finder: What runs the model as a detector, where boxes are compared; None for no detector.
        matched: Whether a box is looked for again in every input, for it has no row of its own:
            scores are how alike it is, see :mod:`onnxcam.run.alike`.
        against: Whether all of it also takes inputs that stand for nothing.
        halves: Runs gradients in two halves; None where ``whole`` has them.
    """

    whole: Session
    head: Session | None
    tail: Tail | None
    catalog: Catalog
    feature: str
    layout: Layout | None
    kind: np.dtype[Any]
    most: int
    batch: Batch
    start: Start | None = None
    output: str = SCORE
    of_class: bool = True
    finder: Finder | None = None
    matched: bool = False
    against: bool = False
    halves: Sessions | None = None

    def given(
        self, batch: Array, tensor: Array, *, against: bool
    ) -> tuple[Array, dict[str, Array]]:
        """Return what is run, and what is fed beside it: ``against`` a batch the one explained.

        Args:
            batch: Inputs, in the model's axes.
            tensor: The one explained.
            against: Whether the others stand for nothing.
        """
        if not against:
            return batch, {}
        whole = np.repeat(tensor, batch.shape[self.batch.axis], self.batch.axis)
        return whole, {BASELINE: self.batch.filled(batch)}

    def room(self, most: int, size: int, *, backward: bool = False) -> int:
        """Return how many inputs one run takes, see :func:`onnxcam.run.together.together`.

        Args:
            most: The most in any run.
            size: Bytes of one.
            backward: Whether gradients are computed.
        """
        if self.batch.is_fixed:
            return most
        return together(most, size, self.whole.provider, self.whole.threads, backward=backward)
