"""What is asked of every kind: a target for onnxcam, and what torch makes of the outputs."""

from __future__ import annotations

from collections.abc import Callable
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
        target: The target for a kind's model; the first argument are its scores [N, C, *positions].
        truth: The same by torch, float [N], from a kind's outputs; None where it makes no sense,
            and has to be refused.
    """

    name: str
    target: Callable[[Tensor], Any]
    truth: Truth


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


def _top(kind: Kind, y: Outputs) -> Tensor | None:
    if kind.name in ("SSD", "UltraFace"):
        return _best_but_nothing(kind, y)
    scores = _scores(kind, y)
    if kind.best is not None:
        return scores[:, int(kind.best(y).flatten(2).amax(2).argmax(1))]
    return scores[:, int(scores.argmax(1))]


def _best_but_nothing(kind: Kind, y: Outputs) -> Tensor:
    chances = kind.scores(y).softmax(1)
    highest = chances.amax(2)[0].clone()
    highest[int(chances.sum(2)[0].argmax())] = -1
    return _scores(kind, y)[:, int(highest.argmax())]


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


def _finer(kind: Kind, y: Outputs) -> Tensor | None:
    scores = _scores(kind, y)
    if scores.shape[1] < 3:
        return None
    near = (scores[0] - scores[0, 1]).abs()
    near[1] = float("inf")
    return scores[:, 1] - scores[:, near.argsort()[:2]].mean(1)


def _no(kind: Kind, y: Outputs) -> Tensor | None:
    scores = _scores(kind, y)
    fits = kind.final == "sigmoid" or scores.shape[1] == 1
    return -_own(kind, y) if fits and kind.scores(y).ndim == 2 else None


def _region(kind: Kind, y: Outputs) -> Tensor | None:
    places = kind.scores(y)
    if places.ndim == 2:
        return None
    own = min(1, places.shape[1] - 1)
    inside = places[:, own] > 0 if places.shape[1] == 1 else places.argmax(1) == own
    return (places[:, own] * inside).flatten(1).sum(1)


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
    reference = torch.arange(1.0, scores.shape[1] + 1)[None]
    return F.cosine_similarity(scores, reference)


def _function(kind: Kind, y: Outputs) -> Tensor | None:
    tensor = kind.scores(y) if kind.tensor is None else kind.tensor(y)
    return (tensor**3).flatten(1).sum(1)


def _cubes(places: Tensor) -> Any:
    def cubes(y: Any) -> Any:
        """The axis of the inputs is the one that is 1; of several the first."""
        axes = [i for i, d in enumerate(y.shape) if i != list(y.shape).index(1)]
        return (y**3).sum(axis=tuple(axes))

    return cubes


def _of_class(make: Callable[[int], Any]) -> Callable[[Tensor], Any]:
    return lambda places: make(min(1, places.shape[1] - 1))


QUESTIONS = (
    Question("top class", lambda _: None, _top),
    Question("class", _of_class(int), _own),
    Question("probability", _of_class(targets.Probability), _probability),
    Question("log-probability", _of_class(targets.LogProbability), _log_probability),
    Question("margin", lambda _: targets.Margin(1, 0), _margin),
    Question("Finer-CAM", lambda _: targets.Finer(1, 2), _finer),
    Question("sigmoid's no", _of_class(lambda c: targets.Binary(c, False)), _no),
    Question("sum", lambda _: targets.Sum(), lambda kind, y: _scores(kind, y).sum(1)),
    Question("region", _of_class(targets.Region), _region),
    Question(
        "mask",
        lambda p: targets.Region(
            min(1, p.shape[1] - 1), (_half(p) if p.ndim > 2 else torch.ones(3)).numpy()
        ),
        _mask,
    ),
    Question(
        "place",
        lambda p: targets.At([-2] * max(p.ndim - 2, 1), min(1, p.shape[1] - 1)),
        _at,
    ),
    Question(
        "similarity",
        lambda p: targets.Similarity(np.arange(1.0, p.shape[1] + 1)),
        _similarity,
    ),
    Question("function", _cubes, _function),
)
