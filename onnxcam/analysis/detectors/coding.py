"""What is declared of how a detector writes its boxes, beside form and unit."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Anchors:
    """Anchors as they are declared.

    Attributes:
        boxes: One a position: middle, width and height, [A, 4]; None where cells have theirs.
        cells: Width and height of those of a cell, pixels, [K, 2] a scale.
        point: Where in a cell their middle lies: 0.5 in its middle, 0 in its corner.
    """

    boxes: Array | None = None
    cells: tuple[Array, ...] = ()
    point: float = 0.5

    def __repr__(self) -> str:
        """Return what tells them from others: names of compiled models are made of it."""
        parts = self.cells if self.boxes is None else (self.boxes,)
        text = b"".join(np.ascontiguousarray(p, np.float64).tobytes() for p in parts)
        return f"Anchors({hashlib.sha256(text).hexdigest()[:16]}, {self.point})"


@dataclass(frozen=True)
class Coding:
    """What is declared of how boxes are written, beside form and unit.

    Attributes:
        anchors: The anchors; None for none.
        variances: What the numbers are multiplied with.
        order: Where x, y and the other two stand among the numbers; () for the form's own order.
        bends: Functions of the first two numbers and of the last two; () for the form's own.
        powers: Of the probability that there is anything, and of that of a class.
    """

    anchors: Anchors | None = None
    variances: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    order: tuple[int, ...] = ()
    bends: tuple[str, str] | tuple[()] = ()
    powers: tuple[float, float] = (1.0, 1.0)
