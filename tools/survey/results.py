"""The JSON file of the survey: one row a file, kept in order."""

from __future__ import annotations

import json
import platform
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any

from survey.examine import Row

PACKAGES = (
    "torch torchvision timm transformers ultralytics segmentation-models-pytorch monai keras "
    "onnx onnxscript onnxruntime"
).split()


class Results:
    """The rows, written after each one: a run that is cut off has lost nothing.

    Args:
        path: The file; made where it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        old: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        self.rows: dict[tuple[str, str, str], dict[str, Any]] = {
            (r["library"], r["name"], r["exporter"]): r for r in old.get("rows", [])
        }

    def has(self, library: str, name: str, exporter: str) -> bool:
        """Tell whether there is a result of a file."""
        return (library, name, exporter) in self.rows

    def add(self, row: Row) -> None:
        """Keep a row, in place of an earlier one of the same file."""
        self.rows[row.library, row.name, row.exporter] = row.as_dict()
        self.write()

    def write(self) -> None:
        """Write the file."""
        content = {
            "versions": {name: _version(name) for name in PACKAGES},
            "python": platform.python_version(),
            "rows": list(self.rows.values()),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(content, indent=1) + "\n")

    def summary(self) -> dict[str, int]:
        """Return how many rows have each verdict."""
        return dict(Counter(r["verdict"] for r in self.rows.values()))


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
