"""What a data set says, held against what can be: its files may be anybody's."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import isfinite
from pathlib import Path

from onnxcam.audit.data.sample import Sample
from onnxcam.errors import InputError, shortened
from onnxcam.files import regular

MOST = 10_000_000  # samples of an audit: each takes some hundred bytes
TEXT = 1000  # characters of a name or label
# What reading raises of a file that is of another form than it looks.
_ODD = (
    *(LookupError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError),
    csv.Error,
)


@contextmanager
def well_formed(place: Path, form: str) -> Iterator[None]:
    """Let a file that is not of the form that it should have be said to be that.

    Args:
        place: The data set.
        form: Its reader's name.

    Raises:
        InputError: In place of what reading it raises.
    """
    try:
        yield
    except (*_ODD, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's; else pyarrow's
            raise
        raise InputError(
            f"{place} is not as data of the form {form} are ({type(error).__name__}: {error})",
            "docs/audit.md says what each form holds",
        ) from error


def sound(sample: Sample) -> Sample:
    """Return a sample with texts of a length that can be shown.

    Raises:
        InputError: Its file or a box cannot be one.
    """
    where = shortened(sample.id, TEXT)
    if "\0" in str(sample.file) or "\0" in str(sample.mask):
        raise InputError(f"the sample {where} names no file", "look for a zero byte in its name")
    for x0, y0, x1, y1 in sample.boxes:
        if not all(map(isfinite, (x0, y0, x1, y1))):
            raise InputError(f"the sample {where} has a box that is no numbers", "mend it")
    label = None if sample.label is None else shortened(sample.label, TEXT)
    slices = {name: shortened(value, TEXT) for name, value in sample.slices.items()}
    return replace(sample, id=where, label=label, slices=slices)


def inside(folder: Path, name: str) -> Path:
    """Return a file that a data set names by its path from a folder.

    Raises:
        InputError: It leads out of the folder, or cannot be one.
    """
    parts = Path(name).parts
    if Path(name).is_absolute() or ".." in parts or "\0" in name or not parts:
        raise InputError(
            f"{shortened(name, 200)!r} is no file in {folder}", "name files from that folder"
        )
    return folder / name


def held(folder: Path, name: str, most: int) -> bytes:
    """Return what is in a file that a data set names; no link leads out of the folder.

    Raises:
        InputError: It lies elsewhere, is no regular file, or is larger than ``most`` bytes.
        OSError: It cannot be read.
    """
    path = inside(folder, name)
    if not path.resolve().is_relative_to(Path(os.path.realpath(folder))):
        raise InputError(f"{path} leads out of {folder}", "copy the file into it")
    regular(path, most)
    return path.read_bytes()
