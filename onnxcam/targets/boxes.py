"""Targets of detectors: the best finding of a class, one box, and all boxes that are sure.

Grad-CAM weighs channels by their mean gradient, which knows no place; HiResCAM (without its
smoothing that is ODAM: Zhao and Chan, ICLR 2023, equation 3) and Layer-CAM show where the
detection is: see docs/detection.md for what was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, TypeAlias

import numpy as np

from onnxcam.errors import UsageError
from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.targets.found import Found
from onnxcam.targets.names import TOP, resolve_target
from onnxcam.targets.positions import at_position, by_position, flat, of_class
from onnxcam.targets.target import Class, Outputs, Target

Edges: TypeAlias = tuple[float, float, float, float]
OVER = 0.5  # how sure a box must be to be a finding
SAME = 0.45  # boxes of a class that overlap by more are one finding
LEAST = 0.1  # a box that overlaps the place that is asked for by less is another one
UNSURE = 0.05  # boxes that are less sure are none that a place could mean


@dataclass(frozen=True)
class Detection(Target):
    """The score of a class where it is surest: that of a detector's best finding.

    The position is the one with the highest probability of the class, multiplied with that of
    there being anything where the model says it.
    """

    placed: ClassVar[bool] = True

    @property
    def quantity(self) -> str:
        """What it is, in words."""
        return "best detection"

    def emit(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor:
        """y_c(p), p = argmax over positions of p_c in the explained input.

        Raises:
            UsageError: The scores have no positions.
        """
        found = _found(op, outputs)
        if found.alone and found.kept is not None:
            own = op.Equal(found.kept.classes, op.Unsqueeze(index, axes=[1]))
            sure = op.Where(own, found.kept.scores, op.Sub(found.kept.scores, 2))
            return at_position(op, found.kept.scores, op.ArgMax(sure, axis=1, keepdims=1))
        return at_position(op, of_class(op, found.scores, index), self.chosen(op, outputs, index))

    def choice(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor | None:
        """Return the position where the class is surest, int64 [N, 1]; None of kept rows alone."""
        found = _found(op, outputs)
        if found.alone and found.kept is not None:
            return None
        return op.ArgMax(of_class(op, found.sure, index), axis=1, keepdims=1)

    def top(self, op: Emitter, outputs: Outputs) -> Tensor | None:
        """Return the class of the surest box."""
        found = _found(op, outputs)
        if found.alone:
            row = op.ArgMax(found.best(op), axis=1, keepdims=1)
            return op.GatherElements(found.classes(op), row, axis=1)
        sure = found.sure
        return op.ArgMax(op.ReduceMax(sure, axes=[2], keepdims=0), axis=1, keepdims=1)


@dataclass(frozen=True)
class Box(Target):
    """The score of one of a detector's boxes: that of its own highest class.

    Args:
        number: Which of the boxes: its row in the model's output, or, where the model suppresses
            boxes itself, its row behind that.
        box: Left, top, right and bottom of a place, in pixels of the picture (of the input where
            that is an array): the box whose overlap with it (intersection over union), times its
            probability, is the largest.
        cls: With ``box``: its class, index or label; None for any.

    Raises:
        UsageError: The number is negative, the box is empty, or both or none are given.
    """

    number: int | None = None
    box: Edges | None = None
    of_class: ClassVar[bool] = False
    placed: ClassVar[bool] = True

    def __init__(
        self, number: int | None = None, *, box: Sequence[float] | None = None, cls: Class = None
    ) -> None:
        if number is not None and number < 0:
            raise UsageError(f"there is no box {number}", "count them from 0")
        if (number is None) == (box is None) or (cls is not None and box is None):
            raise UsageError(
                "a box is named by its number, or by a place",
                "say Box(7), or Box(box=(left, top, right, bottom)), with cls= where it is known",
            )
        object.__setattr__(self, "cls", cls)
        object.__setattr__(self, "number", None if number is None else int(number))
        object.__setattr__(self, "box", None if box is None else _edges(box))

    @property
    def quantity(self) -> str:
        """What it is, in words."""
        if self.number is None and self.box is not None:
            return f"score of the box at {', '.join(f'{e:g}' for e in self.box)}"
        return "score of a box" if self.number is None else f"score of box {self.number}"

    @property
    def turns(self) -> bool:
        """Whether it means the same in a mirrored input."""
        return False

    def described(self, labels: Sequence[str] | None, index: int = TOP) -> str:
        """Return the quantity in words, with the row where it is known."""
        return self.quantity if index == TOP else f"score of box {index}"

    def resolved(self, classes: int | None, labels: Sequence[str] | None) -> tuple[Target, int]:
        """Return the target of any box, and the row of this one; as it is where a place is asked.

        Raises:
            UsageError: There is no such class.
        """
        if self.box is not None:
            cls = None if self.cls is None else resolve_target(self.cls, classes, labels)
            return Box(box=self.box, cls=cls), TOP
        return _ANY, TOP if self.number is None else self.number

    def emit(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor:
        """y_c(p) of the highest class c at the box p in the explained input.

        Args:
            op: Emitter.
            outputs: The model's outputs.
            index: The row of the box of each input, int64 [N].

        Raises:
            UsageError: The scores have no positions, or fewer.
        """
        found = _found(op, outputs)
        place = op.Unsqueeze(index, axes=[1])
        if found.kept is not None:
            return at_position(op, found.kept.scores, place)
        own = of_class(op, found.scores, self.chosen(op, outputs, index))
        return at_position(op, own, place)

    def choice(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor | None:
        """Return the class of the box, int64 [N]; None behind the model's own suppression."""
        found = _found(op, outputs)
        if found.kept is not None:
            return None
        return at_position(op, found.classes(op), op.Unsqueeze(index, axes=[1]))

    def top(self, op: Emitter, outputs: Outputs) -> Tensor | None:
        """Return the row of the surest box, or of the one that overlaps the place most.

        Raises:
            UsageError: A place is asked for, and how boxes are written is not known.
        """
        found = _found(op, outputs)
        sure = found.best(op)
        if self.box is None:
            return op.ArgMax(sure, axis=1, keepdims=1)
        overlap, sure = self._near(op, found)
        return op.ArgMax(op.Mul(overlap, sure), axis=1, keepdims=1)

    def _near(self, op: Emitter, found: Found) -> tuple[Tensor, Tensor]:
        """Return how much each box overlaps the place, and how sure it is, float32 [N, R].

        Raises:
            UsageError: How boxes are written is not known.
        """
        boxes, sure = found.decoded(op), found.best(op)
        if boxes is None or self.box is None:
            raise UsageError(
                "a box is asked for by its place, and how this model writes its boxes is not known",
                "say its format and unit as `detector`, or name the box by its row",
            )
        sure = op.Sigmoid(sure) if found.logits and found.kept is None else sure
        overlap = _overlap(op, boxes, self.box)
        if self.cls is not None:
            assert isinstance(self.cls, int)
            own = op.Equal(found.classes(op), np.int64(self.cls))
            overlap = op.Mul(overlap, op.cast(own, np.float32))
        return overlap, op.cast(sure, np.float32)

    def there(self, op: Emitter, outputs: Outputs, chosen: Tensor) -> Tensor | None:
        """Tell whether the boxes at some rows are at the place, bool [N, K]."""
        if self.box is None:
            return None
        pairs = zip(self._near(op, _found(op, outputs)), (LEAST, UNSURE), strict=True)
        near, sure = (
            op.GreaterOrEqual(op.GatherElements(t, chosen, axis=1), np.float32(least))
            for t, least in pairs
        )
        return op.And(near, sure)

    def classes(self, op: Emitter, outputs: Outputs, chosen: Tensor) -> Tensor:
        """Return the class of each box, int64 [N, K], by their rows; -1 where none is there."""
        own = op.GatherElements(_found(op, outputs).classes(op), chosen, axis=1)
        there = self.there(op, outputs, chosen)
        return own if there is None else op.Where(there, own, np.int64(-1))


