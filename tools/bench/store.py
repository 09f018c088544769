"""The JSON file that the documents' figures come from: one section a command, one row a figure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]


def update(
    path: Path,
    section: str,
    circumstances: Mapping[str, Any],
    rows: Sequence[Row],
    *,
    key: Sequence[str],
) -> None:
    """Write a section's rows; earlier ones stay where they are comparable.

    Args:
        path: The file; made where it is not there.
        section: Name of the section.
        circumstances: "machine", "versions" and "settings" of the new rows.
        rows: The new rows.
        key: What tells a row from another: an earlier one of the same key is replaced, and all
            of them are dropped where processor, versions or settings were others.
    """
    content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    found = {_key(row, key): row for row in _comparable(content.get(section), circumstances)}
    found |= {_key(row, key): row for row in rows}
    content[section] = {**circumstances, "results": list(found.values())}
    path.write_text(json.dumps(content, indent=1) + "\n")


def _key(row: Row, key: Sequence[str]) -> tuple[Any, ...]:
    return tuple(row[name] for name in key)


def _comparable(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> Sequence[Row]:
    if old is None or _facts(old) != _facts(new):
        return []
    rows: Sequence[Row] = old["results"]
    return rows


def _facts(section: Mapping[str, Any]) -> tuple[Any, ...]:
    return section["machine"]["cpu"], section["versions"], section["settings"]
