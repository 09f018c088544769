"""`onnxcam text`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from onnxcam.cli.group import main
from onnxcam.cli.options import (
    DEVICE,
    FEATURE,
    FEED,
    INPUT,
    JSON,
    LABELS,
    MODEL,
    REDUCTION,
    SEED,
    arrays,
    options,
    print_json,
    say,
)
from onnxcam.cli.parameters import Configured, taken

USUAL = "layer-integrated-gradients"


@main.command("text", cls=Configured, short_help="Explain which words of a text count.")
@options(
    MODEL,
    click.argument("words", metavar="INPUT"),
    click.option(
        "--tokens", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
        required=True,
        help="What the numbers stand for: a tokenizer.json, or a file with a token in each line.",
    ),
    click.option(
        "-o", "--output", type=click.Path(path_type=Path), metavar="FILE",
        help="A page (.html), a text with numbers (.txt) or .json [default: the terminal].",
    ),
    click.option(
        "--method", metavar="NAME", default=USUAL, show_default=True,
        help="How to explain; methods at a layer take the embedding of the tokens.",
    ),
    click.option("--target", metavar="IDX|LABEL", help="Class [default: the top class]."),
    click.option("--pieces", is_flag=True, help="Show tokens, not the words that they make."),
    FEATURE,
    REDUCTION,
    INPUT,
    FEED,
    DEVICE,
    LABELS,
    SEED,
    JSON,
)  # fmt: skip
def text_command(**options: Any) -> None:
    """Show in colours how much each word of INPUT counts for what MODEL says of it.

    INPUT is an array of the numbers of tokens (.npy), a text file, or a text in quotes; texts are
    cut into tokens by the library tokenizers. A mask, segments and positions are filled in where
    MODEL asks for them, unless they are fed.
    """
    from onnxcam.look.text import explained_text

    parameters, others = taken(options)
    wording = explained_text(
        others["model"], others["words"], others["tokens"], others["method"],
        target=others["target"], parameters=parameters, layers=others["feature_layers"],
        given=arrays(others["feeds"]), reduction_layer=others["reduction_layer"],
        input=others["input"], device=others["device"], labels=others["labels"],
        seed=others["seed"],
    )  # fmt: skip
    shown = wording if others["pieces"] else wording.words()
    if others["output"] is not None:
        shown.save(others["output"])
        say(f"{wording.title} -> {others['output']}")
    if others["as_json"]:
        print_json(shown.records)
    elif others["output"] is None:
        colour = sys.stdout.isatty()
        click.echo(shown.terminal(colour=colour))
