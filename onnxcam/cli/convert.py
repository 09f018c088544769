"""`onnxcam convert`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click

from onnxcam.cli.group import main
from onnxcam.cli.options import (
    CLASS_AXIS,
    FEATURE,
    FEATURE_FORMAT,
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
    Grouped,
    options,
    print_json,
    say,
    upsampling,
)
from onnxcam.cli.parameters import Configured, taken
from onnxcam.cli.wanted import AGAINST, AT, BOX, DETECTOR, QUANTITY, declared, target, wanted

if TYPE_CHECKING:
    from onnxcam.conversion import Conversion
    from onnxcam.run.kernels import Fallen

_SHOWN = 4  # kinds of nodes that a provider lacks: the rest is counted


class _Convert(Configured, Grouped):
    """The groups and examples of `onnxcam convert --help`."""

    kind = "graph"
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "What is explained": (
            "methods", "targets", "quantity", "against", "boxes", "places", "runtime_target",
            "require_target", "feature_layers", "fuse", "reduction_layer", "class_axis", "input",
            "input_format", "feature_format", "labels", "detector", "wrt",
        ),
        "What the file returns": ("upsampling", "normalize", "overlay", "preprocess", "expose"),
        "What the file is": (
            "output", "force", "opset", "fp16_safe", "check", "sample",
            "op_library",
        ),
    }  # fmt: skip
    examples: ClassVar[Mapping[str, str]] = {
        "onnxcam convert model.onnx -o explained.onnx": "Grad-CAM of the top class.",
        "onnxcam convert model.onnx -o explained.onnx --overlay --preprocess imagenet": (
            "Also the map drawn on the picture."
        ),
        "onnxcam convert model.onnx -o explained.onnx --method layercam --runtime-target": (
            "Layer-CAM of as many classes as a caller asks for."
        ),
        "onnxcam convert model.onnx -o web.onnx --require-target --opset 17": (
            "For ONNX Runtime Web, and for an older runtime."
        ),
        "onnxcam convert model.onnx -o gradient.onnx --method gradient --wrt input": (
            "The gradient of the score, as it is."
        ),
    }


@main.command("convert", cls=_Convert, short_help="Write a model that predicts and explains.")
@options(
    MODEL,
    click.option(
        "-o",
        "--output",
        required=True,
        type=click.Path(path_type=Path),
        metavar="OUT.onnx",
        help="The file to write.",
    ),
    METHOD,
    click.option(
        "--wrt",
        multiple=True,
        metavar="TENSOR",
        help="With --method gradient: return the gradient of the score with respect to this "
        "tensor, as grad::TENSOR; repeatable.",
    ),
    target("Class explained when the caller names none"),
    QUANTITY,
    AGAINST,
    BOX,
    AT,
    click.option(
        "--runtime-target", is_flag=True, help="Let callers ask for any number of classes."
    ),
    click.option(
        "--require-target",
        is_flag=True,
        help="Make callers feed the target: no default, as ONNX Runtime Web needs it.",
    ),
    FEATURE,
    FUSE,
    REDUCTION,
    CLASS_AXIS,
    INPUT,
    INPUT_FORMAT,
    FEATURE_FORMAT,
    upsampling(", in the graph"),
    click.option(
        "--normalize",
        type=click.Choice(["none", "max", "minmax"], case_sensitive=False),
        default="none",
        show_default=True,
        help="Scale every map in the graph.",
    ),
    click.option(
        "--overlay",
        is_flag=True,
        help="Also return the map drawn on the picture (onnxcam.overlay).",
    ),
    click.option(
        "--opset",
        type=click.IntRange(1),
        metavar="N",
        help="Opset of OUT.onnx, for older runtimes [default: 20, or MODEL's where later].",
    ),
    click.option(
        "--fp16-safe",
        is_flag=True,
        help="Explain a model of half precision in float32: no gradient is lost.",
    ),
    click.option(
        "--expose",
        metavar="NAMES",
        help="More outputs, by commas: feature, gradient, score, signed, steepest, relief.",
        default="",
    ),
    click.option(
        "--check/--no-check",
        default=True,
        show_default=True,
        help="Run the old and the new model side by side before the file is written.",
    ),
    click.option(
        "--sample",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="What to run them on: a picture, .npy or .npz [default: random numbers].",
    ),
    click.option("--force", is_flag=True, help="Replace OUT.onnx where it exists."),
    PREPROCESS,
    LABELS,
    OP_LIBRARY,
    DETECTOR,
    JSON,
)
def convert_command(
    model: Path,
    methods: tuple[str, ...],
    feature_layers: tuple[str, ...],
    targets: tuple[str, ...],
    quantity: str,
    against: str | None,
    boxes: tuple[str, ...],
    places: tuple[int, ...],
    detector: tuple[str, ...],
    runtime_target: bool,
    expose: str,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Write MODEL as one ONNX file that returns its heatmap with its prediction.

    The new model keeps every input and output of MODEL and adds the optional input
    `onnxcam.target` and the outputs `onnxcam.map` and `onnxcam.class`; several maps are called
    `onnxcam.map.NAME`.
    """
    from onnxcam.conversion import convert
    from onnxcam.run.kernels import fallen

    parameters, others = taken(chosen)
    made = convert(
        model,
        method=methods or None,
        detector=declared(detector),
        feature_layer=feature_layers or None,
        target=wanted(targets, quantity, against, boxes, places),
        runtime_targets=runtime_target,
        expose=[name.strip() for name in expose.split(",") if name.strip()],
        parameters=parameters,
        **others,
    )
    elsewhere = fallen(made.explained.model.light) if chosen["check"] else {}
    if as_json:
        said = {
            name: {"on_cpu": each.nodes, "opset": each.opset} for name, each in elsewhere.items()
        }
        print_json({**made.as_dict(), "providers": said})
    else:
        _print(made)
        _print_elsewhere(elsewhere)
        say(f"written: {made.path}")


def _print_elsewhere(elsewhere: Mapping[str, Fallen]) -> None:
    """Print what providers that may not be here would leave to the CPU, by their makers' tables."""
    from onnxcam.run.kernels import providers

    for name, each in elsewhere.items():
        if not each.nodes:
            continue
        most = sorted(each.nodes.items(), key=lambda item: -item[1])
        listed = ", ".join(f"{what} ({count})" for what, count in most[:_SHOWN])
        more = f" and {len(most) - _SHOWN} more kinds" if len(most) > _SHOWN else ""
        hint = f"; none at --opset {each.opset}" if each.opset else ""
        title = providers()[name].title
        say(f"on {title} these nodes would run on the CPU: {listed}{more}{hint}")


def _print(made: Conversion) -> None:
    """Print what was written and what the check found."""
    explained = made.explained
    gradient = "" if explained.gradient == "exact" else f", gradient {explained.gradient}"
    say(f"{explained.summary}{gradient}")
    for warning in made.warnings:
        say(f"warning: {warning}")
    if made.check is not None:
        found = made.check
        same = "bit for bit" if found.plain == 0 else f"within {found.plain:.2g}"
        say(
            f"checked on {', '.join(found.devices)}: outputs the same {same} with optimisations "
            f"off, within {found.optimised:.2g} with them on; {found.what} within {found.map:.2g} "
            f"of {found.truth} (relative)"
        )
        for warning in found.warnings:
            say(f"warning: {warning}")
