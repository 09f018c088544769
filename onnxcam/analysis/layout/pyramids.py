"""Tokens of several maps, one behind the other: a pyramid's scales, as a transformer reads them.

Deformable DETR and RT-DETR flatten the maps of their scales and join them along the tokens. Taken
for one map with class tokens behind it, the largest would be drawn alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from onnxcam.analysis.layout.atoms import UNKNOWN, Axis
from onnxcam.analysis.layout.meaning import Meaning
from onnxcam.graph import ir
from onnxcam.graph.emit import Tensor, shape_of


def pyramid(inputs: Sequence[Tensor], found: Mapping[int, Meaning], axis: int) -> Axis | None:
    """Return what an axis is along which the tokens of several maps are joined.

    Args:
        inputs: What is joined.
        found: What is known of tensors, by their ids.
        axis: Along which axis.

    Returns:
        The axis, unknown where the extents of a map are. None where there are not several maps, of
        different sizes, of one and the same input: two pictures behind one another are no scales.
    """
    parts = [(t, _tokens(found.get(id(t)), axis)) for t in inputs]
    maps = [(t, part) for t, part in parts if part is not None]
    if len(maps) < 2 or not frozenset.intersection(*(_sources(t) for t, _ in maps)):
        return None
    first, grids = maps[0][1], [grid for _, part in maps for grid in _grids(part)]
    if len(set(grids)) < 2:
        return None
    sizes = [_size(t, axis) for t in inputs]
    if any(None in grid for grid in grids) or None in sizes:
        return UNKNOWN
    known = [tuple(d for d in grid if d is not None) for grid in grids]
    places = [i for i, (_, part) in enumerate(parts) if part is not None]
    inside = [part for _, part in maps]
    gaps = [p.behind for p in inside[:-1]] + [p.before for p in inside[1:]]
    apart = [sum(map(prod, p.more)) for p in inside[:-1]] + [0] * (len(inside) - 1)
    if gaps != apart or places != list(range(places[0], places[-1] + 1)) or first.before is None:
        return UNKNOWN  # something stands between the maps
    before = sum(s for s in sizes[: places[0]] if s is not None) + first.before
    total = sum(s for s in sizes if s is not None)
    return Axis(first.atoms, before, total - before - prod(known[0]), tuple(known[1:]))


def _tokens(meaning: Meaning | None, axis: int) -> Axis | None:
    """Return an axis of tokens, None for any other."""
    if meaning is None or len(meaning.axes) <= axis or meaning.read().axes[axis] != "T":
        return None
    return meaning.axes[axis]


def _grids(axis: Axis) -> list[tuple[int | None, ...]]:
    own = tuple(a.size if isinstance(a.size, int) else None for a in axis.wide)
    return [own, *axis.more]


def _size(tensor: Tensor, axis: int) -> int | None:
    shape = shape_of(tensor) or ()
    size = shape[axis] if axis < len(shape) else None
    return size if isinstance(size, int) else None


def _sources(tensor: Tensor) -> frozenset[int]:
    """Return the ids of the graph's inputs that a tensor is computed from."""
    seen, stack, found = set[int](), [tensor], set[int]()
    while stack:
        current = stack.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if not current.inputs and current.name and not isinstance(current, ir.Constant):
            found.add(id(current))
        stack.extend(t for node in current.inputs for t in node.inputs)
    return frozenset(found)
