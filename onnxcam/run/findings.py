"""What a detector found in one input: by class, by place, and all that is sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from onnxcam.errors import InputError
from onnxcam.output.detection import Detected
from onnxcam.run.overlap import overlap

Array: TypeAlias = np.ndarray[Any, Any]


_HALF = 0.5  # of the 2 that are taken from the probability of the class for nothing


@dataclass(frozen=True)
class Findings:
    """What is found in one input.

    Attributes:
        sure: Probabilities, float [C, A].
        boxes: Of these, float [A, 4]: left, top, right, bottom in pixels of the input; None where
            they are not known.
        rows: How sure each box is that can be asked for: behind the model's own suppression where
            it has one. Float [R].
        classes: Their classes, int [R].
        places: Their boxes, float [R, 4], or None.
        kept: Whether the model suppressed boxes itself.
        view: Left, top, right, bottom of the input in pixels of the picture, and the input's height
            and width.
        labels: Names of the classes, or None.
        unread: The output whose rows suppression left, where these are not understood; else "".
        alone: Whether nothing is known of boxes that the model's suppression took away.
        logits: What orders boxes where it is known, float [C, A]: probabilities may all round to 1.
    """

    sure: Array
    boxes: Array | None
    rows: Array
    classes: Array
    places: Array | None
    kept: bool
    view: tuple[tuple[float, float, float, float], tuple[int, int]]
    labels: tuple[str, ...] | None
    alone: bool = False
    logits: Array | None = None
    unread: str = ""

    def row(self, row: int) -> Detected:
        """Return the finding of a row."""
        box = None if self.places is None else self.places[row]
        return self._made(row, int(self.classes[row]), float(self.rows[row]), box)

    def of_class(self, cls: int) -> Detected:
        """Return the surest finding of a class; of any with -1.

        Raises:
            InputError: There is none, where the model keeps findings alone.
        """
        own = self.rows > 0 if cls < 0 else (self.classes == cls) & (self.rows > 0)
        if not self.sure.shape[1] or (self.alone and not own.any()):
            what = "of any class" if cls < 0 else f"of class {cls}"
            raise InputError(
                f"the model finds nothing {what} in this input", "explain another class or input"
            )
        order = self.sure if self.logits is None else self.logits
        if cls < 0:
            cls = int(order.max(1).argmax())
        own = np.flatnonzero(self.classes == cls) if self.kept else np.zeros(0, int)
        if len(own):
            return self.row(int(own[self.rows[own].argmax()]))
        place = int(order[cls].argmax())
        if self.sure[cls, place] < -_HALF:
            raise InputError(
                f"class {cls} stands for nothing: no box is of it", "explain another class"
            )
        box = None if self.boxes is None else self.boxes[place]
        return self._made(place, cls, float(self.sure[cls, place]), box)

    def over(self, least: float, same: float, cls: int | None = None) -> list[int]:
        """Return the rows of all findings, the surest first; what overlaps a surer one is none."""
        order = [int(r) for r in np.argsort(-self.rows, kind="stable") if self.rows[r] >= least]
        order = [r for r in order if cls in (None, -1, self.classes[r])]
        places = self.places
        if self.kept or places is None:
            return order
        left: list[int] = []
        for row in order:
            alike = [r for r in left if self.classes[r] == self.classes[row]]
            if not alike or overlap(places[alike], places[row]).max() <= same:
                left.append(row)
        return left

    def at(self, box: Sequence[float], cls: int | None) -> tuple[int, float] | None:
        """Return the row that is meant by a place of the picture, and how much its box overlaps it.

        Of all boxes it is the one whose overlap, times its probability, is the largest.
        """
        if self.places is None or not len(self.places):
            return None
        shared = overlap(self.places, self._inside(box))
        shared = np.where((cls is None) | (self.classes == cls), shared, 0)
        row = int((shared * self.rows).argmax())
        return row, float(shared[row])

    def _inside(self, box: Sequence[float]) -> Array:
        """Return a box of the picture in pixels of the input."""
        (left, top, right, bottom), (height, width) = self.view
        step = np.array([(right - left) / width, (bottom - top) / height] * 2)
        inside: Array = (np.asarray(box, float) - np.array([left, top] * 2)) / step
        return inside

    def _made(self, row: int, cls: int, sure: float, box: Array | None) -> Detected:
        label = self.labels[cls] if self.labels and cls < len(self.labels) else None
        place = None
        if box is not None and np.isfinite(box).all():
            (left, top, right, bottom), (height, width) = self.view
            step = np.array([(right - left) / width, (bottom - top) / height] * 2)
            edges = box * step + np.array([left, top] * 2)
            place = (float(edges[0]), float(edges[1]), float(edges[2]), float(edges[3]))
        return Detected(row, cls, label, sure, place)
