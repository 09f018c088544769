"""Write a picture to disk, whole or not at all."""

from __future__ import annotations

import io
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onnxcam.errors import InputError, OnnxcamError, UsageError
from onnxcam.files import whole, write_whole
from onnxcam.output.render.vector import erased, svg

FORMATS = (".png", ".jpg", ".jpeg", ".webp", ".svg")
"""Endings of the files that figures are written to; .svg keeps text as text."""

# As small as the default, four times faster: runs of pixels, and no search for others.
_HOW: dict[str, dict[str, Any]] = {
    "PNG": {"compress_type": zlib.Z_RLE},
    "JPEG": {"quality": 90, "subsampling": 0},  # red text smears else
    "WEBP": {"quality": 90, "method": 2},
}


def save_image(image: Image.Image | NDArray[Any], path: str | os.PathLike[str]) -> None:
    """Write an image in the format that a file's ending names.

    Args:
        image: A PIL image, or uint8 ``[H, W, 3]`` or ``[H, W]``.
        path: Where to, ending in one of `FORMATS`; an existing file is replaced, whole or not at
            all.

    Raises:
        InputError: If the array is no picture.
        UsageError: If the ending is another one.
        OnnxcamError: If the folder does not exist or cannot be written.
    """
    ending = Path(path).suffix.lower()
    if ending not in FORMATS:
        raise UsageError(f"render: no picture ends in {ending!r}", f"use {', '.join(FORMATS)}")
    if ending == ".svg":
        drawn = image if isinstance(image, Image.Image) else _as_image(np.asarray(image))
        write_whole(Path(path), svg(drawn, _encoded(erased(drawn), "PNG")))
    else:
        _save(image, path, {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}.get(ending, "PNG"))


def save_png(image: Image.Image | NDArray[Any], path: str | os.PathLike[str]) -> None:
    """Write an image as PNG: first beside its place, then moved there in one step.

    A reader never sees half a file, and where writing fails an older file stays as it was.

    Args:
        image: A PIL image, or uint8 ``[H, W, 3]`` or ``[H, W]``.
        path: Where to; an existing file is replaced. The content is PNG whatever the suffix.

    Raises:
        InputError: If the array is no picture.
        OnnxcamError: If the folder does not exist or cannot be written.
    """
    _save(image, path, "PNG")


def png_bytes(image: Image.Image | NDArray[Any]) -> bytes:
    """Return an image, as :func:`save_png` takes it, as the content of a PNG file."""
    drawn = image if isinstance(image, Image.Image) else _as_image(np.asarray(image))
    return _encoded(drawn, "PNG")


def _encoded(image: Image.Image, format: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=format, **_HOW[format])
    return buffer.getvalue()


def _save(image: Image.Image | NDArray[Any], path: str | os.PathLike[str], format: str) -> None:
    if not isinstance(image, Image.Image):
        image = _as_image(np.asarray(image))
    place = Path(path)
    try:
        with whole(place) as part, part.open("wb") as file:
            image.save(file, format=format, **_HOW[format])
    except OSError as error:
        raise OnnxcamError(
            f"render: cannot write {place}: {error.strerror or error}",
            "Choose a file in an existing folder that you may write to",
        ) from error


def _as_image(array: NDArray[Any]) -> Image.Image:
    """Return uint8 pixels as a PIL image."""
    picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if array.dtype != np.uint8 or not picture or array.size == 0:
        raise InputError(
            f"render: an array of dtype {array.dtype} and shape {array.shape} is no picture",
            "Pass uint8 [H, W, 3] or [H, W]",
        )
    return Image.fromarray(array)
