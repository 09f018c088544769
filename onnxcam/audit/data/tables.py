"""Tables on disk, Parquet and Arrow: pictures or arrays in a column, an input a row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from onnxcam.audit.data.sample import Sample
from onnxcam.audit.data.sound import TEXT, held
from onnxcam.audit.extras import needed
from onnxcam.errors import InputError, UsageError, plain

Array: TypeAlias = np.ndarray[Any, Any]
_DATA = ("image", "img", "x", "data", "input", "inputs", "features", "pixel_values", "audio")
_ROWS = 256  # that are in memory at once: a label may be as long as it likes
_PICTURE = 1_000_000_000  # bytes of a file that a row names
LABEL = ("label", "labels", "fine_label", "class", "target", "y")


def arrow() -> Any:
    """Return pyarrow.

    Raises:
        UsageError: It is not installed.
    """
    return needed("pyarrow", "tables in Parquet", "audit")


def rows_of(path: Path, kind: str, slices: tuple[str, ...], folder: Path) -> Iterator[Sample]:
    """Yield the samples of one table.

    Args:
        path: The file.
        kind: "parquet" or "arrow".
        slices: Columns that are groups.
        folder: What their names start from.

    Raises:
        OnnxcamError: It cannot be read, or no column holds inputs.
    """
    schema = _schema(path, kind)
    lower = {str(n).lower(): str(n) for n in schema.names}
    data = next((lower[n] for n in _DATA if n in lower), None)
    if data is None:
        raise UsageError(
            f"{path} has the columns {', '.join(schema.names)}",
            f"call that of the inputs {_DATA[0]}",
        )
    missing = [name for name in slices if name not in schema.names]
    if missing:
        raise UsageError(f"{path} has no column {missing[0]!r}", "see its schema")
    label = next((lower[n] for n in LABEL if n in lower), None)
    named = _class_names(schema, label)
    stem = path.relative_to(folder).with_suffix("").as_posix()
    wanted = [n for n in (label, *slices) if n]
    for row, said in enumerate(_columns(path, kind, wanted)):
        value = None if label is None else said[label]
        if named and isinstance(value, int) and 0 <= value < len(named):
            value = named[value]
        groups = {name: plain(said[name], TEXT) for name in slices}
        text = None if value is None else plain(value, TEXT)
        yield Sample(f"{plain(stem)}:{row:06d}", path, kind, row, data, text, groups)


def cell(sample: Sample) -> bytes | Array:
    """Return what a row holds: the bytes of a picture, or an array.

    Raises:
        InputError: It is neither, or cannot be read.
    """
    table, row = _around(sample.file, sample.kind, sample.row or 0, sample.column)
    value = table[row].as_py()
    if isinstance(value, dict):  # Hugging Face's pictures
        if value.get("bytes") is None and value.get("path"):
            return held(sample.file.parent, str(value["path"]), _PICTURE)
        value = value.get("bytes", value.get("array"))
    if isinstance(value, bytes):
        return value
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "fiub":
        raise InputError(f"row {sample.row} of {sample.file} holds no array or picture", "look")
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _schema(path: Path, kind: str) -> Any:
    pa = arrow()
    try:
        if kind == "parquet":
            from pyarrow import parquet

            return parquet.read_schema(path)
        with pa.memory_map(str(path)) as source:
            return _stream(source).schema
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read ({error})", "write it again") from None


def _stream(source: Any) -> Any:
    """Open Arrow's file, or its stream as Hugging Face writes it."""
    from pyarrow import ArrowInvalid, ipc

    try:
        return ipc.open_stream(source)
    except ArrowInvalid:
        return ipc.open_file(source)


def _columns(path: Path, kind: str, names: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a few columns, which are small."""
    for batch in _batches(path, kind, names):
        yield from batch.select(names).to_pylist() if names else [{}] * batch.num_rows


def _batches(path: Path, kind: str, names: list[str]) -> Iterator[Any]:
    if kind == "parquet":
        from pyarrow import parquet

        with parquet.ParquetFile(path) as file:
            yield from file.iter_batches(_ROWS, columns=names or None)
        return
    with arrow().memory_map(str(path)) as source:
        opened = _stream(source)
        if hasattr(opened, "num_record_batches"):
            opened = (opened.get_batch(i) for i in range(opened.num_record_batches))
        for batch in opened:
            batch.validate(full=True)  # Arrow believes what the file says: it reads anywhere
            yield batch


def _around(path: Path, kind: str, row: int, name: str) -> tuple[Any, int]:
    """Return the column around a row, and the row's place in it."""
    starts = _starts(path, kind)
    group = int(np.searchsorted(starts, row, side="right")) - 1
    return _group(path, kind, group, name), row - int(starts[group])


@lru_cache(maxsize=4)
def _starts(path: Path, kind: str) -> Array:
    """Return the first row of every row group or batch."""
    if kind == "parquet":
        from pyarrow import parquet

        meta = parquet.read_metadata(path)
        counts = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
    else:
        counts = [batch.num_rows for batch in _batches(path, kind, [])]
    return np.concatenate([[0], np.cumsum(counts)])


@lru_cache(maxsize=2)
def _group(path: Path, kind: str, group: int, name: str) -> Any:
    """Return a column of one row group: rows are asked for in their order."""
    if kind == "parquet":
        from pyarrow import parquet

        with parquet.ParquetFile(path) as file:
            found = file.read_row_group(group, columns=[name]).column(0).combine_chunks()
            found.validate(full=True)
            return found
    for number, batch in enumerate(_batches(path, kind, [])):
        if number == group:
            return arrow().array(batch.column(name).to_pylist(), batch.schema.field(name).type)
    raise InputError(f"{path} has no batch {group}", "it has changed")


def _class_names(schema: Any, label: str | None) -> list[str]:
    """Return the names that Hugging Face keeps for the numbers of a column."""
    said = (schema.metadata or {}).get(b"huggingface")
    if said is None or label is None:
        return []
    try:
        feature = json.loads(said)["info"]["features"][label]
        return [plain(name) for name in feature.get("names", [])]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []
