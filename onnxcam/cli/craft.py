"""`onnxcam craft`."""

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

_FILE = click.Path(path_type=Path)


@main.command("craft", short_help="Find the concepts that a class is made of in many pictures.")
@options(
    MODEL,
    click.argument("pictures", nargs=-1, required=True, type=_FILE),
    click.option("-o", "--output", type=_FILE, default=Path("craft.png"), show_default=True,
                 metavar="FILE", help="The contact sheet, a picture."),
    OF_EACH,
    OF_CONCEPTS,
    click.option("--concepts", type=click.IntRange(1), default=10, show_default=True,
                 help="Concepts that the layer is made of."),
    click.option("--crop", type=click.FloatRange(0, 1, min_open=True), default=0.3,
                 show_default=True, help="Side of a crop, a part of the input's."),
    click.option("--designs", type=click.IntRange(2), default=32, show_default=True,
                 help="Random masks of the concepts; a power of 2 is best."),
    click.option("--most", type=click.IntRange(1), default=5, show_default=True,
                 help="Concepts that are shown, those that the class needs most."),
    click.option("--each", type=click.IntRange(1), default=6, show_default=True,
                 help="Pictures of a concept."),
    click.option("--bank", type=_FILE, metavar="FILE.npy",
                 help="Also write the concepts, for `onnxcam explain --method craft --bank FILE`."),
    PREPROCESS,
    LABELS,
    DEVICE,
    SEED,
    JSON,
)  # fmt: skip
def craft_command(**options: Any) -> None:
    """Find the concepts that MODEL makes a class of, in PICTURES of it (CRAFT).

    PICTURES are files or folders, best of one class. The sheet has a row for each concept, the one
    that the class needs most first: the pictures with most of it, and where it is.
    """
    from onnxcam.cli.bar import progress
    from onnxcam.cli.sources import sources
    from onnxcam.look.craft import craft

    paths = [source.path for source in sources(options.pop("pictures"))]
    place, bank, as_json = (options.pop(name) for name in ("output", "bank", "as_json"))
    with progress(2 * len(paths)) as bar:
        found = craft(
            options.pop("model"), paths, progress=lambda done, total: bar.advance(), **options
        )
    found.save(place)
    if bank is not None:
        found.save_bank(bank)
    for source, why in found.failed:
        say(f"onnxcam: {source}: {why}", err=True)
    if as_json:
        print_json(found.as_dict())
        return
    for each in found.found:
        spread = "" if each.error is None else f" (+- {each.error:.2f})"
        say(f"concept {each.channel}: {each.share or 0:.2f}{spread}")
    say(f"{len(found.found)} concepts of {found.layer} -> {place}")
