"""What is explained, from the words of the shell: files, folders, patterns, standard input."""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from onnxcam.errors import InputError, UsageError

ENDINGS = frozenset(
    ".png .jpg .jpeg .webp .bmp .gif .tif .tiff .ppm .pgm .jp2 .avif .npy .npz".split()
)
"""Endings of the files that a folder is searched for."""

_MOST = 1 << 28  # bytes of standard input
_ARRAYS = {b"\x93NUMPY": ".npy", b"PK\x03\x04": ".npz"}  # how their files begin


@dataclass(frozen=True)
class Source:
    """One input.

    Attributes:
        path: The file.
        name: What it is called in messages.
        place: Folder of its results, below that of all: where it lay in a folder that was given.
    """

    path: Path
    name: str
    place: Path = Path()


def sources(given: Sequence[Path]) -> tuple[Source, ...]:
    """Return the inputs that are meant.

    Args:
        given: Files; folders, which are searched with all that is in them, so that classes with a
            folder each keep it; patterns, for shells that do not know them; "-" for standard
            input.

    Raises:
        UsageError: A folder or pattern holds nothing to explain, or "-" is there twice.
        InputError: Standard input is empty or endless.
    """
    found = [source for each in given for source in _of(each)]
    if sum(source.name == "-" for source in found) > 1:
        raise UsageError("standard input can be read once", "give - once")
    return tuple(found)


def _of(given: Path) -> Iterator[Source]:
    if str(given) == "-":
        yield Source(_standard_input(), "-")
    elif given.is_dir():
        yield from _in_folder(given)
    elif not given.exists() and glob.has_magic(str(given)):
        files = [Path(p) for p in sorted(glob.glob(str(given), recursive=True))]
        named = [Source(p, str(p)) for p in files if p.is_file()]
        if not named:
            raise UsageError(f"{given}: no such file", "look at the pattern")
        yield from named
    else:
        yield Source(given, str(given))


def _in_folder(folder: Path) -> Iterator[Source]:
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
    if not files:
        known = ", ".join(sorted(ENDINGS))
        raise UsageError(f"{folder}: no picture and no array in this folder", f"it takes {known}")
    for path in files:
        yield Source(path, str(path), path.parent.relative_to(folder))


def _standard_input() -> Path:
    """Write what comes from standard input to a file, which is removed at the end."""
    import atexit
    import shutil

    data = sys.stdin.buffer.read(_MOST + 1)
    if not data:
        raise InputError("standard input is empty", "pipe a picture or an array into it")
    if len(data) > _MOST:
        raise InputError(f"standard input is above {_MOST} bytes", "give a file")
    folder = mkdtemp(prefix="onnxcam-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    ending = next((end for start, end in _ARRAYS.items() if data.startswith(start)), "")
    path = Path(folder) / f"stdin{ending}"
    path.write_bytes(data)
    return path
