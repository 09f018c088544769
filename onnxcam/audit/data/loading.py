"""A sample decoded: its content hashed, its picture or array in memory, its mask beside it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from onnxcam.audit.data.sample import Box, Sample
from onnxcam.audit.data.sound import well_formed
from onnxcam.errors import InputError
from onnxcam.files import regular
from onnxcam.inputs.picture import open_picture, picture_in

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Loaded:
    """A sample in memory.

    Attributes:
        sample: What the data set says of it.
        content: A picture (upright RGB), an array, or the path of an array's file.
        sha256: Of the file's bytes, of the picture's in a table, or of an array's values with
            dtype and shape.
        mask: bool [H, W], where the object is in the picture; None where nothing says.
    """

    sample: Sample
    content: Any
    sha256: str
    mask: Array | None = None


def load_sample(sample: Sample) -> Loaded:
    """Read and decode a sample.

    Raises:
        InputError: It cannot be read.
    """
    if sample.kind == "file":
        return _of_file(sample)
    with well_formed(sample.file, sample.kind):
        return _of_row(sample)


def _of_row(sample: Sample) -> Loaded:
    if sample.kind == "npz":
        array = np.asarray(_array(sample.file, sample.column)[sample.row])
        return Loaded(sample, array, _hash(array))
    from onnxcam.audit.data.tables import cell

    value = cell(sample)
    if isinstance(value, bytes):
        picture = picture_in(value, sample.id)
        return Loaded(sample, picture, hashlib.sha256(value).hexdigest(), _mask(sample, picture))
    return Loaded(sample, value, _hash(value))


def _of_file(sample: Sample) -> Loaded:
    try:
        regular(sample.file)
        with sample.file.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(
            f"{sample.file} cannot be read: {error.strerror or error}", "check the path"
        ) from None
    if sample.file.suffix.lower() in (".npy", ".npz"):
        return Loaded(sample, sample.file, digest)
    picture = open_picture(sample.file)
    return Loaded(sample, picture, digest, _mask(sample, picture))


def _mask(sample: Sample, picture: Any) -> Array | None:
    """Return where the object is: the mask's coloured pixels, or what the boxes cover."""
    size = (picture.height, picture.width)
    if sample.mask is not None:
        drawn = np.asarray(open_picture(sample.mask)).any(-1)
        if drawn.shape != size:
            raise InputError(
                f"{sample.mask} is {drawn.shape[1]} x {drawn.shape[0]} pixels, its picture "
                f"{size[1]} x {size[0]}",
                "draw the mask at the picture's size",
            )
        return drawn
    return boxed(sample.boxes, size) if sample.boxes else None


def boxed(boxes: tuple[Box, ...], size: tuple[int, int]) -> Array:
    """Return the pixels bool [H, W] whose centres boxes cover."""
    covered = np.zeros(size, np.bool_)
    rows, columns = np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5
    for x0, y0, x1, y1 in boxes:
        inside = (rows >= y0) & (rows < y1)
        covered |= inside[:, None] & ((columns >= x0) & (columns < x1))[None]
    return covered


def _hash(array: Array) -> str:
    """Hash an array: its dtype, its shape, its values."""
    found = hashlib.sha256(f"{array.dtype.str} {array.shape};".encode())
    found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


@lru_cache(maxsize=1)
def _array(file: Path, name: str) -> Array:
    """Return an array of a file; one that is stored as it is stays on disk."""
    with np.load(file, allow_pickle=False) as arrays:
        return np.asarray(arrays[name])
