"""Files mapped into memory: they know where they come from, and whether they were written to."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from onnxcam.errors import ModelError

Bytes: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]

PRIVATE = 1 << 24  # bytes of a file that is copied: nobody can change it while it is used


def release(data: Bytes | memoryview) -> None:
    """Give back the memory that a mapped file takes up; it is read again where it is asked for."""
    owner = owner_of(data)
    if isinstance(owner, mmap.mmap) and hasattr(owner, "madvise"):
        owner.madvise(mmap.MADV_DONTNEED)


class MappedFile(mmap.mmap):
    """A file's content, mapped into memory, that knows where it comes from.

    Attributes:
        path: The file, through all links.
        stamp: What tells whether another file has taken its place.
    """

    path: Path
    stamp: tuple[int, int, int, int]

    def is_there(self) -> bool:
        """Tell whether the path still leads to what is mapped."""
        try:
            return _stamp(self.path.stat()) == self.stamp
        except OSError:
            return False

    def is_changed(self) -> bool:
        """Tell whether the file that is mapped was written to; one in its place changes nothing."""
        try:
            found = _stamp(self.path.stat())
        except OSError:
            return False  # what is mapped stays, though its name is gone
        return found[:2] == self.stamp[:2] and found != self.stamp


def mapped(path: Path) -> MappedFile | bytes:
    """Return the content of a file: a copy of a small one, a large one mapped into memory.

    Raises:
        ModelError: Somebody writes to it.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if status.st_size <= PRIVATE:
            found = file.read(status.st_size)
            if _stamp(os.fstat(file.fileno())) != _stamp(status):
                raise written_to(path)
            return found
        content = MappedFile(file.fileno(), 0, access=mmap.ACCESS_READ)
    content.path, content.stamp = path.resolve(), _stamp(status)
    return content


def written_to(path: Path) -> ModelError:
    """Return the error for a file that changes while it is used."""
    return ModelError(
        f"{path}: was written to while it was used: what was computed is of no file",
        "run it again when the file is complete; replace a file in use by moving another there",
    )


def _stamp(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def owner_of(data: Bytes | memoryview) -> Any:
    """Return what the bytes of a weight lie in."""
    owner: Any = data
    while isinstance(owner, np.ndarray | memoryview):
        owner = owner.obj if isinstance(owner, memoryview) else owner.base
    return owner
