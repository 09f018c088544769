"""Rows that are decoded as they are looked at: an audit of many samples takes little memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias, overload

import numpy as np

from onnxcam.audit.records import Row

Array: TypeAlias = np.ndarray[Any, Any]
_AT_ONCE = 1024  # rows that are decoded together
_NOTHING: Mapping[str, Any] = MappingProxyType({})  # one for all rows that have none


class Table(Sequence[Row]):
    """Rows of an Arrow table.

    Args:
        table: The pyarrow table.
        picks: Which of its rows, int64 [N]; None for all.
    """

    def __init__(self, table: Any, picks: Array | None = None) -> None:
        self._table = table
        self._picks = np.arange(table.num_rows) if picks is None else picks

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self._picks)

    @overload
    def __getitem__(self, at: int) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> Table: ...
    def __getitem__(self, at: int | slice) -> Row | Table:
        """Return a row, or some as a table."""
        if isinstance(at, slice):
            return Table(self._table, self._picks[at])
        return decoded(self._table.take([int(self._picks[at])]))[0]

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows."""
        for start in range(0, len(self), _AT_ONCE):
            yield from decoded(self._table.take(self._picks[start : start + _AT_ONCE]))

    def take(self, at: Sequence[int]) -> Table:
        """Return rows by their places."""
        return Table(self._table, self._picks[np.asarray(at, np.int64)])

    def having(self, name: str, value: str) -> Table:
        """Return the rows with a value in a column."""
        column = self._table.column(name).to_numpy(zero_copy_only=False)
        return Table(self._table, self._picks[column[self._picks] == value])


def taken(rows: Sequence[Row], at: Sequence[int]) -> Sequence[Row]:
    """Return rows of a table, or of a list, by their places."""
    return rows.take(at) if isinstance(rows, Table) else [rows[k] for k in at]


def having(rows: Sequence[Row], name: str, value: str) -> Sequence[Row]:
    """Return the rows of a table or of a list with a value, or without that column."""
    if isinstance(rows, Table):
        return rows.having(name, value)
    return [r for r in rows if r.get(name, value) == value]


def decoded(table: Any) -> list[Row]:
    """Return the rows of a pyarrow table; a map in it is a mapping."""
    import pyarrow as pa

    maps = [f.name for f in table.schema if pa.types.is_map(f.type)]
    rows: list[Row] = table.to_pylist()
    for row in rows:
        for name in maps:
            row[name] = dict(row[name]) if row[name] else _NOTHING
    return rows
