"""`onnxcam tcav`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from onnxcam.cli.group import main
from onnxcam.cli.options import (
    DEVICE,
    JSON,
    LABELS,
    MODEL,
    OF_CONCEPTS,
    OF_EACH,
    PREPROCESS,
    SEED,
    options,
    print_json,
    say,
)

_FOLDER = click.Path(path_type=Path)


@main.command("tcav", short_help="Test whether a class moves with concepts given by pictures.")
@options(
    MODEL,
    click.argument("pictures", nargs=-1, required=True, type=_FOLDER),
    click.option("--concept", "concepts", type=_FOLDER, multiple=True, required=True,
                 metavar="FOLDER", help="Pictures that show a concept; repeatable."),
    click.option("--random", type=_FOLDER, multiple=True, required=True, metavar="FOLDER",
                 help="Pictures of nothing in particular; each run takes some of them."),
    OF_EACH,
    OF_CONCEPTS,
    click.option("--runs", type=click.IntRange(2), default=20, show_default=True,
                 help="Classifiers of each concept, with other random pictures each."),
    click.option("--level", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.05,
                 show_default=True, help="Of significance; shared out among the concepts."),
    click.option("--pooled", is_flag=True, help="Take the mean of each channel, not all places."),
    PREPROCESS,
    LABELS,
    DEVICE,
    SEED,
    JSON,
)  # fmt: skip
def tcav_command(**options: Any) -> None:
    """Test whether what MODEL says of PICTURES moves with concepts that are given by pictures.

    PICTURES are files or folders, usually of one class. A concept's score is the share of them
    whose score rises along its direction in a layer; a t-test says whether random pictures have
    such a score too (TCAV).
    """
    from onnxcam.cli.bar import progress
    from onnxcam.cli.sources import sources
    from onnxcam.look.tcav import tcav

    def files(given: Any) -> list[Path]:
        return [source.path for source in sources(given)]

    pictures, random = files(options.pop("pictures")), files(options.pop("random"))
    concepts = {str(place.name or place): files([place]) for place in options.pop("concepts")}
    as_json, total = options.pop("as_json"), len(pictures) + len(random)
    with progress(total + sum(map(len, concepts.values()))) as bar:
        found = tcav(
            options.pop("model"), pictures, concepts, random,
            progress=lambda done, total: bar.advance(), **options,
        )  # fmt: skip
    for source, why in found.failed:
        say(f"onnxcam: {source}: {why}", err=True)
    if as_json:
        print_json(found.as_dict())
        return
    say(f"{found.pictures} pictures, layer {found.layer}")
    for each in found.found:
        said = "significant" if each.significant else "may be chance"
        say(f"{each.concept}: {each.score:.2f} (+- {each.spread:.2f}), by chance "
            f"{sum(each.by_chance) / len(each.by_chance):.2f}, p {each.p:.2g}: {said}")  # fmt: skip
        for doubt in each.doubts:
            say(f"onnxcam: {each.concept}: {doubt}", err=True)
