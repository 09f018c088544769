"""Where the cells of an axis of a map lie on the same axis of the input."""

from __future__ import annotations

from typing import NamedTuple


class Span(NamedTuple):
    """The place of the cells of one axis, in samples of the input: sample i lies from i to i + 1.

    Attributes:
        first: The outer edge of the first cell.
        last: The outer edge of the last cell; before ``first`` where the axis is reversed.
        begin: Where the part of the input begins that the cells are made of.
        end: Where it ends: outside of it a map is 0, inside the border's values are repeated.
    """

    first: float
    last: float
    begin: float
    end: float
