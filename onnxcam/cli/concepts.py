"""`onnxcam concepts`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from onnxcam.cli.group import main
from onnxcam.cli.options import DEVICE, JSON, LABELS, MODEL, PREPROCESS, options, print_json, say


@main.command("concepts", short_help="Show which pictures excite channels of a layer most.")
@options(
    MODEL,
    click.argument("pictures", nargs=-1, required=True, type=click.Path(path_type=Path)),
    click.option(
        "-o", "--output", type=click.Path(path_type=Path), default=Path("concepts.png"),
        show_default=True, metavar="FILE", help="The contact sheet, a picture.",
    ),
    click.option("--channel", "channels", type=click.IntRange(0), multiple=True, metavar="N",
                 help="A channel, from 0; repeatable [default: those that count most]."),
    click.option("--explained", type=click.Path(path_type=Path), metavar="FILE",
                 help="Show the channels that count most in this picture."),
    click.option("--feature-layer", "layer", metavar="NAME",
                 help="Layer of the channels [default: as of `onnxcam explain`]."),
    click.option("--most", type=click.IntRange(1), default=5, show_default=True,
                 help="Channels, where none are named."),
    click.option("--each", type=click.IntRange(1), default=6, show_default=True,
                 help="Pictures of a channel."),
    click.option("--by", type=click.Choice(["activation", "relevance"]), default="activation",
                 show_default=True, help="What pictures are ordered by."),
    PREPROCESS,
    LABELS,
    DEVICE,
    JSON,
)  # fmt: skip
def concepts_command(**options: Any) -> None:
    """Show what channels of a layer of MODEL stand for: the PICTURES that excite them most.

    PICTURES are files or folders. The sheet has a row for each channel; red is what makes up the
    channel's share in the score of the picture's class (concept relevance propagation).
    """
    from onnxcam.cli.bar import progress
    from onnxcam.cli.sources import sources
    from onnxcam.look.concepts import concepts

    paths = [source.path for source in sources(options.pop("pictures"))]
    place, as_json = options.pop("output"), options.pop("as_json")
    with progress(len(paths)) as bar:
        found = concepts(
            options.pop("model"), paths, progress=lambda done, total: bar.advance(), **options
        )
    found.save(place)
    for source, why in found.failed:
        say(f"onnxcam: {source}: {why}", err=True)
    if as_json:
        print_json(found.as_dict())
    else:
        say(f"{len(found.found)} channels of {found.layer} -> {place}")
