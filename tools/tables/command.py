"""The commands that every table has: ``run`` fills the JSON file, ``page`` makes the page of it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from tables.page import DOCS


def parser(doc: str | None, name: str) -> tuple[argparse.ArgumentParser, Any, Any]:
    """Return a parser, its commands and the command ``run``, to which a tool adds its own.

    Args:
        doc: What the tool does.
        name: Of its page and of the folder in the cache that it keeps files in.
    """
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = made.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="make the files and look at them")
    run.add_argument("--missing", action="store_true", help="only what has no result yet")
    places(run, name)
    page = commands.add_parser("page", help="write the page from the JSON file")
    page.add_argument("--check", action="store_true", help="compare, do not write")
    return made, commands, run


def places(command: argparse.ArgumentParser, name: str) -> None:
    """Add the options that say where a table's files are."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(cache) / "onnxcam" / name
    command.add_argument("--folder", type=Path, default=folder, help="where exports are kept")
    results = DOCS / f"{name}.json"
    command.add_argument("--results", type=Path, default=results, help="the JSON file")
