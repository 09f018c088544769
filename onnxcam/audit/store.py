"""An audit's folder while it is filled: chunks of records, each there whole or not at all.

A chunk is a fixed part of the list of samples. Its maps and pairs are written first and its records
last: where the file of records is there, the chunk is done. So a run that was killed leaves neither
gaps nor doubles, and what it did not finish is what has no file.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnxcam.audit.extras import needed
from onnxcam.audit.records import KEY, MAPS, PAIRS, RECORDS, VERSION, Column, Row, schema
from onnxcam.audit.table import Table, decoded
from onnxcam.errors import InputError, OnnxcamError
from onnxcam.files import regular, write_whole

_ROWS, _BYTES = 1_000_000, 4_000_000_000  # of one file, unpacked
_KINDS = {"records": RECORDS, "pairs": PAIRS, "maps": MAPS}


@dataclass(frozen=True)
class Rows:
    """What comes of a chunk: rows of the three tables."""

    records: Sequence[Row]
    pairs: Sequence[Row] = ()
    maps: Sequence[Row] = ()


@dataclass(frozen=True)
class Store:
    """The tables of an audit.

    Attributes:
        folder: The audit's folder.
        chunk: Samples in a chunk.
    """

    folder: Path
    chunk: int

    def chunks(self, samples: int) -> range:
        """Return the numbers of all chunks."""
        return range(-(-samples // self.chunk))

    def part(self, number: int, samples: Sequence[Any]) -> Sequence[Any]:
        """Return the samples of a chunk."""
        return samples[number * self.chunk : (number + 1) * self.chunk]

    def missing(self, samples: int) -> list[int]:
        """Return the chunks that are not done."""
        return [n for n in self.chunks(samples) if not self._place("records", n).is_file()]

    def put(self, number: int, rows: Rows) -> None:
        """Write a chunk.

        Raises:
            OnnxcamError: It cannot be written, as on a full disk; the chunk is not done then.
        """
        for kind in ("maps", "pairs", "records"):  # in this order: records mean that all is there
            found: Sequence[Row] = getattr(rows, kind)
            if found or kind == "records":
                place = self._place(kind, number)
                place.parent.mkdir(parents=True, exist_ok=True)
                try:
                    write_whole(place, _parquet(found, _KINDS[kind]))
                except OnnxcamError as error:
                    hint = f"{error.hint}; what is written stays, go on with `resume=True`"
                    raise OnnxcamError(error.message, hint) from None

    def read(self, kind: str, columns: Sequence[str] | None = None) -> Iterator[Row]:
        """Yield the rows of a table, chunk by chunk.

        Args:
            kind: "records", "pairs" or "maps".
            columns: Those that are wanted; None for all.

        Raises:
            InputError: A file is damaged, or of another version.
        """
        for place in sorted((self.folder / kind).glob("*.parquet")):
            yield from decoded(_read(place, columns))

    def table(self, kind: str, columns: Sequence[str] | None = None) -> Sequence[Row]:
        """Return the rows of a table, packed: they are decoded as they are looked at.

        Args:
            kind: "records", "pairs" or "maps".
            columns: Those that are wanted; None for all.

        Raises:
            InputError: A file is damaged, or of another version.
        """
        pa = needed("pyarrow", "the records of an audit")
        parts = [_read(p, columns) for p in sorted((self.folder / kind).glob("*.parquet"))]
        return Table(pa.concat_tables(parts).combine_chunks()) if parts else []

    def _place(self, kind: str, number: int) -> Path:
        return self.folder / kind / f"{number:06d}.parquet"


def _parquet(rows: Iterable[Row], columns: tuple[Column, ...]) -> bytes:
    pa = needed("pyarrow", "the records of an audit")
    from pyarrow import parquet

    table = pa.Table.from_pylist([_cells(row) for row in rows], schema=schema(columns))
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _cells(row: Row) -> Row:
    """Return a row as pyarrow takes it: a mapping is a list of pairs there."""
    return {k: sorted(v.items()) if isinstance(v, dict) else v for k, v in row.items()}


def _within(said: Any, place: Path) -> None:
    """Check how much a table holds before it is unpacked: a kilobyte can say a billion rows."""
    groups = (said.row_group(k) for k in range(said.num_row_groups))
    size = sum(group.total_byte_size for group in groups)
    if said.num_rows > _ROWS or size > _BYTES:
        raise InputError(
            f"{place} says that it holds {said.num_rows:,} rows and {size:,} bytes, more than the "
            f"{_ROWS:,} and {_BYTES:,} that a chunk may have",
            "it is damaged",
        )


def _read(place: Path, columns: Sequence[str] | None) -> Any:
    pa = needed("pyarrow", "the records of an audit")
    from pyarrow import parquet

    try:
        regular(place)
        _within(parquet.read_metadata(place), place)
        table = parquet.read_table(place, columns=None if columns is None else list(columns))
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{place} cannot be read ({error})", "it is damaged") from None
    version = (table.schema.metadata or {}).get(KEY, b"").decode()
    if version != str(VERSION):
        raise OnnxcamError(
            f"{place} has records of version {version or 'unknown'}, here is {VERSION}",
            "read it with the onnxcam that wrote it",
        )
    return table
