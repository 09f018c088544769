"""`onnxcam audit`, `report`, `verify` and `diff`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click

from onnxcam.cli.bar import samples
from onnxcam.cli.group import main
from onnxcam.cli.options import (
    DEVICE,
    JSON,
    LABELS,
    METHOD,
    MODEL,
    PREPROCESS,
    REDUCTION,
    Grouped,
    options,
    print_json,
    say,
)
from onnxcam.errors import UsageError
from onnxcam.run import bounds

if TYPE_CHECKING:
    from onnxcam.audit import Audit

USUAL = "gradcam"
_PLACE = click.Path(path_type=Path)
FOLDER = click.argument("folder", metavar="OUT", type=_PLACE)
FEATURE = click.option(
    "--feature-layer", metavar="TENSOR", help="Tensor that the maps are made of [default: found]."
)
BASELINE = options(
    click.option(
        "--baseline-preprocess", metavar="P", help="How it takes pictures, where that differs."
    ),
    click.option(
        "--baseline-labels", type=_PLACE, metavar="FILE", help="Its classes, where they differ."
    ),
    click.option(
        "--baseline-feature-layer", metavar="TENSOR", help="Tensor that its maps are made of."
    ),
    click.option("--baseline-reduction-layer", metavar="TENSOR", help="Tensor with its scores."),
)


class _Audit(Grouped):
    """The groups and examples of `onnxcam audit --help`."""

    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "What is audited": (
            "policy", "methods", "parameters", "metrics", "feature_layer", "reduction_layer",
            "preprocess", "labels",
        ),
        "What it is held against": (
            "baseline", "baseline_preprocess", "baseline_labels", "baseline_feature_layer",
            "baseline_reduction_layer",
        ),
        "The data": ("data_format", "slices", "boxes", "masks", "sample", "seed"),
        "The run": (
            "output", "resume", "engine", "address", "workers", "timeout", "trust",
            "keep_maps", "device",
        ),
    }  # fmt: skip
    examples: ClassVar[Mapping[str, str]] = {
        "onnxcam audit model.onnx photos/ -o audit/": (
            "A folder for each class, by the policy first-release."
        ),
        "onnxcam audit int8.onnx photos/ -o audit/ --baseline float.onnx": (
            "Does the quantised build do the same, for the same reasons?"
        ),
        "onnxcam audit new.onnx data.csv -o audit/ --baseline old.onnx --policy new-version "
        "--slice camera": "Two versions, with limits for each camera.",
        "onnxcam audit model.onnx photos/ -o audit/ --boxes instances.json --resume": (
            "Go on after an interruption; the map's share in the objects."
        ),
    }


@main.command("audit", cls=_Audit, short_help="Judge a model on a data set, with evidence.")
@options(
    MODEL,
    click.argument("data", type=_PLACE),
    click.option(
        "-o", "--output", required=True, type=_PLACE, metavar="OUT", help="The audit's folder."
    ),
    click.option(
        "--baseline", type=_PLACE, metavar="MODEL", help="The model that it is held against."
    ),
    click.option(
        "--policy",
        metavar="P",
        help="The limits: a TOML file, or quantised-build, new-version or first-release [default: "
        "first-release; with a baseline quantised-build].",
    ),
    METHOD,
    click.option(
        "--parameter",
        "parameters",
        multiple=True,
        metavar="NAME=VALUE",
        help="Of the methods, as `onnxcam methods NAME` lists them; repeatable.",
    ),
    click.option(
        "--metric",
        "metrics",
        multiple=True,
        metavar="NAME",
        help="Also measure how faithful the maps are (deletion, ...); repeatable, and slow.",
    ),
    FEATURE,
    REDUCTION,
    PREPROCESS,
    LABELS,
    BASELINE,
    click.option("--data-format", metavar="F", help="Form of DATA [default: what it looks like]."),
    click.option(
        "--slice",
        "slices",
        multiple=True,
        metavar="COLUMN",
        help="Column of DATA whose values are groups; repeatable.",
    ),
    click.option(
        "--boxes", type=_PLACE, metavar="F", help="Objects: COCO's JSON, or a folder of VOC's XML."
    ),
    click.option("--masks", type=_PLACE, metavar="DIR", help="Masks, by the names of pictures."),
    click.option(
        "--sample", type=click.IntRange(1), metavar="N", help="Draw N samples [default: all]."
    ),
    click.option(
        "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of all that is drawn."
    ),
    click.option("--resume", is_flag=True, help="Go on with an audit that was interrupted."),
    click.option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="One process here, or Ray's workers.",
    ),
    click.option("--address", metavar="A", help="Of a Ray cluster [default: one is started]."),
    click.option(
        "--workers", type=click.IntRange(1), default=2, show_default=True, help="Of Ray."
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(1),
        default=600,
        show_default=True,
        metavar="S",
        help="Seconds after which a sample that the runtime hangs on is given up.",
    ),
    click.option(
        "--trust",
        type=click.IntRange(0),
        default=16,
        show_default=True,
        metavar="N",
        help="Samples that the audit itself is checked on: random weights, a second method.",
    ),
    click.option(
        "--maps/--no-maps", "keep_maps", default=True, show_default=True, help="Keep the maps."
    ),
    DEVICE,
    JSON,
)  # fmt: skip
def audit_command(
    methods: tuple[str, ...], parameters: tuple[str, ...], as_json: bool, **chosen: Any
) -> None:
    """Judge MODEL on DATA, alone or beside a baseline, and leave the evidence in OUT.

    DATA is a folder with one for each class, a list or CSV of files, COCO's JSON, VOC's folder, a
    folder of images and one of masks, an .npz or .parquet file, or a folder of `datasets`. OUT
    holds the report (report.html), the records and everything that `onnxcam verify` checks. The
    exit code is 0 where the policy passes, 3 where it fails, 4 where there is not enough data.
    """
    from onnxcam.audit import run

    if chosen["engine"] == "local":  # Ray's own processes share memory beyond the machine's
        bounds.bound_memory(chosen["device"])
    with samples("auditing") as progress:
        made = run(
            method=methods or USUAL, parameters=_values(parameters), progress=progress, **chosen
        )
    if as_json:
        print_json({"folder": str(made.folder), "counts": made.counts, **made.verdict.as_dict()})
    else:
        _print(made)
    sys.exit(made.verdict.exit_code)


def _values(given: tuple[str, ...]) -> dict[str, Any] | None:
    """Return what `NAME=VALUE` says of parameters: numbers where they are some, else words."""
    found: dict[str, Any] = {}
    for each in given:
        name, equals, text = each.partition("=")
        if not name or not equals:
            raise UsageError(f"{each!r} is no NAME=VALUE", "write it as steps=20")
        try:
            found[name.replace("-", "_")] = (
                int(text) if text.lstrip("-").isdecimal() else float(text)
            )
        except ValueError:
            found[name.replace("-", "_")] = text
    return found or None


def _print(made: Audit) -> None:
    """Print what an audit came to, what does not pass first."""
    from onnxcam.audit.bundle import interval, test_name

    counts = made.counts
    say(f"{counts['samples']} samples, {counts['failed']} could not be explained")
    if counts["pairs"]:
        say(
            f"{counts['flipped']} predictions changed; {counts['explanation_flips']} explanations "
            "changed while the prediction stayed"
        )
    for finding in made.verdict.as_dict()["findings"]:
        if finding["result"] != "pass" or finding["per"] == "overall":
            say(f"{finding['result']}: {test_name(finding)}: {interval(finding)}")
    for skipped in made.verdict.skipped:
        say(f"not judged: {skipped}")
    for conflict in made.verdict.conflicts:
        say(f"conflict: {conflict}")
    say(f"{made.verdict.result} -> {made.folder / 'report.html'}")
