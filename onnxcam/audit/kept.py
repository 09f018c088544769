"""Files of an audit, read again: a folder that others send may hold anything in their place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from onnxcam.files import regular

_MOST = 1_000_000_000  # bytes of a file that is read at once


def raw(place: Path) -> bytes:
    """Return what a file of an audit holds; a pipe has no end, and a device none that helps.

    Raises:
        InputError: It is no regular file, or larger than any that onnxcam writes.
        OSError: It is missing, or out of reach.
    """
    regular(place, _MOST)
    return place.read_bytes()


def text(place: Path) -> str:
    """Return what a file of an audit says; see :func:`raw`."""
    return raw(place).decode()


def read(place: Path) -> Any:
    """Return what a JSON file of an audit says; see :func:`raw`."""
    return json.loads(text(place))
