"""How far what two models return is apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def farthest(got: Sequence[Any], want: Sequence[Any]) -> float:
    """Return the largest difference of any two, relative to the largest value; 0 for none."""
    return max((relative(a, b) for a, b in zip(got, want, strict=True)), default=0.0)


def relative(got: Any, want: Any) -> float:
    """Return the largest difference over the largest value; NaN in the same place is equal.

    Sequences and maps, as of ZipMap, are compared part by part: their keys must be the same.
    """
    if isinstance(want, dict):
        if not isinstance(got, dict) or list(got) != list(want):
            return float("inf")
        got, want = list(got.values()), list(want.values())
    if isinstance(want, list | tuple):
        if not isinstance(got, list | tuple) or len(got) != len(want):
            return float("inf")
        return max((relative(a, b) for a, b in zip(got, want, strict=True)), default=0.0)
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape:
        return float("inf")
    if got.size == 0 or np.array_equal(got, want, equal_nan=got.dtype.kind == "f"):
        return 0.0
    a, b = got.astype(np.float64), want.astype(np.float64)
    return float(np.nanmax(np.abs(a - b)) / (np.nanmax(np.abs(b)) or 1.0))
