"""How a detector writes its boxes, read off what it says of an input.

Four numbers are left, top, right, bottom where the third is always above the first and the fourth
above the second; a centre, width and height where the last two are never negative. Where the boxes
are read off a grid, they must also lie round its cells, or run along them: distances and offsets do
not. Numbers that fit nothing are left alone, for a box in the wrong place is worse than none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from onnxcam.analysis.detectors import Detector
from onnxcam.analysis.detectors.coding import Coding
from onnxcam.analysis.detectors.columns import spelt
from onnxcam.analysis.detectors.decoding import Decoding, decoding, middles
from onnxcam.errors import UsageError

Array: TypeAlias = np.ndarray[Any, Any]
_MOST = 0.98  # of the boxes must be as a form has them
_ROUND = 0.6  # of the boxes must hold the middle of the cell that they are read off,
_ALONG = 0.8  # or centres must correlate with these as much
_NEAR = (0.3, 0.5)  # the same, below which what is declared is refused
_WHOLE = 1e-3  # off that rounding may put a class or a probability
_FEW = 16  # boxes, of which order and sign say too little without a grid
_SAME_BOX = 1e-3  # of its largest edge that a box may be off that it is taken for
_ROWS = 32  # that are looked for among all boxes
_OUT = 0.1  # of the input that a box may stand out
_PARTS = 2.5  # where nine of ten numbers are below, they are parts of the picture, no pixels


def settled(
    detector: Detector, numbers: Array, size: tuple[int, int], *, grid: bool = True
) -> Detector:
    """Return a detector with form and unit of its boxes, where what it says shows them.

    Args:
        detector: The detector.
        numbers: What it says: [N, A, 4].
        size: Height and width of its input, pixels.
        grid: Whether these are at its positions, not behind suppression.
    """
    flat = numbers.reshape(-1, 4).astype(np.float64)
    if not len(flat) or not np.isfinite(flat).all() or min(size) < 2:
        return detector
    most = float(np.quantile(np.abs(flat), 0.9))
    unit = detector.unit or ("normalised" if most <= _PARTS else "pixels")
    cells = middles(detector.scales, size, numbers.shape[1]) if grid else None
    gridless = all(s.grid is None for s in detector.scales) or not grid
    if grid and not gridless and cells is None:
        return detector  # read off a grid that is not known: nothing holds the form
    for form in _likely(detector, flat, gridless, (1, 1) if unit == "normalised" else size):
        found = replace(detector, form=form, unit=unit)
        read = decoding(found, size, numbers.shape[1])
        if read is not None and (cells is None or _runs_along(read, numbers, cells[0], detector)):
            return found if cells is None else _nearer(found, numbers, size, cells[0])
    return detector


def matched(
    detector: Detector, kept: Array, taken: Array, size: tuple[int, int]
) -> Detector | None:
    """Return a detector with the form in which the rows that are kept are boxes that were taken.

    Args:
        detector: The detector, of which it is known how its suppression takes boxes.
        kept: The rows' numbers, [R, 4].
        taken: What suppression takes, [A, 4].
        size: Height and width of its input, pixels.

    Returns:
        None where no form, or not one alone, makes them so: boxes are moved apart by their class.
    """
    if detector.taken is None or not len(kept) or not np.isfinite(taken).all() or min(size) < 2:
        return None
    whole, centred = np.array([size[1], size[0]] * 2, float), detector.taken[1]
    own = _corners("cxcywh" if centred else "xyxy", taken.astype(np.float64))
    found = dict[str, float]()
    for form in ("xyxy", "cxcywh", "xywh"):
        edges = _corners(form, kept[:_ROWS].astype(np.float64))
        for step in (np.ones(4), 1 / whole, whole):  # of what it takes, in that of the rows
            near = np.abs(edges[:, None] - own * step).max(2).min(1)
            wide = np.abs(edges).max(1) + 1e-9
            if ((near / wide) < _SAME_BOX).mean() >= _MOST:
                found[form] = float(np.quantile(np.abs(own * step), 0.9))
    if len(found) != 1:
        return None
    ((form, most),) = found.items()
    form = "yxyx" if form == "xyxy" and _is_tensorflow(detector) else form
    unit = detector.unit or ("normalised" if most <= _PARTS else "pixels")
    return replace(detector, form=form, unit=unit)


def _corners(form: str, numbers: Array) -> Array:
    """Return boxes [R, 4] as left, top, right and bottom in their own unit."""
    if form in ("xyxy", "yxyx"):
        return numbers
    first = numbers[:, :2] - (numbers[:, 2:] / 2 if form == "cxcywh" else 0)
    return np.concatenate([first, first + numbers[:, 2:]], 1)


def _nearer(found: Detector, numbers: Array, size: tuple[int, int], cells: Array) -> Detector:
    """Return centre and size as left, top and size, where the middles then lie nearer the cells."""
    if found.form != "cxcywh" or found.corners is False:
        return found
    offs = []
    for form in ("cxcywh", "xywh"):
        read = decoding(replace(found, form=form), size, numbers.shape[1])
        assert read is not None
        boxes = read(numbers.astype(np.float64))
        middle = (boxes[..., :2] + boxes[..., 2:]) / 2
        offs.append(min(np.abs(middle - c[:, :2]).mean() for c in _orders(cells, found)))
    return found if offs[0] <= offs[1] else replace(found, form="xywh")


def hold_columns(detector: Detector, scores: Array, numbers: Array) -> None:
    """Refuse rows whose columns are not what they are taken for: no graph said it.

    Args:
        detector: The detector.
        scores: What is taken for probabilities, [N, R].
        numbers: What is taken for classes, [N, R].

    Raises:
        UsageError: They are no probabilities, or no whole numbers.
    """
    rows = detector.rows
    if rows is None or rows.sure:
        return
    whole = np.abs(numbers - np.round(numbers)).max(initial=0) <= _WHOLE
    sound = scores.min(initial=0) >= -1 - _WHOLE and scores.max(initial=0) <= 1 + _WHOLE
    if whole and sound:
        return
    listed = ", ".join(spelt(rows.letters))
    off = "scores that are no probabilities" if not sound else "classes that are no whole numbers"
    raise UsageError(
        f"read as {listed} the rows of {rows.boxes.name!r} have {off}",
        "say as `detector` what their columns are, such as columns=class,score,box",
    )


def held(
    detector: Detector, numbers: Array, size: tuple[int, int], *, grid: bool = True
) -> Detector:
    """Return a detector whose boxes are declared, when what it says of an input agrees.

    Args:
        detector: The detector.
        numbers: What it says: [N, A, 4].
        size: Height and width of its input, pixels.
        grid: Whether these are at its positions, not behind suppression.

    Raises:
        UsageError: Read as declared, the boxes lie nowhere near the cells that they are read off.
    """
    count = numbers.shape[1]
    if not grid or not count or min(size) < 2 or not np.isfinite(numbers).all():
        return detector
    read = decoding(detector, size, count)
    cells = middles(detector.scales, size, count)
    if read is None or cells is None or count < _FEW:
        return detector
    if _runs_along(read, numbers, cells[0], detector, least=_NEAR):
        return detector
    first = ", ".join(f"{v:.3g}" for v in read(numbers[0].astype(np.float64))[0])
    raw = ", ".join(f"{v:.3g}" for v in numbers[0, 0])
    grids = ", ".join(f"{s.grid[0]} x {s.grid[1]}" for s in detector.scales if s.grid is not None)
    likely = settled(replace(detector, form=None, unit=None, coding=Coding()), numbers, size)
    better = "" if likely.form is None else f" format={likely.form} and unit={likely.unit} fit;"
    raise UsageError(
        f"read as `detector` says (format {detector.form}, unit {detector.unit or 'pixels'}) the "
        f"{count} boxes do not lie along the grid ({grids}) of the input {size[1]} x {size[0]}: "
        f"the first, {raw}, became {first}",
        f"say another format, unit, order, variances or anchors;{better} without `detector` it is "
        "read off a run where that shows it",
    )


def _likely(
    detector: Detector, flat: Array, gridless: bool, size: tuple[int, int]
) -> Iterator[str]:
    """Yield the forms that numbers may be of, the likeliest first.

    Args:
        detector: The detector.
        flat: The numbers, [R, 4].
        gridless: Whether there is no grid to hold a form against.
        size: Height and width of the input in their unit.
    """
    ordered = float(((flat[:, 2:] >= flat[:, :2]).all(1)).mean()) >= _MOST
    sized = float(((flat[:, 2:] >= 0).all(1)).mean()) >= _MOST
    by_rows = detector.rows is not None
    edges = ordered and detector.corners is not False
    centred = sized and detector.corners is not True
    if edges and centred and gridless and not by_rows and len(flat) < _FEW:
        edges, centred = (_inside(flat, size, b) for b in (None, 0.5))
        if edges == centred:
            return  # both may be meant: a box in the wrong place is worse than none
    if edges:
        yield from ("yxyx", "xyxy") if _is_tensorflow(detector) else ("xyxy", "yxyx")
    if centred and not (by_rows and edges):
        near = gridless and detector.corners is None
        first = near and not _inside(flat, size, 0.5) and _inside(flat, size, 0)
        yield "xywh" if first else "cxcywh"


def _inside(flat: Array, size: tuple[int, int], before: float | None) -> bool:
    """Tell whether boxes lie in the input, but for a tenth of it.

    Args:
        flat: Their numbers, [R, 4].
        size: Height and width of the input in their unit.
        before: Which part of a size stands before the first two numbers; None for corners.
    """
    edges = flat
    if before is not None:
        wide = flat[:, 2:]
        edges = np.hstack([flat[:, :2] - before * wide, flat[:, :2] + (1 - before) * wide])
    part = edges / np.array([size[1], size[0]] * 2)
    return bool(((part > -_OUT) & (part < 1 + _OUT)).mean() >= _MOST)


def _is_tensorflow(detector: Detector) -> bool:
    """Tell whether the boxes bear the name that TensorFlow's detectors give theirs: top first."""
    names = [b.name for b in detector.boxes]
    if detector.rows is not None:
        names.append(detector.rows.boxes.name)
    return any("detection_boxes" in name for name in names)


