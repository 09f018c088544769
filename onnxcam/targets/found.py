"""What a detector finds, as tensors: scores, probabilities and boxes at its positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onnxcam.autodiff.cotangents import one_hot
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, shape_of
from onnxcam.model.draft import Draft
from onnxcam.targets.decoded import decoded

if TYPE_CHECKING:  # what is no detector does not look for one
    from onnxcam.analysis.detectors import Boxes, Column, Detector, Head, Rows
    from onnxcam.analysis.detectors.decoding import Decoding


_END = int(np.iinfo(np.int64).max)


@dataclass(frozen=True)
class Kept:
    """What a model's own suppression left.

    Attributes:
        scores: Probabilities, float [N, R].
        boxes: Their boxes as the model writes them, float [N, R, 4].
        classes: int64 [N, R].
        numbers: The classes as the model writes them, [N, R].
    """

    scores: Tensor
    boxes: Tensor
    classes: Tensor
    numbers: Tensor


@dataclass(frozen=True)
class Found:
    """What a detector says at each of its A positions, of C classes.

    Attributes:
        scores: What is explained, float [N, C, A].
        sure: Probabilities, float [N, C, A], that of there being anything multiplied in; that of
            the class for nothing is taken away. Or logits, which order boxes alike: near 1
            probabilities are all the same.
        logits: Whether these are logits, of a Sigmoid.
        boxes: The boxes as the model writes them, float [N, A, 4]; None where they are not known.
        kept: What suppression left, None where the model has none.
        decoding: How boxes are read, None where that is not known.
        alone: Whether nothing but the rows is known that suppression left: `scores` are theirs,
            as if of one class.
    """

    scores: Tensor
    sure: Tensor
    boxes: Tensor | None
    kept: Kept | None
    decoding: Decoding | None = None
    logits: bool = False
    alone: bool = False

    @property
    def rows(self) -> int | None:
        """How many boxes there are, None where that is not known."""
        tensor = self.scores if self.kept is None else self.kept.scores
        size = (shape_of(tensor) or (None,))[-1]
        return size if isinstance(size, int) else None

    def best(self, op: Emitter) -> Tensor:
        """Return how sure each box is of its best class, float [N, rows]."""
        if self.kept is not None:
            return self.kept.scores
        return op.ReduceMax(self.sure, axes=[1], keepdims=0)

    def classes(self, op: Emitter) -> Tensor:
        """Return the class of each box, int64 [N, rows]."""
        if self.kept is not None:
            return self.kept.classes
        return op.ArgMax(self.sure, axis=1, keepdims=0)

    def decoded(self, op: Emitter) -> Tensor | None:
        """Return the boxes, float [N, rows, 4]: left, top, right, bottom in pixels of the input."""
        raw = self.boxes if self.kept is None else self.kept.boxes
        how = self.decoding
        if raw is None or how is None:
            return None
        return decoded(op, raw, how)


def found(
    draft: Draft,
    detector: Detector,
    score: Tensor,
    anything: Tensor | None,
    decoding: Decoding | None = None,
) -> Found:
    """Write what a detector finds.

    Args:
        draft: The model.
        detector: Where it says so.
        score: The reduction layer, which stands for the tensor of its name.
        anything: The probability that there is anything at each position; None for none.
        decoding: How boxes are read.
    """
    op, heads = draft.op, detector.heads
    kept = None if detector.rows is None else _kept(draft, detector.rows)
    if kept is not None and not heads:
        alone = op.Unsqueeze(kept.scores, axes=[1])
        return Found(alone, alone, None, kept, decoding, alone=True)
    own = [score if detector.single else draft.tensor(h.name) for h in heads]
    with op.scope("found"):
        parts = [_at_positions(op, t, h) for t, h in zip(own, heads, strict=True)]
        scores = _joined(op, parts, 2)
        said = [_anything(op, t, h, detector) for t, h in zip(own, heads, strict=True)]
        there = [t for t in said if t is not None]
        logits = detector.final == "Sigmoid" and not (detector.background or there)
        logits = logits and anything is None
        sure = scores if logits else _probable(op, scores, detector.final)
        if anything is not None:
            there = [op.Unsqueeze(op.Reshape(anything, [0, -1]), axes=[1])]
        if there:
            factors = [_joined(op, there, 2), sure]
            powers = zip(factors, detector.coding.powers, strict=True)
            sure = op.Mul(*(t if p == 1 else op.Pow(t, np.float32(p)) for t, p in powers))
        if detector.background:
            sure = _without_nothing(op, sure, detector.nothing)
        numbers = [_numbers(op, draft.tensor(b.name), b) for b in detector.boxes]
        boxes = _joined(op, numbers, 1) if numbers else None
    return Found(scores, sure, boxes, kept, decoding, logits)


def _joined(op: Emitter, parts: Sequence[Tensor], axis: int) -> Tensor:
    return parts[0] if len(parts) == 1 else op.Concat(*parts, axis=axis)


def _turned(op: Emitter, tensor: Tensor, order: Sequence[int | None]) -> Tensor:
    """Return a tensor with axes in an order; None stands for one of size 1."""
    axes = [axis for axis in order if axis is not None]
    if axes != list(range(len(axes))):
        tensor = op.Transpose(tensor, perm=axes)
    missing = [i for i, axis in enumerate(order) if axis is None]
    return op.Unsqueeze(tensor, axes=missing) if missing else tensor


def _at_positions(op: Emitter, tensor: Tensor, head: Head) -> Tensor:
    """Return the scores of a head as [N, C, A]."""
    tensor, own_axes = _each(op, tensor, head.each, head.classes)
    if own_axes:
        head = replace(head, space=own_axes)
    if head.first or head.last is not None:
        end = _END if head.last is None else head.last
        tensor = op.Slice(tensor, starts=[head.first], ends=[end], axes=[head.classes])
    own = (head.batch, head.classes)
    rest = list(head.space) or [i for i in range(_rank(tensor)) if i not in own]
    return _flat(op, _turned(op, tensor, (head.batch, head.classes, *rest)))


def _anything(op: Emitter, tensor: Tensor, head: Head, detector: Detector) -> Tensor | None:
    """Return the declared row of the probability that there is anything, [N, 1, A]."""
    if head.anything is None:
        return None
    row = replace(head, first=head.anything, last=head.anything + 1)
    value = _at_positions(op, tensor, row)
    return op.Sigmoid(value) if detector.final else value


def _flat(op: Emitter, scores: Tensor) -> Tensor:
    """Return [N, C, *positions] as [N, C, A]."""
    shape = list(shape_of(scores) or ())
    if len(shape) == 3:
        return scores
    if len(shape) == 2:
        return op.Unsqueeze(scores, axes=[2])
    flat = op.Reshape(scores, [0, 0, -1])
    sizes = [d for d in shape[2:] if isinstance(d, int)]
    if len(sizes) == len(shape) - 2:
        flat.shape = [*shape[:2], int(np.prod(sizes))]
    return flat


def _probable(op: Emitter, scores: Tensor, final: str) -> Tensor:
    if final == "Softmax":
        return op.Softmax(scores, axis=1)
    return op.Sigmoid(scores) if final == "Sigmoid" else scores


def nothing(op: Emitter, often: Tensor, place: int | None = None) -> Tensor:
    """Return 1 for the class that stands for nothing, and 0 for others, [N, C].

    It is the first (SSD and all of its kind) or the last (DETR): that of the two which is said at
    more positions, for in a crowd a class between them may be said at the most.

    Args:
        op: Emitter.
        often: The probability of each class, added up over all positions, [N, C].
        place: The class where that is known, counted from the end where it is negative.
    """
    kind, count = dtype_of(often) or np.dtype(np.float32), op.dim(often, 1)
    last = op.Sub(op.const(count, np.int64) if isinstance(count, int) else op.scalar(count), 1)
    ends = [op.Slice(often, starts=[i], ends=[e], axes=[1]) for i, e in ((0, 1), (-1, _END))]
    index = op.Where(op.Greater(ends[1], ends[0]), last, np.int64(0))
    if place is not None:
        known = np.int64(place) if place >= 0 else op.Add(last, np.int64(place + 1))
        index = op.Add(op.Mul(index, np.int64(0)), known)
    return one_hot(op, op.Squeeze(index, axes=[1]), count, kind)


def _without_nothing(op: Emitter, sure: Tensor, place: int | None) -> Tensor:
    """Return probabilities without that of the class for nothing."""
    often = op.ReduceSum(sure, axes=[2], keepdims=0)
    return op.Sub(sure, op.Mul(op.Unsqueeze(nothing(op, often, place), axes=[2]), 2))


def _numbers(op: Emitter, tensor: Tensor, boxes: Boxes) -> Tensor:
    """Return the numbers of boxes as [N, A, 4]."""
    tensor, own_axes = _each(op, tensor, boxes.each, boxes.axis)
    rows = boxes.first + 4 * max(boxes.bins, 1)
    four = op.Slice(tensor, starts=[boxes.first], ends=[rows], axes=[boxes.axis])
    own = (boxes.batch, boxes.axis)
    rest = list(own_axes or boxes.space) or [i for i in range(_rank(tensor)) if i not in own]
    turned = _turned(op, four, (boxes.batch, *rest, boxes.axis))
    if not boxes.bins:
        return op.Reshape(turned, [0, -1, 4])
    bins = op.Softmax(op.Reshape(turned, [0, -1, 4, boxes.bins]), axis=3)
    places = op.const(np.arange(boxes.bins).astype(dtype_of(tensor) or np.float32))
    return op.ReduceSum(op.Mul(bins, places), axes=[3], keepdims=0)


def _each(
    op: Emitter, tensor: Tensor, each: int, axis: int | None
) -> tuple[Tensor, tuple[int, ...]]:
    """Return a tensor [N, each * C, h, w] as [N, C, h, w, each], and its axes of positions."""
    if each == 1 or axis is None:
        return tensor, ()
    sizes = [op.dim(tensor, i) for i in (0, 2, 3)]
    apart = op.Reshape(tensor, op.dims(sizes[0], each, -1, *sizes[1:]))
    turned = op.Transpose(apart, perm=[0, 2, 3, 4, 1])
    shape = shape_of(tensor) or ()
    if len(shape) == 4 and isinstance(shape[1], int):
        turned.shape = [shape[0], shape[1] // each, *shape[2:], each]
    return turned, (2, 3, 4)


def _kept(draft: Draft, rows: Rows) -> Kept:
    op = draft.op
    scores = _column(draft, rows.scores)
    if rows.anything is not None:
        scores = op.Mul(scores, _column(draft, rows.anything))
    numbers = _column(draft, rows.classes) if rows.classes else op.Mul(scores, 0)
    box, tensor = rows.boxes, draft.tensor(rows.boxes.name)
    first = box.first or 0
    four = op.Slice(tensor, starts=[first], ends=[first + 4], axes=[box.rank - 1])
    boxes = op.Unsqueeze(four, axes=[0]) if box.rank == 2 else four
    boxes = op.Squeeze(boxes, axes=[0]) if box.rank == 4 else boxes
    return Kept(scores, boxes, op.cast(numbers, np.int64), numbers)


def _column(draft: Draft, column: Column) -> Tensor:
    """Return numbers of the rows as [N, R]."""
    op, tensor, rank = draft.op, draft.tensor(column.name), column.rank
    if column.first is not None:
        tensor = op.Gather(tensor, np.int64(column.first), axis=rank - 1)
        rank -= 1
    if rank == 3:  # [1, 1, R]
        return op.Squeeze(tensor, axes=[0])
    return op.Unsqueeze(tensor, axes=[0]) if rank == 1 else tensor


def _rank(tensor: Tensor) -> int:
    return len(shape_of(tensor) or ())
