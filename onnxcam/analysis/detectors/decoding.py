"""How four numbers become the box that they stand for: a product, a factor and an offset.

Every form of :data:`onnxcam.analysis.detectors.FORMS` is linear in its numbers, so that one record
decodes in the graph and outside of it: ``box = (numbers @ matrix) * factor + offset``, as left,
top, right and bottom in pixels of the model's input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from onnxcam.analysis.detectors.records import Detector, Scale

Array: TypeAlias = np.ndarray[Any, Any]

_CENTRED = [[1, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]]
_MATRICES: Mapping[str, list[Any]] = {
    "xyxy": np.eye(4).tolist(),
    "yxyx": np.eye(4)[[1, 0, 3, 2]].tolist(),
    "cxcywh": _CENTRED,
    "ltrb": np.diag([-1, -1, 1, 1]).tolist(),
    "cxcywh-offset": _CENTRED,
}
_FROM_CELLS = ("ltrb", "cxcywh-offset")


@dataclass(frozen=True)
class Decoding:
    """How a box is read.

    Attributes:
        matrix: float32 [4, 4].
        factor: float32 [1 or A, 4].
        offset: float32 [1 or A, 4].
    """

    matrix: Array
    factor: Array
    offset: Array

    def __call__(self, numbers: Array) -> Array:
        """Return the boxes, left, top, right, bottom, of numbers [..., A, 4]."""
        boxes: Array = numbers @ self.matrix * self.factor + self.offset
        return boxes


def decoding(detector: Detector, size: tuple[int, int], count: int | None) -> Decoding | None:
    """Return how a detector's boxes are read, None where that is not known.

    Args:
        detector: The detector.
        size: Height and width of its input, pixels.
        count: How many positions it has; None where that is not known.
    """
    form, unit = detector.form, detector.unit or "pixels"
    if form is None:
        return None
    factor, offset = np.ones((1, 4)), np.zeros((1, 4))
    if unit == "normalised":
        factor = np.array([[size[1], size[0]] * 2], float)
    if unit == "cells" or form in _FROM_CELLS:
        cells = None if count is None else middles(detector.scales, size, count)
        if cells is None:
            return None
        factor = cells[1] if unit == "cells" else factor
        offset = cells[0] if form in _FROM_CELLS else offset
    parts = (np.array(_MATRICES[form]), factor, offset)
    return Decoding(*(part.astype(np.float32) for part in parts))


def middles(
    scales: Sequence[Scale], size: tuple[int, int], count: int
) -> tuple[Array, Array] | None:
    """Return the middle of the cell of each position, twice, and the steps of its grid, [A, 4].

    The positions of a scale go along its rows, all anchors of a cell one behind the other.

    Args:
        scales: The scales.
        size: Height and width of the input, pixels.
        count: How many positions there are.

    Returns:
        None where the scales do not have as many.
    """
    grids = [(s.grid, s.channels) for s in scales if s.grid is not None]
    maps = sum(g[0] * g[1] * channels for g, channels in grids)
    if len(grids) != len(scales) or not maps or maps % count:
        return None
    points, steps = [], []
    for (rows, columns), channels in grids:
        anchors, left = divmod(channels, maps // count)
        if left:
            return None
        high, wide = size[0] / rows, size[1] / columns
        y, x = np.mgrid[:rows, :columns].reshape(2, -1) + 0.5
        point = np.stack([x * wide, y * high] * 2, axis=1)
        points.append(np.repeat(point, anchors, axis=0))
        steps.append(np.tile([wide, high] * 2, (len(point) * anchors, 1)))
    return np.concatenate(points), np.concatenate(steps)
