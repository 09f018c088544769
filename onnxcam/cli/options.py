"""Options that several commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import click

from onnxcam.errors import UsageError, json_text, plain

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
    "methods",
    metavar="NAME",
    multiple=True,
    help="How to explain; `onnxcam methods` lists them [default: gradcam; of a detector's box "
    "hirescam]. Repeatable: several maps, one run.",
)
FEATURE = click.option(
    "--feature-layer",
    "feature_layers",
    metavar="TENSOR",
    multiple=True,
    help="Tensor that the map is made of [default: the last with places; of a detector's box the "
    "layers of its scales, fused]; repeatable.",
)
FUSE = click.option(
    "--fuse",
    type=click.Choice(["sum", "mean", "max", "product"], case_sensitive=False),
    help="Make one map of all feature layers, or of a detector's scales: their sum, or the mean, "
    "the maximum or the product (RefineCAM) of each divided by its own maximum.",
)
REDUCTION = click.option(
    "--reduction-layer", metavar="TENSOR", help="Tensor with the scores [default: the logits]."
)
CLASS_AXIS = click.option(
    "--class-axis",
    type=int,
    metavar="N",
    help="Axis of the classes in the reduction layer [default: read off the model].",
)
INPUT = click.option(
    "--input",
    "input",
    metavar="NAME",
    help="Input that maps are laid over [default: the first with space].",
)
_FORMAT = "a letter for each axis: B or N, C, S space, T time, or D, H, W"
INPUT_FORMAT = click.option(
    "--input-format",
    metavar="LETTERS",
    help=f"Meaning of the input's axes where the model does not tell, {_FORMAT}.",
)
FEATURE_FORMAT = click.option(
    "--feature-format",
    metavar="LETTERS",
    help=f"Meaning of the feature layer's axes, {_FORMAT}.",
)
FEED = click.option(
    "--feed",
    "feeds",
    multiple=True,
    metavar="NAME=FILE",
    help="Array (.npy, .npz) for another input of the model; repeatable. An .npz INPUT may hold "
    "arrays for all inputs, by name.",
)
DEVICE = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "gpu"], case_sensitive=False),
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
OP_LIBRARY = click.option(
    "--op-library",
    "op_library",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Library of the model's custom operators, as that of onnxruntime-extensions: its code is "
    "run. Repeatable.",
)
OF_EACH = click.option(
    "--target", metavar="IDX|LABEL", help="Class [default: the top class of each picture]."
)
OF_CONCEPTS = click.option(
    "--feature-layer", "layer", metavar="NAME",
    help="Layer of the concepts [default: as of `onnxcam explain`].",
)  # fmt: skip
SEED = click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Of the random numbers that some methods draw.",
)
LABELS = click.option(
    "--labels",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Names of the classes: text, JSON or TOML.",
)


def arrays(feeds: Sequence[str]) -> dict[str, Any]:
    """Return the arrays that `--feed NAME=FILE` names, by the name of the input.

    Raises:
        UsageError: One is not of that form, or names an input twice.
        InputError: A file cannot be read.
    """
    from onnxcam.inputs.arrays import load_array

    found: dict[str, Any] = {}
    for given in feeds:
        name, equals, file = given.partition("=")
        if not (name and equals and file):
            raise UsageError(f"--feed {given}: no NAME=FILE", "write it as --feed input=array.npy")
        if name in found:
            raise UsageError(f"--feed names {name} twice", "leave one out")
        found[name] = load_array(Path(file), name)
    return found


def upsampling(where: str = "") -> Callable[[F], F]:
    """Return the option for the way that a map is enlarged, which says where that happens."""
    return click.option(
        "--upsampling",
        type=click.Choice(["bicubic", "nearest", "none"], case_sensitive=False),
        default="bicubic",
        show_default=True,
        help=f"How the map comes to the input's size{where}.",
    )


class Grouped(click.Command):
    """A command whose help lists its options in groups, and its examples last.

    Attributes:
        groups: Heading -> names of the parameters under it; the rest is under "Other options".
        examples: Command lines and what each does.
    """

    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    examples: ClassVar[Mapping[str, str]] = {}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, heading by heading."""
        given = [p for p in self.get_params(ctx) if isinstance(p, click.Option)]
        records = {p.name: p.get_help_record(ctx) for p in given}
        grouped = [name for names in self.groups.values() for name in names]
        rest = tuple(name for name in records if name is not None and name not in grouped)
        for heading, names in {**self.groups, "Other options": rest}.items():
            rows = [row for name in names if (row := records[name]) is not None]
            with formatter.section(heading):
                formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        with formatter.section("Examples"):
            for command, meaning in self.examples.items():
                formatter.write(f"{'':{formatter.current_indent}}{command}\n")
                formatter.indent()
                formatter.write_text(meaning)
                formatter.dedent()


_quiet: list[bool] = []


def hush(*, quiet: bool) -> None:
    """Let :func:`say` print nothing but errors from now on, or print all again."""
    _quiet[:] = [True] * quiet


def say(line: str, *, err: bool = False) -> None:
    """Print one line, made plain; rich, which makes tables, takes longer to import than to print.

    Names and labels in it are a file's: none of them may do something to a terminal.
    """
    if _quiet and not err:
        return
    # By name: while a progress bar is shown these are its own, which write above it.
    click.echo(plain(line), file=sys.stderr if err else sys.stdout)


def print_json(value: Any) -> None:
    """Print a value as JSON to standard output."""
    encoding = getattr(sys.stdout, "encoding", None) or ""
    click.echo(json_text(value, only_ascii="utf" not in encoding.lower()))
