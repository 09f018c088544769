"""Files that made native code crash: remembered by their content, and bounded from then on.

The list is an entry of the store, so nobody else writes it. It is asked for at every start, and
there is none on nearly every machine: where there is one, files of the same size are hashed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from onnxcam.errors import OnnxcamError
from onnxcam.files import regular
from onnxcam.run.store import Store, store

_KEY = f"{hashlib.sha256(b'crashed').hexdigest()}.crashed"
_MOST = 1000  # files


def remember(files: Iterable[Path]) -> None:
    """Remember files; those that are none, and what cannot be read, are passed over."""
    kept = _kept()
    if kept is None:
        return
    found = [each for path in files if (each := _state(path)) is not None]
    old = [each for each in _listed(kept) if each not in found]
    if found:
        kept.put(_KEY, json.dumps([*old, *found][-_MOST:]).encode())


def among(files: Iterable[Path]) -> list[Path]:
    """Return those files of which the content made native code crash before."""
    kept = _kept()
    if kept is None or not kept.has(_KEY):
        return []
    known = _listed(kept)
    sizes = {size for size, _ in known}
    found = []
    for path in files:
        with suppress(OSError, ValueError):
            if path.is_file() and path.stat().st_size in sizes and _state(path) in known:
                found.append(path)
    return found


def knows(digest: str) -> bool:
    """Tell whether a file of this sha256 made native code crash before."""
    kept = _kept()
    return kept is not None and any(digest == known for _, known in _listed(kept))


def any_known() -> bool:
    """Tell whether there is any such file."""
    kept = _kept()
    return kept is not None and kept.has(_KEY)


def _kept() -> Store | None:
    try:
        return store()
    except OnnxcamError:  # the environment is wrong: said where the store is used
        return None


def _listed(kept: Store) -> Sequence[tuple[int, str]]:
    try:
        return [(int(size), str(digest)) for size, digest in json.loads(kept.get(_KEY) or b"[]")]
    except (ValueError, TypeError):
        return []


def _state(path: Path) -> tuple[int, str] | None:
    """Return a file's size and sha256; None where it is none."""
    try:
        regular(path)
        with path.open("rb") as file:
            return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError, OnnxcamError):
        return None
