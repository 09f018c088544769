"""`onnxcam report`, `verify` and `diff`: what others do with an audit, and its two-minute form."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onnxcam.cli.audit import BASELINE, FEATURE
from onnxcam.cli.group import main
from onnxcam.cli.options import JSON, LABELS, PREPROCESS, REDUCTION, options, print_json, say

if TYPE_CHECKING:
    from onnxcam.audit.check import Checked

_PLACE = click.Path(path_type=Path)
FOLDER = click.argument("folder", metavar="OUT", type=_PLACE)


@main.command("report", short_help="Write the report of an audit again.")
@options(
    FOLDER,
    click.option(
        "--drift",
        "other",
        type=_PLACE,
        metavar="OTHER",
        help="Instead say what moved since OTHER, an audit of the same model on other data.",
    ),
)
def report_command(folder: Path, other: Path | None) -> None:
    """Write OUT/report.html again from what lies in OUT, as after an update of onnxcam."""
    if other is not None:
        from onnxcam.audit import drift

        for line in drift(other, folder).lines:
            say(line)
        return
    from onnxcam.audit import report

    say(f"written: {report(folder)}")


@main.command("verify", short_help="Check an audit: hashes, records, verdict.")
@options(
    FOLDER,
    click.option(
        "--data/--no-data", default=True, show_default=True, help="Also hash the samples."
    ),
    JSON,
)
def verify_command(folder: Path, data: bool, as_json: bool) -> None:
    """Check the audit in OUT: every file, the models, the data, and the verdict by its records.

    The exit code is 1 where something is not what it was, else that of the audit.
    """
    from onnxcam.audit import verify

    found = verify(folder, data=data)
    if as_json:
        print_json({"result": found.result, "problems": found.problems, "unseen": found.unseen})
    else:
        _print_check(found)
    sys.exit(1 if found.problems else found.exit_code)


def _print_check(found: Checked) -> None:
    for problem in found.problems:
        say(f"wrong: {problem}")
    for missing in found.unseen:
        say(f"not checked: {missing}")
    whole = "something is not what it was" if found.problems else "all is what it was"
    say(f"{found.files} files: {whole}; the verdict is: {found.result}")


@main.command("diff", short_help="What changed between two models, on a few pictures.")
@options(
    click.argument("old", type=_PLACE),
    click.argument("new", type=_PLACE),
    click.argument("inputs", nargs=-1, required=True, type=_PLACE),
    click.option("-o", "--output", type=_PLACE, metavar="FILE.png", help="The worst side by side."),
    click.option("--method", default="gradcam", show_default=True, help="How to explain."),
    FEATURE,
    REDUCTION,
    PREPROCESS,
    LABELS,
    BASELINE,
    JSON,
)
def diff_command(as_json: bool, **chosen: Any) -> None:
    """Say what changed from OLD to NEW on INPUTS: predictions, maps, the tensor where it begins.

    The exit code is 0 where no prediction and no explanation changed, else 3.
    """
    from onnxcam.audit import diff

    made = diff(**chosen)
    if as_json:
        print_json(made.as_dict())
    else:
        for line in made.lines:
            say(line)
    sys.exit(made.exit_code)
