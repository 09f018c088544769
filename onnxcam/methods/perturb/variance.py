"""Which part of an answer's variance each of a few numbers has a share in: Sobol indices."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]


def designs(count: int, number: int, rng: np.random.Generator) -> Iterator[Array]:
    """Yield masks from 0 to 1, float64 [count]: 1 + count of them for each design.

    A design is two masks A and B of a Sobol sequence: first comes A, then A with each number from
    B. B alone need not be asked.

    Args:
        count: How many numbers there are.
        number: How many designs; a power of 2 is best.
        rng: Scrambles the sequence.
    """
    from scipy.stats import qmc

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of numbers that are no powers of 2
        both = qmc.Sobol(2 * count, scramble=True, rng=rng).random(number)
    for row in both:
        yield row[:count]
        for at in range(count):
            yield np.where(np.arange(count) == at, row[count:], row[:count])


def total_indices(answers: Array, count: int) -> tuple[Array, Array]:
    """Return the total index of each number and its standard error, float64 [K, count] (Jansen).

    S_i = sum_n (y(A_n) - y(C_in))^2 / (2 N Var y(A)), where C_i is A with number i from B (Jansen
    1999): the part of the variance that i has a share in, alone or with others. Of fewer than two
    whole designs nothing is known: 0, with an infinite error.

    Args:
        answers: To the masks of :func:`designs`, [N, K]; they may end early.
        count: How many numbers there are.
    """
    whole, kinds = len(answers) // (count + 1), answers.shape[1]
    if whole < 2:
        return np.zeros((kinds, count)), np.full((kinds, count), np.inf)
    y = answers[: whole * (count + 1)].astype(np.float64).reshape(whole, count + 1, kinds)
    gone = (y[:, :1] - y[:, 1:]) ** 2
    spread = y[:, 0].var(0, ddof=1)
    spread = np.where(spread > 0, spread, np.inf)
    indices = gone.mean(0) / (2 * spread)
    error = gone.std(0, ddof=1) / np.sqrt(whole) / (2 * spread)
    return indices.T, error.T
