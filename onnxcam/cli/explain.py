"""`onnxcam explain`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from onnxcam.cli.group import main
from onnxcam.cli.options import (
    CLASS_AXIS,
    DEVICE,
    FEATURE,
    FEATURE_FORMAT,
    FEED,
    FUSE,
    INPUT,
    INPUT_FORMAT,
    JSON,
    LABELS,
    METHOD,
    MODEL,
    OP_LIBRARY,
    PREPROCESS,
    REDUCTION,
    SEED,
    options,
    print_json,
    upsampling,
)
from onnxcam.cli.parameters import Configured, taken
from onnxcam.cli.wanted import AGAINST, AT, BOX, DETECTOR, OVER, QUANTITY, SIMILAR, target

STYLE = click.Choice(["overlay", "relief", "heat", "side", "contour"], case_sensitive=False)


@main.command("explain", cls=Configured, short_help="Explain what a model sees in pictures.")
@options(
    MODEL,
    click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path)),
    click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path),
        metavar="FILE_OR_DIR",
        help="A picture (.png, .jpg, .webp, .svg), .npz or .json file, - for standard output, or "
        "a folder; several maps in one picture are a panel "
        "[default: <input>.<method>.png in the current folder].",
    ),
    click.option(
        "--beside",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="MODEL",
        help="Another model, whose maps go into the same figure; repeatable. Needs -o FILE.",
    ),
    METHOD,
    target("Class to explain"),
    QUANTITY,
    AGAINST,
    BOX,
    AT,
    SIMILAR,
    OVER,
    FEATURE,
    FUSE,
    REDUCTION,
    CLASS_AXIS,
    INPUT,
    FEED,
    INPUT_FORMAT,
    FEATURE_FORMAT,
    upsampling(),
    DEVICE,
    PREPROCESS,
    LABELS,
    click.option(
        "--style",
        type=STYLE,
        help="How a map is shown: over the picture, as colours on grey, as heat alone, both "
        "beside the picture, or as lines [default: as the method's paper does].",
    ),
    click.option(
        "--only", type=STYLE, help="Write the bare picture in this style, at its own size."
    ),
    click.option(
        "--panel",
        is_flag=False,
        flag_value="own",
        type=click.Choice(["own", "one"], case_sensitive=False),
        help="All maps of an input in one figure: each on its own scale, or all on one; with "
        "-o FILE those of all inputs.",
    ),
    click.option(
        "--scale",
        type=click.FloatRange(0, min_open=True),
        metavar="X",
        help="Size of the picture, 1 for its own [default: 1 with --only, else 480 pixels].",
    ),
    click.option(
        "--format",
        type=click.Choice(["png", "jpg", "webp", "svg"], case_sensitive=False),
        default="png",
        show_default=True,
        help="Of figures that go to a folder.",
    ),
    click.option(
        "--colormap",
        metavar="NAME",
        help="ember, marine, gray, blush, bluered, jet, viridis, inferno, cividis or turbo; any "
        "of matplotlib's where it is installed.",
    ),
    click.option("--channels", metavar="NAME,...", help="Names of a signal's channels."),
    click.option(
        "--rate",
        type=click.FloatRange(0, min_open=True),
        metavar="HZ",
        help="Samples a second of a signal: the axis is then in seconds.",
    ),
    OP_LIBRARY,
    DETECTOR,
    click.option("--alpha", type=click.FloatRange(0, 1), default=None, help="Opacity of the map."),
    click.option(
        "--save-map",
        type=click.Path(path_type=Path),
        metavar="FILE.npz",
        help="Also write the raw map (.npz).",
    ),
    click.option(
        "--cache/--no-cache",
        default=True,
        show_default=True,
        help="Keep what is written behind the model on disk, for the next time.",
    ),
    SEED,
    click.option(
        "--budget",
        type=click.IntRange(1),
        metavar="N",
        help="The most runs of the model for one map of a method that runs it many times; the map "
        "so far is taken then, as on Ctrl-C, and says so.",
    ),
    JSON,
)
def explain_command(**options: Any) -> None:
    """Explain what MODEL sees in each INPUT.

    An INPUT is a picture, an array (.npy, .npz), a folder with such, or - for standard input.
    """
    from onnxcam.cli.batch import run
    from onnxcam.cli.job import Job
    from onnxcam.cli.sources import sources

    parameters, others = taken(options)
    others["inputs"] = sources(others["inputs"])
    job = Job(parameters=parameters, **others)
    outcome = run(job)
    if job.as_json:
        print_json(outcome.as_dict())
    sys.exit(1 if outcome.failed else 0)
