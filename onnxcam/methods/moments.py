"""The mean of many answers, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]


class Moments:
    """Mean and standard error of what is added one by one, in double precision (Welford 1962).

    Attributes:
        count: How many were added.
        mean: Their mean, float64.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: Array = np.zeros(())
        self._squares: Array = np.zeros(())

    def add(self, value: Array) -> None:
        """Add a value; all have one shape."""
        self.count += 1
        if self.count == 1:
            self.mean = np.array(value, np.float64)
            self._squares = np.zeros_like(self.mean)
            self._away, self._left = np.empty_like(self.mean), np.empty_like(self.mean)
            return
        # In place: new arrays for every value take longer than what is done with them.
        np.subtract(value, self.mean, out=self._away)
        self.mean += np.divide(self._away, self.count, out=self._left)
        np.subtract(value, self.mean, out=self._left)
        self._squares += np.multiply(self._left, self._away, out=self._left)

    @property
    def error(self) -> Array:
        """The standard error of the mean; infinite for a single value."""
        if self.count < 2:
            return np.full_like(self.mean, np.inf)
        found: Array = np.sqrt(self._squares / (self.count - 1) / self.count)
        return found

    def error_among(self, size: int | None) -> Array:
        """Return the standard error of the mean of what was drawn from a set, nothing twice.

        Args:
            size: How many the set holds: 0 is the error of all of them; None for any number.
        """
        if size is not None and self.count >= size:
            return np.zeros_like(self.mean)
        within = 1.0 if size is None else np.sqrt((size - self.count) / (size - 1))
        return np.asarray(self.error * within)


class Fourth:
    """The variance of what is added one by one, and how sure it is (Pebay 2008, equation 2.1).

    Attributes:
        count: How many were added.
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean: Array = np.zeros(())
        self._powers: list[Array] = [np.zeros(())] * 3  # sums of away^2, away^3, away^4

    def add(self, value: Array) -> None:
        """Add a value; all have one shape."""
        self.count += 1
        n, (two, three, four) = self.count, self._powers
        away = value - self._mean
        part = away / n
        term = away * part * (n - 1)
        four = four + term * part**2 * (n * n - 3 * n + 3) + 6 * part**2 * two - 4 * part * three
        three = three + term * part * (n - 2) - 3 * part * two
        self._mean = self._mean + part
        self._powers = [two + term, three, four]

    @property
    def variance(self) -> Array:
        """The variance of the values, divided by their number."""
        found: Array = self._powers[0] / self.count
        return found

    @property
    def error(self) -> Array:
        """The standard error of the variance."""
        fourth = self._powers[2] / self.count
        found: Array = np.sqrt(np.maximum(fourth - self.variance**2, 0) / self.count)
        return found


def jackknife(without: Sequence[Array]) -> Array:
    """Return the standard error of what is made of groups of samples (Tukey 1958).

    Args:
        without: What it would be without each of the groups, which are alike; infinite for one.
    """
    groups = len(without)
    if groups < 2:
        return np.full_like(without[0], np.inf)
    found = np.stack(without)
    away = np.square(found - found.mean(0)).sum(0)
    return np.asarray(np.sqrt(away * (groups - 1) / groups))
