"""How four numbers become the box that they stand for: bent, scaled, mixed and moved.

Every form of :data:`onnxcam.analysis.detectors.FORMS` is

    box = (bend(numbers[order] * variances) * factor) @ matrix + offset

as left, top, right and bottom in pixels of the model's input, so that one record decodes in the
graph and outside of it. What factor and offset are, a row of the table below says: a step of the
grid, an anchor, the whole input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from onnxcam.analysis.detectors.anchors import anchored
from onnxcam.analysis.detectors.records import Detector, Scale

Array: TypeAlias = np.ndarray[Any, Any]

_EDGES = np.eye(4).tolist()
_CENTRED = [[1, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]]
_LARGEST = 4.135  # ln(1000 / 16): what torchvision and Detectron bound an exponent of a size by


@dataclass(frozen=True)
class _Form:
    """How a form is computed.

    Attributes:
        matrix: From the numbers to left, top, right and bottom.
        steps: What the first two numbers count and what the last two: "unit" as declared, "grid"
            steps of it, "anchor" its width and height, "input" that of the input.
        point: Where the box is measured from: "" (the input's corner), "middle" or "corner" of the
            cell, "anchor" (its middle) or "edges" of it.
        bends: Functions of the first two numbers and of the last two.
    """

    matrix: list[Any]
    steps: tuple[str, str] = ("unit", "unit")
    point: str = ""
    bends: tuple[str, str] = ("", "")


_FORMS: Mapping[str, _Form] = {
    "xyxy": _Form(_EDGES),
    "yxyx": _Form(_EDGES),
    "cxcywh": _Form(_CENTRED),
    "xywh": _Form([[1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]]),
    "ltrb": _Form(np.diag([-1, -1, 1, 1]).tolist(), point="middle"),
    "cxcywh-offset": _Form(_CENTRED, point="middle"),
    "deltas": _Form(_CENTRED, ("anchor", "anchor"), "anchor", ("", "exp")),
    "edge-deltas": _Form(_EDGES, ("anchor", "anchor"), "edges"),
    "yolov3": _Form(_CENTRED, ("grid", "anchor"), "corner", ("sigmoid", "exp")),
    "yolov5": _Form(_CENTRED, ("grid", "anchor"), "corner", ("double", "square")),
    "yolox": _Form(_CENTRED, ("grid", "grid"), "corner", ("", "exp")),
    "fastestdet": _Form(_CENTRED, ("grid", "input"), "corner", ("tanh", "sigmoid")),
}


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


BENDS: Mapping[str, Callable[[Array], Array]] = {
    "": lambda x: x,
    "exp": lambda x: np.exp(np.minimum(x, _LARGEST)),
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "double": lambda x: 2 * _sigmoid(x) - 0.5,
    "square": lambda x: (2 * _sigmoid(x)) ** 2,
}


@dataclass(frozen=True)
class Decoding:
    """How a box is read.

    Attributes:
        matrix: float32 [4, 4].
        factor: float32 [1 or A, 4].
        offset: float32 [1 or A, 4].
        bends: Names of the functions of the first two numbers and of the last two, of
            :data:`BENDS`.
        order: Where x, y and the other two stand among the numbers.
        variances: What the numbers are multiplied with first.
    """

    matrix: Array
    factor: Array
    offset: Array
    bends: tuple[str, str] = ("", "")
    order: tuple[int, ...] = (0, 1, 2, 3)
    variances: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)

    def __call__(self, numbers: Array) -> Array:
        """Return the boxes, left, top, right, bottom, of numbers [..., A, 4]."""
        scaled = numbers[..., list(self.order)] * np.array(self.variances, numbers.dtype)
        with np.errstate(over="ignore"):
            bent = [
                BENDS[b](scaled[..., i : i + 2]) for b, i in zip(self.bends, (0, 2), strict=True)
            ]
        boxes: Array = np.concatenate(bent, -1) * self.factor @ self.matrix + self.offset
        return boxes


def decoding(detector: Detector, size: tuple[int, int], count: int | None) -> Decoding | None:
    """Return how a detector's boxes are read, None where that is not known.

    Args:
        detector: The detector.
        size: Height and width of its input, pixels.
        count: How many positions it has; None where that is not known.

    Raises:
        UsageError: It is declared with anchors that are not as many as its positions.
    """
    if detector.form is None:
        return None
    form, said = _FORMS[detector.form], detector.coding
    whole = np.array([[size[1], size[0]] * 2], float)
    unit = detector.unit or "pixels"
    known = {"unit": {"normalised": whole, "pixels": np.ones((1, 4))}.get(unit), "input": whole}
    cells = anchors = None
    if unit == "cells" or form.point in ("middle", "corner") or "grid" in form.steps:
        cells = None if count is None else middles(detector.scales, size, count)
        if cells is None:
            return None
        known |= {"grid": cells[1], **({"unit": cells[1]} if unit == "cells" else {})}
    if "anchor" in form.steps:
        anchors = anchored(said, detector.scales, size, count)
        if anchors is None:
            return None
        known["anchor"] = anchors[:, [2, 3, 2, 3]]
    offset = _offset(form.point, cells, anchors)
    steps = [known[name] for name in form.steps]
    if any(step is None for step in steps):
        return None
    first, last = np.broadcast_arrays(*steps)  # type: ignore[arg-type]
    factor = np.concatenate([first[:, :2], last[:, 2:]], 1)
    matrix = np.array(form.matrix, np.float32)
    order = (1, 0, 3, 2) if detector.form == "yxyx" else (0, 1, 2, 3)
    return Decoding(
        matrix,
        factor.astype(np.float32),
        offset.astype(np.float32),
        said.bends or form.bends,
        said.order or order,
        said.variances,
    )


def _offset(point: str, cells: tuple[Array, Array] | None, anchors: Array | None) -> Array:
    """Return what boxes are measured from, twice x and y, [1 or A, 4]."""
    if cells is not None and point in ("middle", "corner"):
        return cells[0] if point == "middle" else cells[0] - cells[1] / 2
    if anchors is not None and point:
        middle, half = anchors[:, [0, 1, 0, 1]], anchors[:, [2, 3, 2, 3]] / 2
        return middle if point == "anchor" else middle + half * [-1, -1, 1, 1]
    return np.zeros((1, 4))


def needs_anchors(form: str) -> bool:
    """Tell whether a form counts from anchors."""
    return "anchor" in _FORMS[form].steps


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
