"""The mean of many answers, and how sure it is."""

from __future__ import annotations

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
        away = value - self.mean
        self.mean = self.mean + away / self.count
        self._squares = self._squares + away * (value - self.mean)

    @property
    def error(self) -> Array:
        """The standard error of the mean; infinite for a single value."""
        if self.count < 2:
            return np.full_like(self.mean, np.inf)
        found: Array = np.sqrt(self._squares / (self.count - 1) / self.count)
        return found
