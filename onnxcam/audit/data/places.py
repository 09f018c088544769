"""Which files are samples, and what they are called."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from onnxcam.errors import plain

PICTURES = frozenset(
    ".jpg .jpeg .jpe .png .bmp .gif .tif .tiff .webp .ppm .pgm .pbm .jp2 .avif".split()
)
ARRAYS = frozenset({".npy", ".npz"})
SAMPLES = PICTURES | ARRAYS


def is_sample(path: Path) -> bool:
    """Tell whether a file is a picture or an array, by its ending; hidden files are none."""
    return path.suffix.lower() in SAMPLES and not path.name.startswith(".")


def below(folder: Path) -> Iterator[Path]:
    """Yield every sample in a folder and those in it, sorted folder by folder.

    A link to a folder is not followed: it may lead round in a circle.
    """
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda e: e.name)
    for entry in entries:
        if entry.is_file() and is_sample(path := Path(entry.path)):
            yield path
    for entry in entries:
        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
            yield from below(Path(entry.path))


def has_samples(folder: Path, *, deep: bool = True) -> bool:
    """Tell whether there is a sample in a folder, or with ``deep`` in one of those in it."""
    if not folder.is_dir():
        return False
    if deep:
        return next(below(folder), None) is not None
    return any(is_sample(p) for p in folder.iterdir() if p.is_file())


def name_of(path: Path, folder: Path) -> str:
    """Return what a sample is called: its path from the data set's folder, with slashes."""
    try:
        return plain(path.relative_to(folder).as_posix())
    except ValueError:  # a list may name files anywhere
        return plain(path.as_posix())
