"""The JSON file of a table: one row a file that was looked at, kept in order."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class Rows:
    """The rows, written after each one: a run that is cut off has lost nothing.

    Args:
        path: The file; made where it is not there.
        key: The fields that tell a row from another.
        packages: Whose versions stand in the file.

    Attributes:
        rows: The rows by their key.
        absent: Why there is nothing to look at, by what is missing.
    """

    def __init__(self, path: Path, key: Sequence[str], packages: Sequence[str]) -> None:
        self.path, self._key, self._packages = path, tuple(key), packages
        old: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        self.rows: dict[tuple[str, ...], Row] = {self._of(r): r for r in old.get("rows", [])}
        self.absent: dict[str, str] = old.get("absent", {})

    def has(self, *key: str) -> bool:
        """Tell whether there is a row."""
        return key in self.rows

    def add(self, row: Row) -> None:
        """Keep a row, in place of an earlier one of the same key."""
        self.rows[self._of(row)] = row
        self.write()

    def lacks(self, what: str, reason: str) -> None:
        """Keep why there is nothing to look at; no reason: there is something now."""
        self.absent.pop(what, None)
        if reason:
            self.absent[what] = reason
        self.write()

    def write(self) -> None:
        """Write the file."""
        content = {
            "versions": {name: _version(name) for name in self._packages},
            "python": platform.python_version(),
            "absent": self.absent,
            "rows": list(self.rows.values()),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(content, indent=1) + "\n")

    def summary(self) -> dict[str, int]:
        """Return how many rows have each verdict."""
        return dict(Counter(r["verdict"] for r in self.rows.values()))

    def _of(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(row[name] for name in self._key)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
