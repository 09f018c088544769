"""What is asked of every kind: a target for onnxcam, and what torch makes of the outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own habit

from kinds.kind import Kind, Outputs
from onnxcam import targets

Truth = Callable[[Kind, Outputs], "Tensor | None"]


@dataclass(frozen=True)
class Question:
    """A target.

    Attributes:
        name: What it is called.
        target: The target for a kind's network, from what it gave for the explained input.
        truth: The same by torch, float [N], from a kind's outputs; None where it makes no sense,
            and has to be refused.
        pinned: Returns the truth with what was found once for the explained input (the class, the
            box, its pixels), for other inputs; None where there is nothing to find.
        row: Which box it is about; None of none.
        each: Of a target that stands for many: what it stands for; None where it makes no sense.
    """

    name: str
    target: Callable[[Kind, Outputs], Any]
    truth: Truth
    pinned: Callable[[Kind, Outputs], Truth] | None = None
    each: Callable[[Kind, Outputs], Sequence[Question] | None] | None = None
    row: Callable[[Kind, Outputs], int | None] | None = None

    def fixed(self, kind: Kind, y: Outputs) -> Truth:
        """Return the truth of other inputs than the explained one, whose outputs are given."""
        return self.truth if self.pinned is None else self.pinned(kind, y)

    def parts(self, kind: Kind, y: Outputs) -> Sequence[Question] | None:
        """Return what is asked, one by one; None where it makes no sense."""
        if self.each is not None:
            return self.each(kind, y)
        return None if self.fixed(kind, y)(kind, y) is None else [self]


def _scores(kind: Kind, y: Outputs) -> Tensor:
    """Return the scores [N, C]: positions are summed over."""
    places = kind.scores(y)
    return places.flatten(2).sum(2) if places.ndim > 2 else places


def _class(kind: Kind, y: Outputs) -> int:
    return min(1, _scores(kind, y).shape[1] - 1)


def _own(kind: Kind, y: Outputs) -> Tensor:
    return _scores(kind, y)[:, _class(kind, y)]


def _plain(kind: Kind, y: Outputs) -> bool:
    """Tell whether there is one score for each class, which has a probability."""
    return kind.scores(y).ndim == 2 and kind.classes


def _top(kind: Kind, y: Outputs) -> Truth:
    """The highest class; of a detector that of the surest finding."""
    sure = _scores(kind, y)[..., None] if kind.sure is None else kind.sure(y)
    cls = int(sure.flatten(2).amax(2)[0].argmax())
    return lambda kind, y: _scores(kind, y)[:, cls]


def surest(cls: int | None) -> Callable[[Kind, Outputs], int | None]:
    """Return the box that is surest of a class; None for the surest of all."""

    def row(kind: Kind, y: Outputs) -> int | None:
        if kind.sure is None:
            return None
        sure = kind.sure(y)[0]
        own = int(sure.amax(1).argmax()) if cls is None else min(cls, len(sure) - 1)
        return int(sure[own].argmax())

    return row


def _probability(kind: Kind, y: Outputs) -> Tensor | None:
    scores = _scores(kind, y)
    if not _plain(kind, y) or (scores.shape[1] == 1 and kind.final != "sigmoid"):
        return None
    if kind.final == "sigmoid":
        return _own(kind, y).sigmoid()
    return scores.softmax(1)[:, _class(kind, y)]


def _log_probability(kind: Kind, y: Outputs) -> Tensor | None:
    scores = _scores(kind, y)
    if _probability(kind, y) is None:
        return None
    if kind.final == "sigmoid":
        return -F.softplus(-_own(kind, y))
    return scores.log_softmax(1)[:, _class(kind, y)]


def _margin(kind: Kind, y: Outputs) -> Tensor | None:
    scores = _scores(kind, y)
    return None if scores.shape[1] == 1 else scores[:, 1] - scores[:, 0]


def nonsense(kind: Kind, y: Outputs) -> None:
    """Return nothing: it makes no sense."""
    return None


def _finer(kind: Kind, y: Outputs) -> Truth:
    """Over the two classes that are most similar in the explained input."""
    scores = _scores(kind, y)
    if scores.shape[1] < 3:
        return nonsense
    near = (scores[0] - scores[0, 1]).abs()
    near[1] = float("inf")
    two = near.argsort()[:2]
    return lambda kind, y: _scores(kind, y)[:, 1] - _scores(kind, y)[:, two].mean(1)


def _no(kind: Kind, y: Outputs) -> Tensor | None:
    scores = _scores(kind, y)
    fits = kind.final == "sigmoid" or scores.shape[1] == 1
    return -_own(kind, y) if fits and kind.scores(y).ndim == 2 else None


def _region(kind: Kind, y: Outputs) -> Truth:
    """Over the pixels that are of the class in the explained input."""
    places = kind.scores(y).detach()
    if places.ndim == 2:
        return nonsense
    own = min(1, places.shape[1] - 1)
    inside = places[:, own] > 0 if places.shape[1] == 1 else places.argmax(1) == own
    return lambda kind, y: (kind.scores(y)[:, own] * inside).flatten(1).sum(1)


def _mask(kind: Kind, y: Outputs) -> Tensor | None:
    places = kind.scores(y)
    if places.ndim == 2:
        return None
    return (places[:, _class(kind, y)] * _half(places)).flatten(1).sum(1)


def _half(places: Tensor) -> Tensor:
    """Return a mask of every other position."""
    size = places.shape[2:]
    return (torch.arange(int(np.prod(size))) % 2 == 0).reshape(size)


def _at(kind: Kind, y: Outputs) -> Tensor | None:
    places = kind.scores(y)
    if places.ndim == 2:
        return None
    return places[(slice(None), _class(kind, y), *[-2] * (places.ndim - 2))]


def _similarity(kind: Kind, y: Outputs) -> Tensor | None:
    scores = _scores(kind, y)
    if scores.shape[1] == 1:
        return None
    reference = torch.arange(1.0, scores.shape[1] + 1)[None]
    return F.cosine_similarity(scores, reference)


def _function(kind: Kind, y: Outputs) -> Tensor | None:
    tensor = kind.scores(y) if kind.tensor is None else kind.tensor(y)
    return (tensor**3).flatten(1).sum(1)


def _cubes(kind: Kind, y: Outputs) -> Any:
    def cubes(y: Any) -> Any:
        """The axis of the inputs is the one that is 1; of several the first."""
        axes = [i for i, d in enumerate(y.shape) if i != list(y.shape).index(1)]
        return (y**3).sum(axis=tuple(axes))

    return cubes


def _of_class(make: Callable[[int], Any]) -> Callable[[Kind, Outputs], Any]:
    return lambda kind, y: make(_class(kind, y))


def _masked(kind: Kind, y: Outputs) -> Any:
    places = kind.scores(y)
    mask = _half(places) if places.ndim > 2 else torch.ones(3)
    return targets.Region(_class(kind, y), mask.numpy())


def _placed(kind: Kind, y: Outputs) -> Any:
    return targets.At([-2] * max(kind.scores(y).ndim - 2, 1), _class(kind, y))


def _alike(kind: Kind, y: Outputs) -> Any:
    return targets.Similarity(np.arange(1.0, kind.scores(y).shape[1] + 1))


QUESTIONS = (
    Question("top class", lambda *_: None, _own, _top, row=surest(None)),
    Question("class", _of_class(int), _own, row=surest(1)),
    Question("probability", _of_class(targets.Probability), _probability),
    Question("log-probability", _of_class(targets.LogProbability), _log_probability),
    Question("margin", lambda *_: targets.Margin(1, 0), _margin),
    Question("Finer-CAM", lambda *_: targets.Finer(1, 2), nonsense, _finer),
    Question("sigmoid's no", _of_class(lambda c: targets.Binary(c, False)), _no),
    Question("sum", lambda *_: targets.Sum(), lambda kind, y: _scores(kind, y).sum(1)),
    Question("region", _of_class(targets.Region), nonsense, _region),
    Question("mask", _masked, _mask),
    Question("place", _placed, _at),
    Question("similarity", _alike, _similarity),
    Question("function", _cubes, _function),
)
