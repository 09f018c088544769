"""How far two maps of one input agree."""

from __future__ import annotations

from functools import lru_cache
from math import ceil
from typing import Any, TypeAlias

import numpy as np

from onnxcam.audit.extras import needed
from onnxcam.audit.summary import reduced

Array: TypeAlias = np.ndarray[Any, Any]
TOP = 0.2  # of the places, for the intersection over union
FLIP = 0.5  # rank correlation below which an explanation counts as another one
_MOST, _EARTH = 64, 8  # places along an axis: of the grid, and of that for earth mover's distance


def agreement(first: Array, second: Array) -> dict[str, float | None]:
    """Return how far two maps agree; the names are those of the columns of a pair.

    Both maps are brought to the coarser one's grid, by area means, and to 64 places an axis. What
    is undefined is None: correlations and structural similarity of a map that is constant, the
    earth mover's distance where a map is nowhere positive.

    Args:
        first: float [*space].
        second: float, of as many axes.

    Returns:
        - spearman, pearson: -1 to 1 (Spearman 1904; mean ranks for ties).
        - ssim: structural similarity (Wang et al. 2004; scikit-image's, window of 7 or the grid)
          of the maps, each divided by its largest magnitude.
        - iou: of the 20 % of places with the highest values, common / all; of places of one value
          the first are taken.
        - peak_shift: Euclidean distance of the highest places, in edges of the input.
        - emd: Wasserstein-1 distance of the positive parts, each of sum 1, on a grid of at most 8
          places an axis; the ground distance is the sum of those along the axes, in edges.
    """
    a, b = on_one_grid(first, second)
    found: dict[str, float | None] = {"iou": _overlap(a, b), "peak_shift": _peak_shift(a, b)}
    same = np.array_equal(a, b)
    if np.ptp(a) > 0 and np.ptp(b) > 0:
        found["pearson"] = 1.0 if same else _correlation(a.ravel(), b.ravel())
        found["spearman"] = 1.0 if same else spearman(a, b)
        found["ssim"] = 1.0 if same else _similarity(a, b)
    found["emd"] = earth_movers(a, b)
    return found


def on_one_grid(first: Array, second: Array) -> tuple[Array, Array]:
    """Return both maps on the grid of the coarser one, float64, what is not finite as 0."""
    shape = [min(n, m, _MOST) for n, m in zip(first.shape, second.shape, strict=True)]
    return _at(first, shape), _at(second, shape)


def _at(map: Array, shape: list[int]) -> Array:
    values = np.where(np.isfinite(map), map, 0).astype(np.float64)
    for axis, length in enumerate(shape):
        values = reduced(values, axis, length)
    return values


def spearman(a: Array, b: Array) -> float:
    """Return the rank correlation of two arrays, ties with their mean rank."""
    rank = needed("scipy.stats", "rank correlation").rankdata
    return _correlation(rank(a.ravel()), rank(b.ravel()))


def _correlation(a: Array, b: Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(np.clip(a @ b / scale, -1, 1)) if scale else 0.0


def _similarity(a: Array, b: Array) -> float | None:
    window = min(7, *a.shape)
    window -= 1 - window % 2
    if window < 3:
        return None
    from skimage.metrics import structural_similarity

    a, b = a / np.abs(a).max(), b / np.abs(b).max()
    span = max(a.max(), b.max()) - min(a.min(), b.min())
    found = structural_similarity(a, b, win_size=window, data_range=span)  # type: ignore[no-untyped-call]
    return float(found)


def _overlap(a: Array, b: Array) -> float:
    count = ceil(TOP * a.size)
    first, second = (set(np.argsort(-m.ravel(), kind="stable")[:count].tolist()) for m in (a, b))
    return len(first & second) / len(first | second)


def _peak_shift(a: Array, b: Array) -> float:
    first, second = (np.unravel_index(int(np.argmax(m)), m.shape) for m in (a, b))
    parts = [(int(i) - int(j)) / n for i, j, n in zip(first, second, a.shape, strict=True)]
    return float(np.hypot.reduce(parts))


def earth_movers(a: Array, b: Array) -> float | None:
    """Return the Wasserstein-1 distance of two maps' positive parts; see :func:`agreement`.

    Earth flows from a place to its neighbours; with such a ground distance the cheapest flow that
    evens the maps out is the distance (Ling and Okada, EMD-L1, 2007), exactly.
    """
    for axis, length in enumerate(a.shape):
        size = min(length, _EARTH)
        a, b = reduced(a, axis, size), reduced(b, axis, size)
    p, q = np.maximum(a, 0), np.maximum(b, 0)
    if not p.sum() > 0 or not q.sum() > 0:
        return None
    surplus = p / p.sum() - q / q.sum()
    if np.abs(surplus).max() < 1e-12:
        return 0.0
    if a.ndim == 1:
        return float(np.abs(np.cumsum(surplus)).sum() / a.size)
    incidence, costs = _edges(a.shape)
    solve = needed("scipy.optimize", "earth mover's distance").linprog
    # One equation follows from the others: without it rounding cannot contradict them.
    found = solve(costs, A_eq=incidence[:-1], b_eq=surplus.ravel()[:-1], method="highs")
    return float(found.fun) if found.success else None


@lru_cache(maxsize=16)
def _edges(shape: tuple[int, ...]) -> tuple[Any, Array]:
    """Return what flows out of every place along every edge (both ways), and what it costs."""
    places = np.arange(np.prod(shape)).reshape(shape)
    starts, ends, costs = [], [], []
    for axis, length in enumerate(shape):
        near = np.take(places, range(length - 1), axis).ravel()
        far = np.take(places, range(1, length), axis).ravel()
        starts += [near, far]
        ends += [far, near]
        costs += [np.full(2 * near.size, 1 / length)]
    start, end = np.concatenate(starts), np.concatenate(ends)
    edge = np.arange(start.size)
    values = np.concatenate([np.ones(start.size), -np.ones(end.size)])
    rows, columns = np.concatenate([start, end]), np.concatenate([edge, edge])
    sparse = needed("scipy.sparse", "earth mover's distance")
    made = sparse.csr_matrix((values, (rows, columns)), shape=(places.size, start.size))
    return made, np.concatenate(costs)
