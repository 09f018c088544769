"""Write docs/cli.md from the commands' own --help.

python tools/make_cli_docs.py            # writes docs/cli.md
python tools/make_cli_docs.py --check    # exit 1 when it is not up to date
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import click

from onnxcam.cli import main as onnxcam

PLACE = Path(__file__).resolve().parents[1] / "docs" / "cli.md"
HEAD = """# The command line

Written by `tools/make_cli_docs.py` from `--help`; a test holds it.
"""


def page() -> str:
    """Return the page."""
    parts = [HEAD, _section("onnxcam", onnxcam, None)]
    top = click.Context(onnxcam, info_name="onnxcam")
    parts += [
        _section(f"onnxcam {name}", command, top) for name, command in onnxcam.commands.items()
    ]
    return "\n".join(parts)


def _section(title: str, command: click.Command, parent: click.Context | None) -> str:
    context = click.Context(
        command, info_name=title.split()[-1], parent=parent, max_content_width=100
    )
    return f"## `{title}`\n\n```text\n{command.get_help(context)}\n```\n"


def main() -> int:
    """Run the tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare, do not write")
    if not parser.parse_args().check:
        PLACE.write_text(page())
        return 0
    if PLACE.is_file() and PLACE.read_text() == page():
        return 0
    print(f"{PLACE.name} is out of date: run tools/make_cli_docs.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
