"""Image files and arrays -> one kind of picture: upright RGB, eight bits a channel."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from onnxcam.errors import InputError
from onnxcam.files import regular
from onnxcam.inputs.spec import Array

_WIDE = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_RUNS_PROGRAMS = ("EPS", "WMF")  # Pillow hands these to Ghostscript or to Windows
_MANY, _DENSEST = 1 << 26, 2000  # pixels; pixels a byte: deflate packs 344 of one colour
# What Pillow's decoders raise on damaged files, besides OSError.
_DAMAGE = (
    *(ValueError, SyntaxError, EOFError, LookupError, TypeError, RuntimeError),
    struct.error,
)
_HINT = "Give a PNG, JPEG, TIFF, WebP, BMP or GIF picture, or a ready array as .npy"


def open_picture(path: Path) -> Image.Image:
    """Read an image file.

    Args:
        path: The file, in any format that Pillow reads without running another program. The
            first frame of an animation counts.

    Returns:
        The picture in mode RGB, turned upright by its EXIF tag; see `to_rgb`.

    Raises:
        InputError: The file is missing, empty, damaged, too large or no picture.
    """
    check_file(path)
    with _explained(str(path)), Image.open(path) as image:
        _check_header(image, path.stat().st_size, str(path))
        return to_rgb(image, str(path))


def picture_in(data: bytes, source: str) -> Image.Image:
    """Read the bytes of an image file, as a table of pictures holds them.

    Args:
        data: The bytes, in any format that `open_picture` takes.
        source: What they are called, for messages.

    Raises:
        InputError: They are damaged, too large or no picture.
    """
    with _explained(source), Image.open(io.BytesIO(data)) as image:
        _check_header(image, len(data), source)
        return to_rgb(image, source)


def array_picture(array: Array) -> Image.Image:
    """Return an array uint8 [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] (RGBA) as RGB picture.

    Raises:
        InputError: The array is empty.
    """
    if array.size == 0:
        raise InputError(f"the array {list(array.shape)} is empty", "Give a picture with pixels")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    return to_rgb(Image.fromarray(np.ascontiguousarray(array)), "array")


def to_rgb(image: Image.Image, source: str) -> Image.Image:
    """Bring any Pillow image to upright RGB, eight bits a channel.

    What is transparent is laid on white, as a viewer shows it. Grey values of 16 bits are
    divided by 257 (65535 -> 255).

    Args:
        image: Any Pillow image; left as it is.
        source: Its file name, for messages.

    Raises:
        InputError: There are no pixels, they cannot be decoded, or their range is not known.
    """
    if 0 in image.size:
        raise InputError(f"{source} is {image.width} x {image.height} pixels", "Give a picture")
    with _explained(source):
        image = ImageOps.exif_transpose(image)
        if image.mode == "F":
            raise InputError(
                f"{source} holds fractions, whose range nothing says",
                "Save it with 8 or 16 bits, or as a ready .npy array",
            )
        if image.mode in _WIDE:
            image = _narrow(image, source)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        return image.convert("RGB")


def check_file(path: Path) -> None:
    """Check that a path is a file with something in it.

    Raises:
        InputError: It is missing, a directory, empty or out of reach.
    """
    with _explained(str(path)):
        if path.is_dir():
            raise InputError(f"{path} is a directory", "Name one file")
        regular(path)
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty (0 bytes)", "Is the download complete?")


def _check_header(image: ImageFile.ImageFile, size: int, source: str) -> None:
    """Refuse what a program would draw, and pixels that a file speaks of but does not hold.

    Pillow leaves black what no strip or tile of a TIFF covers: a file of a few bytes may say that
    it is millions of pixels wide, and all but a corner of what is seen was never in it. Frames of
    a GIF are smaller than it where the author left the rest transparent.

    Args:
        image: The picture, before it is decoded.
        size: Bytes of its file.
        source: Its name, for messages.
    """
    if image.format in _RUNS_PROGRAMS:
        raise InputError(f"{source} is {image.format}, which is drawn by a program", _HINT)
    pixels = image.width * image.height
    # An older Pillow's icons have no list of tiles.
    parts = {each[1] for each in image.tile or () if each[1] is not None}
    covered = sum((right - left) * (lower - upper) for left, upper, right, lower in parts)
    if parts and image.format != "GIF" and covered < pixels:
        raise InputError(
            f"{source} says {image.width} x {image.height} pixels and holds {covered:,}",
            "Is the download complete? Save it again",
        )
    if pixels > _MANY and pixels > _DENSEST * size:
        raise InputError(
            f"{source} says {image.width} x {image.height} pixels in {size:,} bytes, more than "
            "pictures hold",
            "Save it again, smaller",
        )


def _narrow(image: Image.Image, source: str) -> Image.Image:
    """Bring 16 bits a pixel to eight."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise InputError(
            f"{source} holds grey values from {values.min()} to {values.max()}",
            "Save it with 8 or 16 bits, or as a ready .npy array",
        )
    return Image.fromarray(np.rint(values / 257).astype(np.uint8))


@contextmanager
def _explained(source: str) -> Iterator[None]:
    """Turn what goes wrong in reading a file into an `InputError` with file and reason."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{source} does not exist", "Check the path") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{source} is not a picture that Pillow can read", _HINT) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{source} is too large: {error}", "Make the picture smaller") from error
    except MemoryError as error:
        raise InputError(f"{source} does not fit into memory", "Make it smaller") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{source} cannot be read: {reason}", _HINT) from error
    except _DAMAGE as error:
        raise InputError(f"{source} cannot be decoded: {error}", _HINT) from error
