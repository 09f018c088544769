"""The command line: parse, call the API, print, exit code. No maths."""

from __future__ import annotations

import json
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from onnxcam import __version__
from onnxcam.errors import OnnxcamError, UsageError

if TYPE_CHECKING:
    from onnxcam.layers import Candidate, Catalog

F = TypeVar("F", bound=Callable[..., Any])


class _Commands(click.Group):
    """Turns the package's own errors into one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except OnnxcamError as error:
            if ctx.params.get("debug"):
                traceback.print_exc()
            click.echo(f"onnxcam: {error}", err=True)
            ctx.exit(2 if isinstance(error, UsageError) else 1)


def _options(*options: Callable[[F], F]) -> Callable[[F], F]:
    def apply(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return apply


_MODEL = click.argument("model", type=click.Path(path_type=Path))
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
_REDUCTION = click.option(
    "--reduction-layer", metavar="TENSOR", help="Tensor with the scores [default: the logits]."
)
_DEVICE = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "gpu"]),
    default="auto",
    show_default=True,
    help="Where to run; gpu without a usable CUDA device is an error.",
)
_PREPROCESS = click.option(
    "--preprocess",
    metavar="P",
    help="How a picture becomes the input: a preset (imagenet, keras-tf, keras-caffe, unit, raw, "
    "none) or a TOML file [default: what lies beside or in the model].",
)
_LABELS = click.option(
    "--labels",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Names of the classes: text, JSON or TOML.",
)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="onnxcam")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Explain any ONNX model with nothing but ONNX Runtime."""


@main.command("layers", short_help="List the layers that can be explained.")
@_options(
    _MODEL,
    _REDUCTION,
    click.option("--all", "everything", is_flag=True, help="Also what cannot be used, and why."),
    _JSON,
)
def layers_command(
    model: Path, reduction_layer: str | None, everything: bool, as_json: bool
) -> None:
    """List the layers of MODEL that can be explained; the default is marked."""
    from onnxcam.layers import catalog
    from onnxcam.model import load

    loaded = load(model)
    found = catalog(loaded, reduction_layer=reduction_layer)
    rows = [c for c in found.candidates if everything or (c.usable and _is_layer(c, found))]
    if as_json:
        _print_json({"notes": loaded.notes, **_catalog_json(found, rows)})
    else:
        from onnxcam import report

        report.print_layers(loaded, found, rows)


@main.command("inputs", short_help="Find out how a model wants its pictures.")
@_options(
    _MODEL,
    click.argument("image", type=click.Path(path_type=Path)),
    click.option("--save", metavar="PRESET", help="Write this preset as <model>.toml."),
    click.option("--force", is_flag=True, help="Replace a <model>.toml that is there."),
    _LABELS,
    _JSON,
)
def inputs_command(
    model: Path, image: Path, save: str | None, force: bool, labels: Path | None, as_json: bool
) -> None:
    """Find out how MODEL wants its pictures: what IMAGE is taken for under every preset."""
    from onnxcam import report
    from onnxcam.inputs import save_preset, try_presets

    trials = try_presets(model, image, labels=labels)
    saved = save_preset(model, save, labels=labels, force=force) if save else None
    if as_json:
        _print_json({"presets": [t.as_dict() for t in trials], "saved": saved and str(saved)})
    else:
        report.print_trials(trials, saved)


@main.command("explain", short_help="Explain what a model sees in pictures.")
@_options(
    _MODEL,
    click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path)),
    click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path),
        metavar="FILE_OR_DIR",
        help="A .png, .npz or .json file for one explanation, else a folder "
        "[default: <input>.<method>.png in the current folder].",
    ),
    click.option("--method", default="gradcam", show_default=True, help="gradcam or cam."),
    click.option(
        "--target",
        "targets",
        multiple=True,
        metavar="IDX|LABEL",
        help="Class to explain [default: the top class]; repeatable.",
    ),
    click.option("--feature-layer", metavar="TENSOR", help="Tensor that the map is made of."),
    _REDUCTION,
    click.option(
        "--upsampling",
        type=click.Choice(["bicubic", "nearest", "none"]),
        default="bicubic",
        show_default=True,
        help="How the map comes to the input's size.",
    ),
    _DEVICE,
    _PREPROCESS,
    _LABELS,
    click.option(
        "--colormap", metavar="NAME", help="ember, marine, gray, blush, bluered or jet."
    ),
    click.option("--alpha", type=click.FloatRange(0, 1), default=None, help="Opacity of the map."),
    click.option(
        "--save-map",
        type=click.Path(path_type=Path),
        metavar="FILE.npz",
        help="Also write the raw map (.npz).",
    ),
    _JSON,
)
def explain_command(**options: Any) -> None:
    """Explain what MODEL sees in each INPUT (pictures, or .npy/.npz arrays)."""
    from onnxcam.batch import Job, run

    job = Job(**options)
    outcome = run(job)
    if job.as_json:
        _print_json(outcome.as_dict())
    sys.exit(1 if outcome.failed else 0)


def _is_layer(candidate: Candidate, catalog: Catalog) -> bool:
    """Hide what only moves values; show what a person would call a layer."""
    if catalog.feature is not None and candidate.name == catalog.feature.name:
        return True
    moves = "Cast|Reshape|Transpose|Identity|QuantizeLinear|Dropout|Squeeze|Unsqueeze|Pad|Shape"
    return re.fullmatch(moves, candidate.op) is None


def _catalog_json(catalog: Catalog, rows: Sequence[Candidate]) -> dict[str, Any]:
    reduction = catalog.reduction
    return {
        "input": catalog.input,
        "input_layout": catalog.input_layout and catalog.input_layout.axes,
        "feature_layer": catalog.feature and catalog.feature.name,
        "feature_reason": catalog.feature_reason,
        "reduction_layer": reduction.name,
        "reduction_reason": reduction.reason,
        "classes": reduction.classes,
        "layers": [
            {
                "name": c.name,
                "op": c.op,
                "shape": c.shape,
                "layout": c.layout and c.layout.axes,
                "usable": c.usable,
                "reason": c.reason,
            }
            for c in rows
        ],
    }


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
