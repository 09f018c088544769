"""Options that several commands share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def options(*given: Callable[[F], F]) -> Callable[[F], F]:
    """Return a decorator that adds these options to a command, in this order."""

    def apply(command: F) -> F:
        for option in reversed(given):
            command = option(command)
        return command

    return apply


MODEL = click.argument("model", type=click.Path(path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
METHOD = click.option(
    "--method",
    metavar="NAME",
    default="gradcam",
    show_default=True,
    help="How to explain; `onnxcam methods` lists them.",
)
REDUCTION = click.option(
    "--reduction-layer", metavar="TENSOR", help="Tensor with the scores [default: the logits]."
)
DEVICE = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "gpu"]),
    default="auto",
    show_default=True,
    help="Where to run; gpu without a usable CUDA device is an error.",
)
PREPROCESS = click.option(
    "--preprocess",
    metavar="P",
    help="How a picture becomes the input: a preset (imagenet, keras-tf, keras-caffe, unit, raw, "
    "none) or a TOML file [default: what lies beside or in the model].",
)
LABELS = click.option(
    "--labels",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Names of the classes: text, JSON or TOML.",
)


def print_json(value: Any) -> None:
    """Print a value as JSON to standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
