"""The smallest part of the input that suffices for the class, and the smallest that it needs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from onnxcam.methods.needs import Array, Ask, Input, InputGradient, Probability, Score
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.perturb.hiding import BASELINE, chosen, fill, nothing, score
from onnxcam.methods.perturb.masks import nearest
from onnxcam.methods.registry import Cost, Estimate, sampled_method

_CITE = "after Chockler et al., Explanations for Occluded Images, ICCV 2021 (ReX), definition 1"
_PARAMETERS = (
    Parameter("level", float, 0.5, 0.01, 1, "part of the whole input's answer that counts as the "
              "class: a region suffices from there on"),
    Parameter("cells", int, 14, 1, 1000, "number of cells along each axis of space that the region "
              "is thinned out by"),
    Parameter("disjoint", int, 1, 1, 1000, "number of regions that are sought, at most: each lies "
              "where those before it do not"),
    BASELINE, fill("value"), score("probability"),
)  # fmt: skip
_LIMITS = (
    "One of many such parts, and not surely the smallest: it grows from where the gradient is. "
    "What hides may itself mean something to the model."
)


def _region_method(
    name: str, claim: str
) -> Callable[[Callable[..., Estimate]], Callable[..., Estimate]]:
    """Enter a method whose map is a small region."""
    return sampled_method(
        name, kind="repeated", needs=(Input, InputGradient, Score, Probability), cite=_CITE,
        parameters=_PARAMETERS, cost=Cost(1, "cells x cells"), claim=claim, limits=_LIMITS,
        anytime=True,
    )  # fmt: skip


@_region_method(
    "sufficient-region",
    "A small part of the input, all else hidden, that the model needs no more than.",
)
def sufficient_region(
    x: Array, gradients: Ask, scores: Ask, probabilities: Ask, *, level: float, cells: int,
    disjoint: int, baseline: float, fill: str, score: str,
) -> Estimate:  # fmt: skip
    """M = 1 in S, else 0: S small with y(x in S, nothing elsewhere) >= level y(x).

    Places are ordered by |sum_c x_c dy/dx_c|, smoothed; the fewest of the highest that suffice are
    found by bisection, and cells of them that are not missed are then left out, the least first.
    `share` says what part of the input S is. y(x) must be above 0. With `disjoint` more regions are
    sought in the same way where none before lies (Chockler et al., Multiple Different Black Box
    Explanations for Image Classifiers, 2023, which searches from random places): M is 1 in the
    first, 1/2 in the second, 1/3 in the third; each by itself is a channel of the relief.
    """
    ask, empty = chosen(score, scores, probabilities), nothing(x, fill, baseline)

    def shown(part: Array) -> Array:
        return np.where(part, x, empty)

    return _regions(x, gradients, ask, cells, level, disjoint, shown, suffices=True)


@_region_method(
    "contrastive-region", "A small part of the input without which it is no longer the class."
)
def contrastive_region(
    x: Array, gradients: Ask, scores: Ask, probabilities: Ask, *, level: float, cells: int,
    disjoint: int, baseline: float, fill: str, score: str,
) -> Estimate:  # fmt: skip
    """M = 1 in S, else 0: S small with y(x without S) < level y(x).

    As `sufficient-region`, whose opposite it is: what suffices is not always needed.
    """
    ask, empty = chosen(score, scores, probabilities), nothing(x, fill, baseline)

    def left(part: Array) -> Array:
        return np.where(part, empty, x)

    return _regions(x, gradients, ask, cells, level, disjoint, left, suffices=False)


def _regions(
    x: Array, gradients: Ask, ask: Ask, cells: int, level: float, disjoint: int,
    made: Callable[[Array], Array], *, suffices: bool,
) -> Estimate:  # fmt: skip
    """Return the regions of every target."""
    (slopes,) = gradients([x])
    whole = list(ask([x]))
    found, doubts = [], []
    for k in range(len(slopes)):
        answer = float(whole[0][k]) if whole else 1.0

        def enough(part: Array, k: int = k, bar: float = level * answer) -> bool:
            there = list(ask([made(part)])) if whole else []
            if not there:
                raise _Stopped
            return bool(there[0][k] >= bar) == suffices

        parts, doubt = _several(_seed(x, slopes[k]), enough, cells, disjoint, suffices)
        found.append(parts)
        doubts.append(doubt if answer > 0 else "what is explained is not above 0: no part of it is")
    weights = 1 / np.arange(1, disjoint + 1)
    masks = [np.array([*each, *[0 * each[0]] * (disjoint - len(each))], float) for each in found]
    maps = np.stack([np.tensordot(weights, mask, 1) for mask in masks])
    facts = {"share": np.array([each[0].mean() for each in found])}
    if disjoint == 1:
        return Estimate(maps, facts=facts, doubts=tuple(doubts))
    facts["regions"] = np.array([sum(bool(part.any()) for part in each) for each in found])
    return Estimate(maps, facts=facts, doubts=tuple(doubts), relief=np.stack(masks))


def _several(
    seed: Array, enough: Callable[[Array], bool], cells: int, disjoint: int, suffices: bool
) -> tuple[list[Array], str | None]:
    """Return regions that share no place, the first at least, and what is to be said of that."""
    first, doubt = _grown(seed, enough, cells, suffices, np.ones(seed.shape, bool))
    parts, free = [first], ~first
    while doubt is None and len(parts) < disjoint and free.any():
        more, why = _grown(seed, enough, cells, suffices, free)
        if why is not None:  # none is left, or the answers have ended
            break
        parts.append(more)
        free = free & ~more
    return parts, doubt


class _Stopped(Exception):  # noqa: N818 - no error
    """There are no more answers."""


def _seed(x: Array, slope: Array) -> Array:
    """Return where first-order evidence lies, smoothed over a twentieth of each extent."""
    from scipy import ndimage

    evidence = np.abs((x * slope).sum(0, dtype=np.float64))
    return np.asarray(ndimage.gaussian_filter(evidence, [n / 20 for n in evidence.shape]))


def _grown(
    seed: Array, enough: Callable[[Array], bool], cells: int, suffices: bool, free: Array
) -> tuple[Array, str | None]:
    """Return a small region among free places that is enough, and what is to be said of it.

    Where the answers end it is the smallest so far: all of the input at the worst.
    """
    rank = np.empty(seed.size, np.int64)
    order = np.where(free, -seed, np.inf)
    rank[np.argsort(order.ravel(), kind="stable")] = np.arange(seed.size)
    rank = rank.reshape(seed.shape)
    parts = [free]
    try:
        if free.all() and enough(rank < 0):
            return rank < 0, "nothing of the input is needed: what hides it is this class as well"
        if not enough(parts[0]):
            what = "the whole input does not suffice" if suffices else "nothing is missed"
            return rank < 0, f"there is no such region: {what}"
        _cut_down(parts, rank, seed, enough, cells)
    except _Stopped:
        return parts[-1], "the region is not as small as it could be: the search has not ended"
    return parts[-1], None


def _cut_down(
    parts: list[Array], rank: Array, seed: Array, enough: Callable[[Array], bool], cells: int
) -> None:
    """Append smaller and smaller regions that are enough."""
    few, many = 0, int(parts[0].sum())  # few are not enough, many are
    while many - few > max(1, seed.size // 500):
        middle = (few + many) // 2
        if enough(rank < middle):
            many = middle
            parts.append(rank < many)
        else:
            few = middle
    grid = nearest(np.arange(cells**seed.ndim).reshape((cells,) * seed.ndim), seed.shape)
    weight = np.bincount(grid.ravel(), (seed * parts[-1]).ravel())
    for cell in sorted(set(grid[parts[-1]].tolist()), key=lambda c: float(weight[c])):
        thinner = parts[-1] & (grid != cell)
        if thinner.any() and enough(thinner):
            parts.append(thinner)
