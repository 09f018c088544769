"""The evidence around the results: hashes of what went in, the methods' claims, the environment."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from onnxcam import methods
from onnxcam.errors import plain
from onnxcam.files import regular
from onnxcam.model.external import Beside
from onnxcam.model.stream import parse
from onnxcam.version import __version__

_PACKAGES = (
    "onnxruntime onnxruntime-gpu onnx numpy pillow scipy scikit-image scikit-learn pyarrow".split()
)
NOT_SHOWN = (
    "A map says where the score of one class comes from by one method, not how the model decides; "
    "what each method claims and where its limits are stands with the methods.",
    "Nothing is said of inputs that are unlike the data set, of attacks, of fairness beyond the "
    "slices that were named, or of the system that the model is part of.",
    "Intervals are of drawing other samples of the same kind; they do not cover wrong labels, "
    "boxes or masks.",
    "A limit that passes was kept; a person chose it, and nothing shows that it is the right one.",
)  # fmt: skip


def file_hash(path: Path) -> str:
    """Return the sha256 of a file."""
    regular(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_files(path: Path) -> list[dict[str, Any]]:
    """Return every file that a model consists of: its own first, then those with its weights.

    Returns:
        For each: "path", "role" ("model" or "external data"), "bytes" and "sha256".

    Raises:
        ModelError: External data is missing, or lies outside the model's folder.
    """
    light, _ = parse(path.read_bytes(), str(path))
    beside = Beside(path)
    beside.taken(light)
    folder = path.resolve().parent
    files = [(path.absolute(), "model")]
    files += [(folder / name, "external data") for name in beside.digests()]
    return [
        {
            "path": plain(place),
            "role": role,
            "bytes": place.stat().st_size,
            "sha256": file_hash(place),
        }
        for place, role in files
    ]


def files_digest(files: Sequence[dict[str, Any]]) -> str:
    """Return one hash of several files: of their hashes and names."""
    lines = (f"{f['sha256']} {Path(f['path']).name}\n" for f in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def environment() -> dict[str, Any]:
    """Return where the audit ran: versions, platform, providers."""
    from onnxcam.run.session import runtime

    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "onnxcam": __version__,
        "python": sys.version.split()[0],
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "packages": found,
        "providers": list(runtime().get_available_providers()),
    }


def method_records(names: Sequence[str]) -> list[dict[str, Any]]:
    """Return what each method computes, claims and cannot show."""
    return [methods.find(name).as_dict() for name in names]
