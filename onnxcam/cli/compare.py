"""`onnxcam compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from onnxcam.cli.group import main
from onnxcam.cli.options import (
    DEVICE,
    FEATURE,
    JSON,
    LABELS,
    MODEL,
    PREPROCESS,
    REDUCTION,
    SEED,
    options,
    print_json,
    say,
)
from onnxcam.cli.parameters import Configured, taken

_USUAL = ("gradcam", "hirescam", "layercam", "occlusion")


@main.command("compare", cls=Configured, short_help="Hold several methods against each other.")
@options(
    MODEL,
    click.argument("image", type=click.Path(path_type=Path)),
    click.option(
        "--method", "methods", metavar="NAME", multiple=True, default=_USUAL, show_default=True,
        help="What to compare; repeatable. `onnxcam methods` lists them.",
    ),
    click.option(
        "-o", "--output", type=click.Path(path_type=Path), metavar="FILE",
        help="A .png or .json file [default: <image>.compare.png in the current folder].",
    ),
    click.option("--target", metavar="IDX|LABEL", help="Class [default: the top class]."),
    click.option(
        "--metric", "metrics", metavar="NAME", multiple=True,
        help="What to measure; repeatable [default: deletion, insertion, sparseness].",
    ),
    click.option(
        "--steps-of-curves", type=click.IntRange(1), default=20, show_default=True, metavar="N",
        help="In how many parts deletion and insertion take the places.",
    ),
    FEATURE,
    REDUCTION,
    DEVICE,
    PREPROCESS,
    LABELS,
    SEED,
    JSON,
)  # fmt: skip
def compare_command(**options: Any) -> None:
    """Show the maps of several methods for IMAGE side by side, and whether they agree.

    Under each map stands what it measures, and where a map that knows nothing of MODEL (the
    centre, noise, edges) does as well. Believe a map that others agree with and that beats these.
    """
    from onnxcam.cli.tables import print_comparison
    from onnxcam.explain import Explainer

    parameters, others = taken(options)
    shared = ("reduction_layer", "device", "preprocess", "labels", "seed")
    explainer = Explainer(
        others["model"], others["methods"], feature_layer=others["feature_layers"] or None,
        parameters=parameters, **{name: others[name] for name in shared},
    )  # fmt: skip
    image = others["image"]
    found = explainer.compare(
        image, target=others["target"], metrics=others["metrics"] or None,
        steps=others["steps_of_curves"],
    )  # fmt: skip
    place = others["output"] or Path(f"{image.stem}.compare.png")
    found.save(place)
    if others["as_json"]:
        print_json(found.as_dict())
    else:
        print_comparison(found)
        say(f"{image} -> {place}")
