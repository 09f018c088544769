"""What is asked of what finds something: boxes by class, row, place, all that are sure, points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from kinds.answers import iou
from kinds.asked import Question, Truth, nonsense, surest
from kinds.kind import Kind, Outputs
from onnxcam import targets

_OVERLAP = 0.45


def _at_positions(kind: Kind, y: Outputs) -> Tensor | None:
    """Return the scores of every position, [N, C, A]; None where there are no positions."""
    places = kind.scores(y)
    return places.flatten(2) if places.ndim > 2 else None


def _sure(kind: Kind, y: Outputs) -> Tensor | None:
    """Return how sure positions are, [N, C, A]: of what is no detector in the order of scores."""
    return _at_positions(kind, y) if kind.sure is None else kind.sure(y)


def _cls(kind: Kind, y: Outputs) -> int:
    return min(1, kind.scores(y).shape[1] - 1)


def _score(cls: int, row: int) -> Truth:
    return lambda kind, y: kind.scores(y).flatten(2)[:, cls, row]


def _best(kind: Kind, y: Outputs) -> Truth:
    """The class where it is surest in the explained input."""
    sure, cls = _sure(kind, y), _cls(kind, y)
    return nonsense if sure is None else _score(cls, int(sure[0, cls].argmax()))


def _row(row: int) -> Callable[[Kind, Outputs], Truth]:
    """The class that is highest in a row of the explained input."""

    def found(kind: Kind, y: Outputs) -> Truth:
        sure = _sure(kind, y)
        return nonsense if sure is None else _score(int(sure[0, :, row].argmax()), row)

    return found


def _corners(kind: Kind, y: Outputs) -> Tensor | None:
    return None if kind.boxes is None else kind.boxes(y)[0].detach()


def _place(kind: Kind, y: Outputs) -> Tensor:
    """Return a box that overlaps one of the network's, and is none of them."""
    boxes = _corners(kind, y)
    if boxes is None:
        return torch.tensor([1.0, 2.0, 8.0, 9.0])
    largest = (boxes[:, 2:] - boxes[:, :2]).prod(1).argmax()
    return boxes[largest] + torch.tensor([0.2, 0.1, 0.1, 0.2])


def _placed(kind: Kind, y: Outputs) -> int | None:
    """Return the row whose box overlaps the place most, as sure as it is."""
    boxes, sure = _corners(kind, y), _sure(kind, y)
    if boxes is None or sure is None:
        return None
    return int((iou(boxes, _place(kind, y)) * sure[0].amax(0)).argmax())


def _overlapping(kind: Kind, y: Outputs) -> Truth:
    row = _placed(kind, y)
    return nonsense if row is None else _row(row)(kind, y)


def _least(kind: Kind, y: Outputs) -> float:
    """Return how sure a box must be so that three are."""
    sure = _sure(kind, y)
    if sure is None or kind.sure is None:
        return 0.5
    highest = sure[0].amax(0).sort(descending=True).values
    return float(highest[2] + highest[3]) / 2


def _each(kind: Kind, y: Outputs) -> Sequence[Question] | None:
    sure, boxes = _sure(kind, y), _corners(kind, y)
    if sure is None:
        return None
    chances = sure[0] if kind.sure is not None else sure[0].sigmoid()
    highest, classes = chances.max(0)
    rows: list[int] = []
    for row in highest.argsort(descending=True, stable=True).tolist():
        alike = [r for r in rows if classes[r] == classes[row]]
        apart = boxes is None or not alike or iou(boxes[alike], boxes[row]).max() <= _OVERLAP
        if highest[row] >= _least(kind, y) and apart:
            rows.append(row)
    return [
        Question(f"every sure box {r}", lambda *_: None, nonsense, _row(r), row=lambda *_, r=r: r)
        for r in rows
    ]


def _point(kind: Kind, y: Outputs) -> Truth:
    """The value at the peak of the explained input; or both coordinates."""
    places = kind.scores(y)
    if places.ndim == 4:
        return _score(1, int(places[0, 1].argmax()))
    two = places.ndim == 2 and places.shape[1] >= 4 and places.shape[1] % 2 == 0
    found = two and kind.final != "softmax"
    return (lambda kind, y: kind.scores(y)[:, 2:4].sum(1)) if found else nonsense


def _number(kind: Kind, y: Outputs) -> Any:
    return targets.Box(1)


FOUND = (
    Question(
        "best detection", lambda kind, y: targets.Detection(_cls(kind, y)), nonsense, _best,
        row=surest(1),
    ),
    Question("box by row", _number, nonsense, _row(1), row=lambda *_: 1),
    Question(
        "box by place", lambda kind, y: targets.Box(box=_place(kind, y).tolist()), nonsense,
        _overlapping, row=_placed,
    ),
    Question(
        "every sure box", lambda kind, y: targets.Detections(over=_least(kind, y)), nonsense,
        each=_each,
    ),
    Question("key point", lambda *_: targets.Keypoint(1), nonsense, _point),
)  # fmt: skip