@dataclass(frozen=True)
class Detections(Target):
    """Every box that is sure: as many explanations of an input as it holds findings.

    Boxes of a class that overlap by more than ``same`` are one finding, of which the surest is
    explained; a model that suppresses boxes itself has done so already.

    Attributes:
        over: How sure a box must be, 0 to 1.
        same: Overlap (intersection over union) from which on two boxes are one.
    """

    over: float = OVER
    same: float = SAME
    placed: ClassVar[bool] = True
    many: ClassVar[bool] = True

    @property
    def quantity(self) -> str:
        """What it is, in words."""
        return f"score of every box over {self.over:g}"

    def resolved(self, classes: int | None, labels: Sequence[str] | None) -> tuple[Target, int]:
        """Return the target with the index of its class, None for all of them."""
        cls = None if self.cls is None else resolve_target(self.cls, classes, labels)
        return replace(self, cls=cls), TOP

    def emit(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor:
        """Raise: how many boxes there are is known when the model has run.

        Raises:
            UsageError: Always: the scores have no positions, or they are written into a file.
        """
        _found(op, outputs)
        raise UsageError(
            "a file returns as many maps as it is asked for, and how many boxes are sure differs",
            "write Detection() or Box(0) with `runtime_targets`, and feed rows in onnxcam.target",
        )


def any_box() -> Box:
    """Return the target of a box whose row comes with each call."""
    return _ANY


def _any() -> Box:
    found = Box(0)
    object.__setattr__(found, "number", None)
    return found


_ANY = _any()


def _edges(box: Sequence[float]) -> Edges:
    edges = tuple(float(e) for e in box)
    whole = len(edges) == 4 and all(np.isfinite(edges))
    if not whole or edges[0] >= edges[2] or edges[1] >= edges[3]:
        raise UsageError(
            f"no box {list(box)}", "give left, top, right and bottom, in pixels of the picture"
        )
    return edges  # type: ignore[return-value]


def _overlap(op: Emitter, boxes: Tensor, box: Edges) -> Tensor:
    """Return the intersection over union of boxes [N, R, 4] with one, float [N, R]."""
    first, last = (op.Slice(boxes, starts=[i], ends=[i + 2], axes=[2]) for i in (0, 2))
    low = op.Max(first, np.array(box[:2], np.float32))
    high = op.Min(last, np.array(box[2:], np.float32))
    shared = op.ReduceProd(op.Relu(op.Sub(high, low)), axes=[2], keepdims=0)
    own = op.ReduceProd(op.Relu(op.Sub(last, first)), axes=[2], keepdims=0)
    area = float((box[2] - box[0]) * (box[3] - box[1]))
    return op.Div(shared, op.Sub(op.Add(own, area), shared))


def _found(op: Emitter, outputs: Outputs) -> Found:
    """Return what a detector finds.

    Raises:
        UsageError: The scores have no positions.
    """
    if outputs.boxes is not None:
        return outputs.boxes
    scores = flat(op, by_position(op, outputs))  # says why there is none
    return Found(scores, scores, None, None)
