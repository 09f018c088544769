"""Parquet files, and the folders of Hugging Face's `datasets`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from onnxcam.audit.data.registry import reader
from onnxcam.audit.data.sample import Sample
from onnxcam.audit.data.tables import rows_of


def _parts(place: Path) -> list[Path]:
    """Return the tables of a data set's folder: all, or those of one split."""
    if not place.is_dir():
        return []
    return sorted(p for p in place.rglob("*") if p.suffix in (".parquet", ".arrow") and p.is_file())


@reader("parquet", claims=lambda p: p.suffix.lower() == ".parquet" and p.is_file())
def parquet(place: Path, slices: tuple[str, ...]) -> Iterator[Sample]:
    """A Parquet file: a column of pictures or arrays, one of labels, slices by name."""
    yield from rows_of(place, "parquet", slices, place.parent)


@reader("huggingface", claims=lambda p: bool(_parts(p)), rank=20)
def huggingface(place: Path, slices: tuple[str, ...]) -> Iterator[Sample]:
    """A folder of Hugging Face's `datasets`: Parquet, or what `save_to_disk` writes."""
    for path in _parts(place):
        if not path.name.startswith("cache-"):
            yield from rows_of(path, path.suffix.removeprefix("."), slices, place)
