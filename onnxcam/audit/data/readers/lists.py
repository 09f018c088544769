"""Lists of files: one a line, or a CSV with columns for the class and for slices."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from onnxcam.audit.data.places import name_of
from onnxcam.audit.data.registry import reader
from onnxcam.audit.data.sample import Box, Sample
from onnxcam.errors import InputError, UsageError, plain
from onnxcam.inputs.labels import read_text

_TABLES = (".csv", ".tsv")
_NAMES = ("labels.csv", "metadata.csv")  # the latter is Hugging Face's
FILE = ("file", "file_name", "filename", "path", "image", "image_path", "filepath")
LABEL = ("label", "class", "target", "class_id", "category", "y")
_BOX = (("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax"))


def _table(place: Path) -> Path | None:
    """Return the CSV of a data set: itself, or the one in a folder of pictures."""
    if place.suffix.lower() in _TABLES and place.is_file():
        return place
    return next((place / n for n in _NAMES if (place / n).is_file()), None)


@reader("list", claims=lambda p: p.suffix.lower() in (".txt", ".lst") and p.is_file())
def listed(place: Path, slices: tuple[str, ...]) -> Iterator[Sample]:
    """A text file: a path a line, and behind a tab its class; from the list's own folder."""
    for line in read_text(place).splitlines():
        name, _, label = line.partition("\t")
        if name.strip():
            path = place.parent / name.strip()
            label = plain(label.strip())
            yield Sample(name_of(path, place.parent), path, label=label or None)


@reader("csv", claims=lambda p: _table(p) is not None, rank=30)
def table(place: Path, slices: tuple[str, ...]) -> Iterator[Sample]:
    """A CSV (or TSV): a column `file`, one of `label` or `class`, boxes, and slices by name."""
    path = _table(place) or place
    text = read_text(path)
    rows = csv.DictReader(
        text.splitlines(), delimiter="\t" if path.suffix.lower() == ".tsv" else ","
    )
    columns = [str(c) for c in rows.fieldnames or ()]
    file, label = column(columns, FILE), column(columns, LABEL)
    if file is None:
        raise UsageError(f"{path} has no column of files", f"call one of its columns {FILE[0]}")
    check_slices(slices, columns, path)
    found: dict[str, Sample] = {}
    for number, row in enumerate(rows, 2):
        if not row.get(file):
            raise InputError(f"{path}: line {number} names no file", "complete it, or remove it")
        sample = _sample(row, path.parent, file, label, slices, f"{path}: line {number}")
        old = found.get(sample.id)
        found[sample.id] = sample if old is None else _joined(old, sample, path)
    yield from found.values()


def _sample(
    row: Mapping[str, str], folder: Path, file: str, label: str | None, slices: tuple[str, ...],
    where: str,
) -> Sample:  # fmt: skip
    path = folder / row[file]
    said = plain((row.get(label) or "").strip()) if label else ""
    groups = {name: plain(row.get(name) or "") for name in slices}
    box = _box(row, where)
    boxes = () if box is None else (box,)
    return Sample(name_of(path, folder), path, label=said or None, slices=groups, boxes=boxes)


def _box(row: Mapping[str, str], where: str) -> Box | None:
    for names in _BOX:
        if all(row.get(n) for n in names):
            try:
                x0, y0, x1, y1 = (float(row[n]) for n in names)
            except ValueError:
                raise InputError(f"{where} has a box that is no number", "mend it") from None
            return x0, y0, x1, y1
    return None


def _joined(old: Sample, new: Sample, path: Path) -> Sample:
    """Join two lines of one file: each names one of its boxes."""
    if not new.boxes or old.label != new.label or old.slices != new.slices:
        raise InputError(f"{path} names {old.id} twice", "leave one of the lines out")
    return Sample(
        old.id, old.file, label=old.label, slices=old.slices, boxes=(*old.boxes, *new.boxes)
    )


def column(columns: list[str], names: tuple[str, ...]) -> str | None:
    """Return the first of these names that is a column, whatever its case."""
    by_name = {c.strip().lower(): c for c in columns}
    return next((by_name[n] for n in names if n in by_name), None)


def check_slices(slices: tuple[str, ...], columns: list[str], path: Path) -> None:
    """Raise UsageError unless all slices are columns."""
    missing = [name for name in slices if name not in columns]
    if missing:
        raise UsageError(
            f"{path} has no column {missing[0]!r}", f"its columns are {', '.join(columns)}"
        )
