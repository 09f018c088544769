"""Numbers that a graph computes from the sizes of its input: where a centre crop begins, say."""

from __future__ import annotations

from collections.abc import Sequence

from onnxcam.analysis.layout.values import Values
from onnxcam.graph import ir
from onnxcam.graph.emit import Tensor, shape_of

_TRIED = (16381, 32749, 24571)  # primes: what is rounded to multiples shows


class Computed:
    """What nodes compute from the input's sizes, as lines in these.

    Args:
        source: The input.
        size: The extent that stands for those of the input that are not known.
    """

    def __init__(self, source: Tensor, size: int) -> None:
        symbols = [d for d in shape_of(source) or () if isinstance(d, str)]
        self._size, self._values = size, [Values() for _ in _TRIED if symbols]
        for values, extent in zip(self._values, _TRIED, strict=False):
            for symbol in symbols:
                values.rename(symbol, extent)

    def numbers(self, node: ir.Node, place: int) -> list[int] | None:
        """Return the elements of an input at this size; None where they are not on a line."""
        columns = [values.vector(node, place) for values in self._values]
        if not columns or any(column is None for column in columns):
            return None
        found = [self._on_line(row) for row in zip(*(c or [] for c in columns), strict=True)]
        numbers = [n for n in found if n is not None]
        return numbers if len(numbers) == len(found) else None

    def _on_line(self, row: Sequence[object]) -> int | None:
        numbers = [n for n in row if isinstance(n, int)]
        if len(numbers) != len(_TRIED):
            return None
        first, last, middle = numbers
        share = (last - first) / (_TRIED[1] - _TRIED[0])
        if abs(first + share * (_TRIED[2] - _TRIED[0]) - middle) > 1:
            return None
        return round(first + share * (self._size - _TRIED[0]))
