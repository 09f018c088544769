"""A page in the documents out of a table's JSON file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[2] / "docs"


def write(name: str, text_of: Callable[[dict[str, Any]], str], tool: str, *, check: bool) -> int:
    """Write the page of a table, or tell by the exit code whether it is up to date.

    Args:
        name: Of the page and of the JSON file.
        text_of: Makes the page of what the JSON file holds.
        tool: What writes the table.
        check: Compare, do not write.
    """
    results, page = DOCS / f"{name}.json", DOCS / f"{name}.md"
    if not results.exists():
        print(f"there are no results: run `{tool} run`", file=sys.stderr)
        return 1
    text = text_of(json.loads(results.read_text()))
    if check and (not page.exists() or page.read_text() != text):
        print(f"{page.name} is out of date: run `{tool} page`", file=sys.stderr)
        return 1
    if not check:
        page.write_text(text)
    return 0


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as Markdown, the first as the heading."""
    lines = [f"| {' | '.join(c.replace('|', chr(92) + '|') for c in row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]) + "\n"
