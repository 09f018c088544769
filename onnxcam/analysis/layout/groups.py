"""What the axes of two shapes with the same elements share: factors, and the groups they make."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple, TypeAlias

from onnxcam.graph.emit import Dim

Group: TypeAlias = tuple[list[int], list[int]]
_Left: TypeAlias = list[tuple[int, Dim]]  # the axes still to be matched, and what is left of each


class Factor(NamedTuple):
    """A factor that an axis of one shape and an axis of another have in common.

    Attributes:
        source: The axis of the source; None for a one that only the target has.
        target: The axis of the target; None for a one that only the source has.
        size: Its extent.
        sure: False where the axes hold the same elements but not in a way that is known.
    """

    source: int | None
    target: int | None
    size: Dim
    sure: bool = True


def factors(
    source: Sequence[Dim],
    target: Sequence[Dim],
    *,
    batch: bool = False,
    owners: Sequence[int] | None = None,
) -> list[Factor]:
    """Return the factors of two shapes with the same elements in the same order.

    Args:
        source: A shape.
        target: Another of as many elements.
        batch: The first axis of the source is the batch: another symbol in its place is taken for
            it, where the known sizes of the other axes allow that.
        owners: What each axis of the source belongs to: axes of one owner that meet as many of the
            target, of unknown extents, are taken for these.
    """
    a, b = list(enumerate(source)), list(enumerate(target))
    first, last = _matched(a, b, 0), _matched(a, b, -1)
    middle = _batch(a, b) if batch else []
    one_owner = owners is not None and len({owners[i] for i, _ in a}) == 1
    if len(a) == 1 or len(b) == 1 or not a or not b:
        middle += [Factor(i, j, q if len(a) == 1 else p) for i, p in a or _NO for j, q in b or _NO]
    elif one_owner and len(a) == len(b) and all(map(_may_be_equal, a, b)):
        middle += [Factor(i, j, q) for (i, _), (j, q) in zip(a, b, strict=True)]
    else:
        middle += [Factor(i, j, None, False) for i, _ in a for j, _ in b]
    return [*first, *(f for f in middle if f[:2] != (None, None)), *reversed(last)]


_NO: list[tuple[None, None]] = [(None, None)]


def _matched(a: _Left, b: _Left, end: int) -> list[Factor]:
    """Take from one end of two shapes what they share, as long as the extents say it."""
    found = []
    while a and b:
        (i, p), (j, q) = a[end], b[end]
        if p == q and p is not None:
            found.append(Factor(i, j, p))
            del a[end], b[end]
        elif p == 1 and isinstance(q, int):
            found.append(Factor(i, None, 1))
            del a[end]
        elif q == 1 and isinstance(p, int):
            found.append(Factor(None, j, 1))
            del b[end]
        elif isinstance(p, int) and isinstance(q, int) and min(p, q) and not max(p, q) % min(p, q):
            found.append(Factor(i, j, min(p, q)))
            for shape, axis, size, other in ((a, i, p, q), (b, j, q, p)):
                shape[end] = axis, size // other
                if size < other:
                    del shape[end]
        else:
            break
    return found


def _batch(a: _Left, b: _Left) -> list[Factor]:
    """Take the first axes of both for the batch, where no extent speaks against it."""
    if (
        len(b) < 2
        or not a
        or a[0][0]
        or b[0][0]
        or any(isinstance(d, int) for _, d in (a[0], b[0]))
    ):
        return []
    here, there = ([d for _, d in shape[1:]] for shape in (a, b))
    known = [[d for d in shape if isinstance(d, int)] for shape in (here, there)]
    whole = len(known[0]) == len(here) and len(known[1]) == len(there)
    if whole and prod(known[0]) != prod(known[1]):
        return []
    (i, size), (j, _) = a.pop(0), b.pop(0)
    return [Factor(i, j, size), *_matched(a, b, 0)]


def _may_be_equal(a: tuple[int, Dim], b: tuple[int, Dim]) -> bool:
    return a[1] == b[1] or not isinstance(a[1], int) or not isinstance(b[1], int)


def groups(source: Sequence[Dim], target: Sequence[Dim], *, batch: bool = False) -> list[Group]:
    """Return runs of axes of one shape and the runs of the other that they become.

    Args:
        source: A shape.
        target: Another of as many elements.
        batch: As for :func:`factors`.

    Returns:
        Pairs of a run of source axes and one of target axes with the same elements in the same
        order. A run may be empty, when the other has only ones.
    """
    found: list[Group] = []
    for i, j, *_ in factors(source, target, batch=batch):
        if not found or not _meets(found[-1], i, j):
            found.append(([], []))
        for run, axis in zip(found[-1], (i, j), strict=True):
            if axis is not None and axis not in run:
                run.append(axis)
    return found


def _meets(group: Group, i: int | None, j: int | None) -> bool:
    """Tell whether a factor belongs to a group: by an axis, or ones without a partner to others."""
    alone = not all(group) and None in (i, j) and bool(group[0]) == (j is None)
    return i in group[0] or j in group[1] or alone
