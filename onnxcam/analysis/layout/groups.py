"""Which axes a reshape keeps, joins and cuts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import TypeAlias

from onnxcam.graph.emit import Dim

Group: TypeAlias = tuple[list[int], list[int]]
_BATCH = "the batch"


def groups(source: Sequence[Dim], target: Sequence[Dim], *, batch: bool = False) -> list[Group]:
    """Return runs of axes of one shape and the runs of the other that they become.

    Args:
        source: A shape.
        target: Another of as many elements.
        batch: The first axis of the source is the batch: another symbol in its place is taken for
            it, where the known sizes of the other axes allow that.

    Returns:
        Pairs of a run of source axes and one of target axes with the same elements in the same
        order. A run may be empty, when the other has only ones.
    """
    if batch and not any(isinstance(d, int) for d in (*source[:1], *target[:1])):
        found = groups([_BATCH, *source[1:]], [_BATCH, *target[1:]])
        if all(_may_be_equal([source[i] for i in a], [target[i] for i in b]) for a, b in found):
            return found
    left = 0
    while left < min(len(source), len(target)) and _same(source[left], target[left]):
        left += 1
    right, most = 0, min(len(source), len(target)) - left
    while right < most and _same(source[-1 - right], target[-1 - right]):
        right += 1
    ends = len(source) - right, len(target) - right
    kept = [([i], [i]) for i in range(left)]
    kept_right = [([ends[0] + i], [ends[1] + i]) for i in range(right)]
    return [*kept, *_between(source, target, left, ends), *kept_right]


def _same(a: Dim, b: Dim) -> bool:
    return a is not None and a == b


def _may_be_equal(source: Sequence[Dim], target: Sequence[Dim]) -> bool:
    here, there = _sizes(source), _sizes(target)
    return here is None or there is None or prod(here) == prod(there)


def _between(
    source: Sequence[Dim], target: Sequence[Dim], start: int, ends: tuple[int, int]
) -> Iterator[Group]:
    """Match the axes between those that are kept, by the products of their sizes."""
    a, b = list(range(start, ends[0])), list(range(start, ends[1]))
    sizes = {0: _sizes([source[i] for i in a]), 1: _sizes([target[i] for i in b])}
    if sizes[0] is None or sizes[1] is None or prod(sizes[0]) != prod(sizes[1]):
        if a or b:
            yield a, b
        return
    left, whole = (a, b), (sizes[0], sizes[1])
    while a or b:
        run: Group = ([], [])
        products = [1, 1]
        while a or b:
            side = 0 if a and (not b or products[0] <= products[1]) else 1
            run[side].append(left[side].pop(0))
            products[side] *= whole[side][run[side][-1] - start]
            if products[0] == products[1] and run[0] and run[1]:
                break
        yield run


def _sizes(shape: Sequence[Dim]) -> list[int] | None:
    known = [d for d in shape if isinstance(d, int)]
    return known if len(known) == len(shape) else None
