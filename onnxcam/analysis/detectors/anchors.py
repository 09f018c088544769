"""Anchors (priors, default boxes) that a caller declares: given whole, or of every cell.

SSD, RetinaNet, Faster R-CNN and YOLO up to version 7 say how far a box is from an anchor, and where
their files leave it to the caller to add that up, the anchors are not in the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from onnxcam.analysis.detectors.coding import Anchors, Coding
from onnxcam.analysis.detectors.records import Scale
from onnxcam.errors import OnnxcamError, UsageError
from onnxcam.inputs.arrays import load_array
from onnxcam.inputs.labels import parse_json, read_text

Array: TypeAlias = np.ndarray[Any, Any]
ENDINGS = (".npy", ".json", ".csv", ".txt")  # of files with anchors
_PARTS = 2.5  # where all numbers are below, they are parts of the picture, no pixels


def anchored(
    coding: Coding, scales: Sequence[Scale], size: tuple[int, int], count: int | None
) -> Array | None:
    """Return the anchor of each position: middle, width and height in pixels, [A, 4].

    Args:
        coding: What is declared.
        scales: The detector's scales.
        size: Height and width of its input.
        count: How many positions there are; None where that is not known.

    Raises:
        UsageError: They are not as many as the positions, or do not lie on the grid.
    """
    if coding.anchors is None or count is None:
        return None
    said, grids = coding.anchors, [s.grid for s in scales if s.grid is not None]
    known = bool(grids) and len(grids) == len(scales)
    boxes, pairs = said.boxes, said.cells
    if boxes is not None and known and count != len(boxes) == len(grids):
        pairs, boxes = tuple(row.reshape(-1, 2) for row in boxes), None  # two of each cell
    if boxes is None:
        if not known or len(grids) != len(pairs):
            listed = ", ".join(f"{g[0]} x {g[1]}" for g in grids)
            has = f"the model has {len(grids)} ({listed})" if known else "no grid of it is known"
            raise UsageError(
                f"`detector` gives the anchors of a cell for {len(pairs)} scales, and {has}",
                f"give them for each scale, or all anchors: [{count}, 4]",
            )
        each = list(zip(grids, pairs, strict=True))
        boxes = np.concatenate([_of_scale(g, cell, said.point, size) for g, cell in each])
        shape = " + ".join(f"{g[0]}*{g[1]}*{len(cell)}" for g, cell in each)
    else:
        shape = str(list(boxes.shape))
        if np.abs(boxes).max() <= _PARTS:
            boxes = boxes * np.array([size[1], size[0]] * 2)
    if len(boxes) != count:
        raise UsageError(
            f"`detector` gives {len(boxes)} anchors ({shape}), and the model writes {count} boxes",
            f"give one for each: [{count}, 4]",
        )
    _held(boxes, size)
    return boxes


def _held(boxes: Array, size: tuple[int, int]) -> None:
    """Refuse anchors whose middles do not lie in the input, or that have no size.

    Raises:
        UsageError: They do not.
    """
    wide, edge = boxes[:, 2:], np.array(size[::-1])
    if (
        (wide > 0).all()
        and (boxes[:, :2] > -0.5 * edge).all()
        and (boxes[:, :2] < 1.5 * edge).all()
    ):
        return
    off = np.flatnonzero((wide <= 0).any(1) | (np.abs(boxes[:, :2] / edge - 0.5) >= 1).any(1))[0]
    raise UsageError(
        f"the anchors of `detector` do not lie in the input, {edge[0]} x {edge[1]}: as middle, "
        f"width and height anchor {off} is {', '.join(f'{v:.4g}' for v in boxes[off])}",
        "say its anchor_format, cxcywh or xyxy; in pixels of the input, or all in parts of it",
    )


def _of_scale(
    grid: tuple[int, int] | None, cell: Array, point: float, size: tuple[int, int]
) -> Array:
    assert grid is not None
    step = np.array([size[1] / grid[1], size[0] / grid[0]])
    y, x = np.mgrid[: grid[0], : grid[1]].reshape(2, -1) + point
    middle = np.repeat(np.stack([x, y], 1) * step, len(cell), axis=0)
    return np.concatenate([middle, np.tile(cell, (grid[0] * grid[1], 1))], 1)


def read_anchors(value: Any, form: str, point: float) -> Anchors:
    """Return anchors as a caller gives them.

    Args:
        value: A file (.npy, .json, .csv, .txt), an array [A, 4], or for each scale the widths and
            heights of a cell's anchors, pixels: ``[[10, 13, 16, 30, 33, 23], ...]``.
        form: How whole ones are written: "cxcywh" or "xyxy".
        point: Where in its cell an anchor's middle lies.

    Raises:
        UsageError: The file cannot be read, or these are no anchors.
    """
    given = _loaded(value) if isinstance(value, str | Path) else value
    try:
        whole = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        whole = None  # as many a scale as it likes
    if whole is not None and whole.ndim == 3 and whole.shape[0] == 1 and whole.shape[2] == 4:
        whole = whole[0]
    if whole is not None and whole.ndim == 2 and whole.shape[1] == 4:
        boxes = whole if form == "cxcywh" else _centred(whole)
        if not len(boxes) or not np.isfinite(boxes).all():
            raise UsageError("`detector` gives anchors that are no numbers", "give [A, 4]")
        return Anchors(boxes)
    try:
        cells = tuple(np.asarray(scale, np.float64).reshape(-1, 2) for scale in given)
    except (TypeError, ValueError):
        cells = ()
    if not cells or not all(len(c) and (c > 0).all() and np.isfinite(c).all() for c in cells):
        shape = "" if whole is None else f" of the shape {list(whole.shape)}"
        raise UsageError(
            f"`detector` gives anchors{shape}, which are none",
            "give one a box, [A, 4], or for each scale the widths and heights of a cell's: "
            "[[w, h, w, h], [w, h]]",
        )
    return Anchors(cells=cells, point=point)


def generated(sizes: Sequence[Any], ratios: Sequence[float], point: float) -> Anchors:
    """Return anchors of sizes a scale and ratios of height to width, as torchvision makes them.

    Raises:
        UsageError: These are no positive numbers.
    """
    try:
        rows = [np.asarray(s, np.float64).reshape(-1) for s in sizes]
        shape = np.asarray(ratios, np.float64).reshape(-1)
    except (TypeError, ValueError):
        rows, shape = [], np.zeros(0)
    if not rows or not len(shape) or not all((v > 0).all() and len(v) for v in (*rows, shape)):
        raise UsageError(
            "`detector` gives sizes and ratios of anchors that are no positive numbers",
            "give a list of sizes a scale and one of ratios: sizes = [[32], [64]]",
        )
    high = np.sqrt(shape)
    cells = tuple(
        np.stack([(row[None] / high[:, None]).ravel(), (row[None] * high[:, None]).ravel()], 1)
        for row in rows
    )
    return Anchors(cells=cells, point=point)


def _centred(edges: Array) -> Array:
    middle = (edges[:, :2] + edges[:, 2:]) / 2
    return np.concatenate([middle, edges[:, 2:] - edges[:, :2]], 1)


def _loaded(path: str | Path) -> Any:
    place, ending = Path(path), Path(path).suffix.lower()
    try:
        if ending not in ENDINGS:
            raise UsageError("no tensor of that name, and no such kind of file")
        if ending == ".npy":
            return load_array(place, "anchors")
        text = read_text(place)
        if ending == ".json":
            return parse_json(text, place)
        return [[float(v) for v in line.replace(",", " ").split()] for line in text.splitlines()]
    except (OnnxcamError, ValueError) as error:
        said = error.message if isinstance(error, OnnxcamError) else str(error)
        raise UsageError(
            f"no anchors can be read from {str(path)!r}: {said}",
            "give a .npy, .json, .csv or .txt file with four numbers a box",
        ) from None
