"""Files, written whole or not at all: the one place where that is done."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from onnxcam.errors import OnnxcamError

PART = ".part"  # ends the name of a file that is being written


@contextmanager
def whole(place: Path) -> Iterator[Path]:
    """Let a file be written beside its place; it takes the place when the block ends.

    An old file stays until the new one is complete, and where the block raises.

    Yields:
        Where to write: a name of its own in the same folder.

    Raises:
        OSError: It cannot be moved to its place.
    """
    part = place.with_name(f".{place.name}.{os.getpid()}.{token_hex(4)}{PART}")
    try:
        yield part
        os.replace(part, place)
    finally:
        with suppress(OSError):  # it was moved, or never made
            part.unlink()


def write_whole(place: Path, data: bytes) -> None:
    """Write bytes as a file, whole or not at all.

    Raises:
        OnnxcamError: It cannot be written.
    """
    try:
        with whole(place) as part:
            part.write_bytes(data)
    except OSError as error:
        raise OnnxcamError(
            f"{place}: cannot be written ({error.strerror})",
            "choose a folder that you may write to",
        ) from None
