"""Files, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from onnxcam.errors import OnnxcamError


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; an old one stays until the new one is complete.

    Raises:
        OnnxcamError: It cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True) if part.parent.is_dir() else None
        raise OnnxcamError(
            f"{path}: cannot be written ({error.strerror})", "choose a folder that you may write to"
        ) from None
