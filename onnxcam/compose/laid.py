"""Where a map's cells lie on an axis of the input, in the graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from onnxcam.analysis.geometry.records import WHOLE, Area, Place
from onnxcam.graph.emit import Emitter, Tensor, shape_of

Size: TypeAlias = Sequence["int | Tensor"]
# The places of a Span: floats where the axis has a known size, else float64 [1] tensors too.
Edges: TypeAlias = "tuple[float | Tensor, ...]"


def laid(op: Emitter, area: Area | None, size: Size) -> list[Edges | None]:
    """Return where the cells of a layer lie on each axis of space; None for all of it.

    Args:
        op: Emitter.
        area: Where they lie; None for even shares of all of the input.
        size: Extents of the input's space.
    """
    if area is None or len(area.reaches) != len(size):
        return []
    pairs = zip(area.reaches, size, strict=True)
    return [None if r == WHOLE else tuple(_at(op, place, n) for place in r) for r, n in pairs]


def _at(op: Emitter, place: Place, extent: int | Tensor) -> float | Tensor:
    if isinstance(extent, int):
        return place.at(extent)
    if not place.share:
        return place.fixed
    return op.Add(op.Mul(op.cast(extent, np.float64), place.share), place.fixed)


def places(
    op: Emitter, few: int | Tensor, many: int | Tensor, span: Edges | None
) -> tuple[Tensor, Tensor]:
    """Return where samples of the input lie among cells.

    Args:
        op: Emitter.
        few: How many cells there are.
        many: How many samples.
        span: Where the cells lie; None for even shares of the whole axis.

    Returns:
        The number of the first cell behind a sample's place, int64 [many], 0 to ``few``; and how
        far behind the cell before it lies, in cells, float32 [many].
    """
    count = op.Squeeze(op.dims(many), axes=[0])
    index = op.Range(op.const(np.int64(0)), count, op.const(np.int64(1)))
    if span is None:
        # The centre is (2 i + 1) few / (2 many) - 1/2 steps; in whole numbers nothing is rounded.
        odd = op.Add(op.Mul(index, 2), 1)
        above, whole = op.Add(op.Mul(odd, op.dims(few)), count), op.Mul(count, 2)
        place = op.Div(above, whole)
        rest = op.cast(op.Sub(above, op.Mul(place, whole)), np.float32)
        return place, op.Div(rest, op.cast(whole, np.float32))
    cells = op.cast(op.dims(few), np.float64)
    centre = op.Max(op.Min(_centre(op, index, cells, span), cells), -1.0)
    behind = op.Min(op.Add(op.Floor(centre), 1.0), cells)
    return op.cast(behind, np.int64), op.cast(op.Sub(op.Add(centre, 1.0), behind), np.float32)


def _centre(op: Emitter, index: Tensor, cells: Tensor, span: Edges) -> Tensor:
    """Return where samples lie among cells, float64 [many]; 0 is the centre of the first."""
    first, last = span[:2]
    if isinstance(first, float) and isinstance(last, float):
        width: float | Tensor = last - first
    else:
        width = op.Sub(_tensor(op, last), first)
    away = op.Sub(op.Add(op.cast(index, np.float64), 0.5), first)
    return op.Sub(op.Div(op.Mul(away, cells), width), 0.5)


def inside(op: Emitter, many: int | Tensor, span: Edges) -> Tensor:
    """Return of each sample whether the cells are made of it, bool [many]."""
    count = op.Squeeze(op.dims(many), axes=[0])
    index = op.Range(op.const(np.int64(0)), count, op.const(np.int64(1)))
    middle = op.Add(op.cast(index, np.float64), 0.5)
    return op.And(op.GreaterOrEqual(middle, span[2]), op.LessOrEqual(middle, span[3]))


def nearest(
    op: Emitter, map: Tensor, axis: int, few: int | Tensor, many: int | Tensor, span: Edges | None
) -> Tensor:
    """Resample an axis by the nearest cell's value."""
    whole: Edges = (0.0, float(many)) if isinstance(many, int) else (0.0, _length(op, many))
    edges = span or (*whole, *whole)
    cells = op.cast(op.dims(few), np.float64)
    count = op.Squeeze(op.dims(many), axes=[0])
    index = op.Range(op.const(np.int64(0)), count, op.const(np.int64(1)))
    at = op.Floor(op.Add(_centre(op, index, cells, edges), 0.5))
    place = op.cast(op.Max(op.Min(at, op.Sub(cells, 1.0)), 0.0), np.int64)
    found = op.Gather(map, place, axis=axis)
    if span is None:
        return found
    behind = list(range(1, len(shape_of(map) or ()) - axis))
    mask = inside(op, many, span)
    return op.Where(op.Unsqueeze(mask, axes=behind) if behind else mask, found, 0)


def _length(op: Emitter, many: Tensor) -> Tensor:
    return op.cast(many, np.float64)


def _tensor(op: Emitter, edge: float | Tensor) -> Tensor:
    return op.const(np.array([edge], np.float64)) if isinstance(edge, float) else edge
