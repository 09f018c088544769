"""The bundle: a manifest of all files in an audit's folder, written last."""

from __future__ import annotations

from pathlib import Path

from onnxcam.audit.evidence import file_hash
from onnxcam.errors import json_text
from onnxcam.files import write_whole

MANIFEST = "manifest.json"
STATEMENT = "statement.json"
_OUTSIDE = frozenset({MANIFEST, STATEMENT})  # the one is made last, the other of it


def manifest_text(folder: Path) -> str:
    """Return the manifest of a folder as it is now: the sha256 of every file, by name."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    hashes = {
        name: file_hash(p)
        for p in files
        if (name := p.relative_to(folder).as_posix()) not in _OUTSIDE
    }
    return json_text({"algorithm": "sha256", "files": hashes}) + "\n"


def close(folder: Path) -> None:
    """Write the manifest."""
    write_whole(folder / MANIFEST, manifest_text(folder).encode())
