"""The table of data readers. A reader is one file in `readers/` with a decorated function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from onnxcam.audit.data.sample import Sample
from onnxcam.errors import UsageError
from onnxcam.graph.registry import Registry, Source

Claims: TypeAlias = Callable[[Path], bool]
Read: TypeAlias = Callable[[Path, tuple[str, ...]], Iterator[Sample]]

_READERS: Registry[str, Reader] = Registry(
    "data readers", Source("onnxcam.audit.data.readers", "onnxcam.data")
)


@dataclass(frozen=True)
class Reader:
    """Reads data sets of one form.

    Attributes:
        name: What users type as `data_format`.
        claims: Tells whether a file or folder has this form, by looks alone.
        read: Yields its samples in an order that is always the same; the second argument names
            the columns that are slices.
        rank: Of the readers that claim a place the one of the lowest rank reads it.
        summary: One line.
    """

    name: str
    claims: Claims
    read: Read
    rank: int
    summary: str


def reader(name: str, *, claims: Claims, rank: int = 50) -> Callable[[Read], Read]:
    """Enter a reader; see :class:`Reader` for the arguments."""

    def enter(read: Read) -> Read:
        summary = (read.__doc__ or "").strip().partition("\n")[0]
        _READERS.enter(name, Reader(name, claims, read, rank, summary))
        return read

    return enter


def names() -> tuple[str, ...]:
    """Return the names of the readers, sorted."""
    return tuple(sorted(name for name, _ in _READERS.items()))


def find(place: Path, name: str | None = None) -> Reader:
    """Return what reads a data set.

    Args:
        place: The file or folder.
        name: The reader that is wanted; None takes what claims the place.

    Raises:
        UsageError: There is none of this name, or none claims the place.
    """
    if name is not None:
        wanted = dict(_READERS.items()).get(name)
        if wanted is None:
            raise UsageError(f"no data format {name!r}", f"choose one of {', '.join(names())}")
        return wanted
    if not place.exists():
        raise UsageError(f"{place}: no such file or folder", "check the path of the data")
    claiming = [each for _, each in _READERS.items() if each.claims(place)]
    if not claiming:
        raise UsageError(
            f"{place} is no data set of a form that is known",
            "give a folder with a folder for each class, a list or CSV of files, COCO's JSON, "
            "VOC's folder, an .npz or .parquet file, or name its form as `data_format`",
        )
    return min(claiming, key=lambda each: each.rank)
