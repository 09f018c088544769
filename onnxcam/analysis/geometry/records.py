"""Where the positions of a layer lie on the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from onnxcam.output.spans import Span

_NAMES = {1: ("samples",), 2: ("rows", "columns"), 3: ("slices", "rows", "columns")}


class Place(NamedTuple):
    """A place on an axis of the input, in samples: ``fixed + share * extent`` of that axis."""

    fixed: float
    share: float

    def at(self, extent: int) -> float:
        """Return the place where the axis has this extent."""
        return self.fixed + self.share * extent


class Reach(NamedTuple):
    """What a :class:`Span` is for any extent of the input: its four places."""

    first: Place
    last: Place
    begin: Place
    end: Place

    def span(self, extent: int) -> Span:
        """Return the span on an axis of this extent."""
        return Span(*(place.at(extent) for place in self))


WHOLE = Reach(Place(0.0, 0.0), Place(0.0, 1.0), Place(0.0, 0.0), Place(0.0, 1.0))


@dataclass(frozen=True)
class Area:
    """Where a layer's cells lie on the input, other than as even shares of all of it.

    Attributes:
        reaches: One for each axis of space, from depth to width.
        doubt: Why it is not known, in words; empty where it is.
    """

    reaches: tuple[Reach, ...] = ()
    doubt: str = ""

    def spans(self, size: Sequence[int]) -> tuple[Span, ...]:
        """Return the span of each axis of an input of this size; none where it is not known."""
        if len(self.reaches) != len(size):
            return ()
        return tuple(r.span(n) for r, n in zip(self.reaches, size, strict=True))

    def described(self, size: Sequence[int], cells: Sequence[int]) -> str:
        """Say on which part of an input of this size so many cells lie; "" for all of it."""
        spans = self.spans(size)
        named = zip(_NAMES.get(len(spans), ()), spans, size, cells, strict=False)
        return ", ".join(text for axis in named if (text := _text(*axis)))


def _text(name: str, span: Span, extent: int, cells: int) -> str:
    low, high = sorted((span.first, span.last))
    turned = span.first > span.last
    if cells == 1:  # it stands for all that it sees
        low, high, turned = span.begin, span.end, False
    low, high = max(low, 0.0), min(high, float(extent))  # cells over padding lie outside
    if not turned and low < 1 and extent - high < 1:
        return ""
    return f"{name} {low:.0f} to {high:.0f} of {extent}{' reversed' if turned else ''}"
