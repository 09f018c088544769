"""ROAD: the score while places are made up from their neighbours, so that no hole shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from onnxcam.errors import UsageError
from onnxcam.metrics.curves import scores_of
from onnxcam.metrics.registry import Array, Predict, metric
from onnxcam.metrics.sample import Explained, laid

_CITE = "Rong et al., A Consistent and Efficient Evaluation Strategy, ICML 2022"
PERCENTILES = (10, 20, 30, 40, 50, 60, 70, 80, 90)


@metric("road-morf", kind="faithfulness", better="lower", cite=_CITE)
def road_morf(explanation: Explained, predict: Predict, **options: Any) -> float:
    """Mean over percentiles q of p(x with what is above q made up) - p(x): most relevant first.

    The options are those of :func:`road`.
    """
    return float(_changes(explanation, predict, False, **options).mean())


@metric("road-lerf", kind="faithfulness", better="higher", cite=_CITE)
def road_lerf(explanation: Explained, predict: Predict, **options: Any) -> float:
    """Mean over percentiles q of p(x with what is least made up) - p(x): least relevant first.

    The options are those of :func:`road`.
    """
    return float(_changes(explanation, predict, True, **options).mean())


@metric("road", kind="faithfulness", better="higher", cite=_CITE)
def road(explanation: Explained, predict: Predict, **options: Any) -> float:
    """(LeRF - MoRF) / 2: how much more the highest places are missed than the lowest.

    Places are made up as weighted means of their neighbours (direct ones count twice), and a
    little noise. The percentiles are those of pytorch-grad-cam: at 10 only the lowest tenth of the
    places is kept.

    Args:
        explanation: Of one input, with its map at the input's size.
        predict: Inputs [N, ...] of the explanation's tensor, in its dtype -> scores [N, C].
        options: ``percentiles``, 0 to 100; ``noise``, the standard deviation of what is added
            (0.01); ``seed`` of it; ``batch_size``.

    Raises:
        InputError: The map or a score is not finite.
        UsageError: The map is not at the input's size.
    """
    high, low = (_changes(explanation, predict, least, **options).mean() for least in (False, True))
    return float((low - high) / 2)


def _changes(
    explanation: Explained, predict: Predict, least: bool, *,
    percentiles: Sequence[float] = PERCENTILES, noise: float = 0.01, seed: int = 0,
    batch_size: int = 1,
) -> Array:  # fmt: skip
    """Return how the score changes at each percentile."""
    map = laid(explanation)
    order = -map if least else map
    rng = np.random.default_rng(seed)

    def inputs() -> Iterator[Array]:
        yield explanation.tensor
        for percentile in percentiles:
            yield imputed(explanation, order < np.percentile(order, percentile), noise, rng)

    scores = scores_of(inputs(), predict, explanation.target, batch_size)
    return np.asarray(scores[1:] - scores[0])


def imputed(explained: Explained, kept: Array, noise: float, rng: np.random.Generator) -> Array:
    """Return an input in which what is not kept follows from its neighbours.

    Args:
        explained: Its input, and the meaning of its axes.
        kept: Bool [*space].
        noise: Standard deviation of what is added to made up places.
        rng: Where that comes from.

    Raises:
        UsageError: Nothing is kept: there is nothing to follow from.
    """
    if kept.all():
        return explained.tensor
    if not kept.any():
        raise UsageError("no place is kept", "give other `percentiles`")
    layout, x = explained.layout or "", explained.tensor
    axis = layout.index("C") if "C" in layout else None
    planes = x[None] if axis is None else np.moveaxis(x, axis, 0)
    values = planes.reshape(len(planes), -1).astype(np.float64)
    made = values.copy()
    solved = _solved(kept, values.T)
    made[:, ~kept.ravel()] = (solved + noise * rng.standard_normal(solved.shape)).T
    whole: Array = made.reshape(planes.shape).astype(x.dtype)
    found = whole[0] if axis is None else np.moveaxis(whole, 0, axis)
    return np.asarray(found)


def _solved(kept: Array, values: Array) -> Array:
    """Solve sum_j w_ij (v_i - v_j) = 0 for the places that are not kept.

    Args:
        kept: Bool [*space].
        values: [places, channels].

    Returns:
        [places not kept, channels].
    """
    from scipy.sparse import csr_array
    from scipy.sparse.linalg import splu

    unknown = np.flatnonzero(~kept.ravel())
    number = np.full(kept.size, -1)
    number[unknown] = np.arange(len(unknown))
    places = np.stack(np.unravel_index(unknown, kept.shape), 1)
    diagonal, right = np.zeros(len(unknown)), np.zeros((len(unknown), values.shape[1]))
    rows, columns, weights = [], [], []
    for offset in product((-1, 0, 1), repeat=kept.ndim):
        far = sum(map(abs, offset))
        if far == 0:
            continue
        weight, near = 0.5 ** (far - 1), places + offset
        inside = ((near >= 0) & (near < kept.shape)).all(1)
        at = np.ravel_multi_index(tuple(near[inside].T), kept.shape)
        row = np.flatnonzero(inside)
        diagonal[row] += weight
        known = number[at] < 0
        right[row[known]] += weight * values[at[known]]
        rows.append(row[~known])
        columns.append(number[at[~known]])
        weights.append(np.full(len(rows[-1]), -weight))
    every = np.arange(len(unknown))
    entries = np.concatenate([*weights, diagonal])
    where = np.concatenate([*rows, every]), np.concatenate([*columns, every])
    matrix = csr_array((entries, where), shape=(len(unknown),) * 2).tocsc()
    # It is symmetric: ordered as such it fills up least.
    solver = splu(matrix, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    found: Array = solver.solve(right)
    return found
