"""Linear fits of scores to what was shown: weighted, ridged, with standard errors."""

from __future__ import annotations

import numpy as np

from onnxcam.methods.needs import Array


def ridge(rows: Array, scores: Array, weights: Array, penalty: float) -> tuple[Array, Array]:
    """Fit y = a + rows b: min over a, b of sum w (y - a - rows b)^2 + penalty |b|^2.

    Args:
        rows: float [N, R].
        scores: y, float [N, K].
        weights: w, float [N].
        penalty: Of the size of b; a has none.

    Returns:
        b and its standard errors, both float64 [K, R]. The error is the sandwich estimator's,
        which allows for scores that are not linear; infinite where N is no more than R + 1.
    """
    total = weights.sum()
    middle = rows - (weights @ rows) / total
    away = scores - (weights @ scores) / total
    return _solved(middle, away, weights, penalty, 1)


def constrained(
    rows: Array, rises: Array, weights: Array, whole: Array
) -> tuple[Array, Array]:  # fmt: skip
    """Fit y = rows b under sum b = whole, by weighted least squares.

    Args:
        rows: float [N, R], 0 or 1.
        rises: y, float [N, K].
        weights: float [N].
        whole: float [K].

    Returns:
        b and its standard errors, both float64 [K, R]; see :func:`ridge`.
    """
    count = rows.shape[1]
    if count == 1:
        return whole[:, None], np.zeros((len(whole), 1))
    free, last = rows[:, :-1] - rows[:, -1:], rows[:, -1:]
    found, error = _solved(free, rises - last * whole, weights, 0.0, 0)
    rest = whole[:, None] - found.sum(1, keepdims=True)
    return np.concatenate([found, rest], 1), np.concatenate([error, _of_sum(error)], 1)


def _solved(
    rows: Array, scores: Array, weights: Array, penalty: float, used: int
) -> tuple[Array, Array]:
    count, size = rows.shape
    weighted = rows * weights[:, None]
    inverse = np.linalg.pinv(rows.T @ weighted + penalty * np.eye(size), hermitian=True)
    found = inverse @ (weighted.T @ scores)  # [R, K]
    freedom = count - size - used
    if freedom <= 0:
        return found.T, np.full(found.T.shape, np.inf)
    missed = scores - rows @ found
    bread = weighted @ inverse  # [N, R]
    error = np.sqrt(np.square(bread).T @ np.square(missed) * (count / freedom))
    return found.T, error.T


def _of_sum(error: Array) -> Array:
    """Return about the error of a sum whose terms are independent, [K, 1]."""
    return np.asarray(np.sqrt(np.square(error).sum(1, keepdims=True)))