def _runs_along(
    read: Decoding,
    numbers: Array,
    cells: Array,
    detector: Detector,
    least: tuple[float, float] = (_ROUND, _ALONG),
) -> bool:
    """Tell whether boxes lie where they are read off: round the middles of their cells."""
    boxes = read(numbers.astype(np.float64))
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2
    for order in _orders(cells, detector):
        inside = (boxes[..., :2] <= order[:, :2]) & (boxes[..., 2:] >= order[:, :2])
        if inside.all(-1).mean() >= least[0]:
            return True
        if all(_correlates(centres[..., i], order[:, i], least[1]) for i in (0, 1)):
            return True
    return False


def _orders(cells: Array, detector: Detector) -> Iterator[Array]:
    """Yield the middles of cells with the anchors of a cell together, and apart: layer by layer."""
    yield cells
    start, apart = 0, []
    maps = sum(s.grid[0] * s.grid[1] * s.channels for s in detector.scales if s.grid is not None)
    for scale in detector.scales:
        assert scale.grid is not None
        cell = scale.grid[0] * scale.grid[1]
        count = cell * scale.channels * len(cells) // maps
        part = cells[start : start + count]
        apart.append(part.reshape(cell, -1, 4).transpose(1, 0, 2).reshape(-1, 4))
        start += count
    yield np.concatenate(apart)


def _correlates(values: Array, along: Array, least: float) -> bool:
    """Tell whether values [N, A] run along others [A]; where these are all one nothing tells."""
    if np.ptp(along) == 0 or values.std() == 0:
        return bool(np.ptp(along) == 0)
    both = np.corrcoef(values.ravel(), np.broadcast_to(along, values.shape).ravel())[0, 1]
    return bool(both >= least)
