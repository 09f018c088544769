"""The JSON file of the forms: one row a cell, kept in order."""

from __future__ import annotations

import json
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any

from forms.check import Cell

PACKAGES = (
    "torch torchvision timm keras onnx onnxruntime onnxscript onnxconverter-common onnxmltools "
    "onnxsim onnxslim"
).split()


class Results:
    """The cells, written after each one: a run that is cut off has lost nothing.

    Args:
        path: The file; made where it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        old: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        self.cells = {_key(c): c for c in old.get("cells", [])}
        self.missing: dict[str, str] = old.get("absent", {})

    def has(self, exporter: str, network: str, form: str) -> bool:
        """Tell whether there is a result of a cell."""
        return (exporter, network, form) in self.cells

    def add(self, cell: Cell) -> None:
        """Keep a cell, in place of an earlier one of the same form."""
        self.cells[cell.exporter, cell.network, cell.form] = cell.as_dict()
        self.missing.pop(f"{cell.exporter}, {cell.network}", None)
        self._write()

    def absent(self, exporter: str, network: str, reason: str) -> None:
        """Keep why there is no file by an exporter."""
        self.missing[f"{exporter}, {network}"] = reason
        self._write()

    def summary(self) -> dict[str, int]:
        """Return how many cells have each verdict."""
        return dict(Counter(c["verdict"] for c in self.cells.values()))

    def _write(self) -> None:
        content = {
            "versions": {name: _version(name) for name in PACKAGES},
            "absent": self.missing,
            "cells": list(self.cells.values()),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(content, indent=1) + "\n")


def _key(cell: dict[str, Any]) -> tuple[str, str, str]:
    return cell["exporter"], cell["network"], cell["form"]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
