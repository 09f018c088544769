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

from onnxcam.errors import InputError, OnnxcamError
from onnxcam.files import whole


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
    if not isinstance(image, Image.Image):
        image = _as_image(np.asarray(image))
    place = Path(path)
    try:
        with whole(place) as part, part.open("wb") as file:
            image.save(file, format="PNG", compress_type=zlib.Z_RLE)  # as small, four times faster
    except OSError as error:
        raise OnnxcamError(
            f"render: cannot write {place}: {error.strerror or error}",
            "Choose a file in an existing folder that you may write to",
        ) from error


def jpeg(image: NDArray[Any], quality: int = 80) -> bytes:
    """Return an image, uint8 ``[H, W, 3]`` or ``[H, W]``, as the bytes of a JPEG.

    Raises:
        InputError: If the array is no picture.
    """
    buffer = io.BytesIO()
    _as_image(np.asarray(image)).save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def _as_image(array: NDArray[Any]) -> Image.Image:
    """Return uint8 pixels as a PIL image."""
    picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if array.dtype != np.uint8 or not picture or array.size == 0:
        raise InputError(
            f"render: an array of dtype {array.dtype} and shape {array.shape} is no picture",
            "Pass uint8 [H, W, 3] or [H, W]",
        )
    return Image.fromarray(array)
