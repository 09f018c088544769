"""Recipro-CAM."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, reduce
from math import prod

import numpy as np

from onnxcam.methods.needs import (
    Activation,
    Array,
    Ask,
    Layer,
    PlaceProbability,
    Places,
    PlaceScore,
)
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.perturb.hiding import chosen, score
from onnxcam.methods.registry import Cost, Estimate, sampled_method

_FEW = 2**16  # weights


@sampled_method(
    "recipro-cam",
    kind="head",
    needs=(Layer, Activation, Places, PlaceScore, PlaceProbability),
    cite="Byun and Lee, ReciproCAM, 2022, arXiv:2209.14074; ViT-ReciproCAM, 2023, arXiv:2310.02588",
    parameters=(
        Parameter("around", str, "gaussian", None, None, "part of the features that is left: a "
                  "position with its neighbours, weighted, or the position alone",
                  ("gaussian", "single")),
        score("probability"),
    ),
    cost=Cost(1, "positions"),
    anytime=True,
    claim="How probable the class is of the features of one position, and a little around it.",
    limits=(
        "As coarse as the layer. Features that only work together with far ones are not seen, and "
        "a head that expects a whole picture may say anything of a part."
    ),
)  # fmt: skip
def recipro_cam(
    layer: Array, a: Array, places: Array, scores: Ask, probabilities: Ask, *, around: str,
    score: str,
) -> Estimate:  # fmt: skip
    """L(p) = y(A m_p), m_p is 1/4 at the position p, 1/8 and 1/16 at its neighbours, 0 elsewhere.

    Along each axis the weights are 1/4, 1/2, 1/4. Class and register tokens stay as they are. The
    authors scale the map from 0 to 1 afterwards, which is left to whoever draws it.
    """
    inner, where = layer.shape[1:], places.ravel()
    tokens = np.ones(prod(inner), layer.dtype)  # those that are no positions stay
    first, rest = _weights(places.shape, around)

    def alone() -> Iterator[Array]:
        many = max(1, _FEW // rest.size)  # rows of positions in memory
        for begin in range(0, len(first), many):
            part = np.kron(first[begin : begin + many], rest)
            shares = np.broadcast_to(tokens, (len(part), len(tokens))).copy()
            shares[:, where] = part
            yield from shares.reshape(-1, *inner)

    ask = chosen(score, scores, probabilities)
    found = np.stack(list(ask(alone(), places.size)))
    map = np.zeros((found.shape[1], places.size))
    map[:, : len(found)] = found.T
    return Estimate(map.reshape(-1, *places.shape))


@lru_cache(maxsize=16)
def _weights(space: tuple[int, ...], around: str) -> tuple[Array, Array]:
    """Return the weights along the first axis of space, and those along all others together."""
    steps = {-1: 0.25, 0: 0.5, 1: 0.25} if around == "gaussian" else {0: 1.0}
    first, *others = (np.sum([w * np.eye(n, k=step) for step, w in steps.items()], 0, "f4")
                      for n in space)  # fmt: skip
    rest: Array = reduce(np.kron, others, np.ones((1, 1), np.float32))
    return first, rest
