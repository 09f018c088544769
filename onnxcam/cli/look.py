"""`onnxcam layers`, `inputs`, `methods` and `ops`: look at a model, and at what there is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onnxcam.cli.group import main, spoken
from onnxcam.cli.options import (
    CLASS_AXIS,
    INPUT,
    INPUT_FORMAT,
    JSON,
    LABELS,
    MODEL,
    OP_LIBRARY,
    REDUCTION,
    options,
    print_json,
    say,
)
from onnxcam.errors import UsageError

if TYPE_CHECKING:
    from onnxcam.analysis.layers import Candidate, Catalog
    from onnxcam.cli.sources import Source
    from onnxcam.model.model import Model


@main.command("layers", short_help="List the layers that can be explained.")
@options(
    MODEL,
    REDUCTION,
    CLASS_AXIS,
    INPUT,
    INPUT_FORMAT,
    click.option("--all", "everything", is_flag=True, help="Also what cannot be used, and why."),
    JSON,
)
def layers_command(
    model: Path,
    reduction_layer: str | None,
    class_axis: int | None,
    input: str | None,
    input_format: str | None,
    everything: bool,
    as_json: bool,
) -> None:
    """List the layers of MODEL that can be explained; the default is marked."""
    from onnxcam.analysis.layers import Asked, asked, catalog
    from onnxcam.model.model import load
    from onnxcam.run.traced import sized

    said = Asked(reduction_layer, class_axis, input)
    loaded = sized(load(model), said, None)
    wanted = asked(loaded, said, input_format)
    found = catalog(loaded, wanted)
    rows = [c for c in found.candidates if everything or (c.usable and _is_layer(c, found))]
    boxes = _boxes(loaded, found)
    if as_json:
        print_json({"notes": loaded.notes, **_catalog_json(found, rows), "detector": boxes})
    else:
        from onnxcam.cli import tables as report

        report.print_layers(loaded, found, rows, boxes)


@main.command("inputs", short_help="Find out how a model wants its pictures.")
@options(
    MODEL,
    click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path)),
    click.option(
        "--truth",
        "truths",
        multiple=True,
        metavar="IDX|LABEL",
        help="What is in the IMAGEs: once for all, or once for each. A folder of folders tells by "
        "their names.",
    ),
    click.option("--save", metavar="PRESET", help="Write this preset as <model>.toml."),
    click.option("--force", is_flag=True, help="Replace a <model>.toml that is there."),
    LABELS,
    OP_LIBRARY,
    JSON,
)
def inputs_command(
    model: Path,
    images: tuple[Path, ...],
    truths: tuple[str, ...],
    save: str | None,
    force: bool,
    labels: Path | None,
    op_library: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Find out how MODEL wants its pictures: what IMAGE is taken for under every preset.

    With several IMAGEs, or with --truth, it counts what each preset lets the model name rightly,
    and says which wins and by how much.
    """
    from onnxcam.cli import tables as report
    from onnxcam.cli.sources import sources
    from onnxcam.look.presets import save_preset, try_presets

    given = sources(images)
    if len(given) > 1 or truths:
        _rank_presets(model, given, truths, labels, op_library, as_json)
        if save:
            say(f"written: {save_preset(model, save, labels=labels, force=force)}")
        return
    trials = [
        replace(trial, problem=spoken(trial.problem))
        for trial in try_presets(model, given[0].path, labels=labels, op_library=op_library)
    ]
    saved = save_preset(model, save, labels=labels, force=force) if save else None
    if as_json:
        print_json({"presets": [t.as_dict() for t in trials], "saved": saved and str(saved)})
    else:
        report.print_trials(trials, saved)


def _rank_presets(
    model: Path,
    given: Sequence[Source],
    truths: tuple[str, ...],
    labels: Path | None,
    op_library: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Say which preset lets a model name most of what is in pictures."""
    from onnxcam.cli import tables as report
    from onnxcam.look.ranking import rank_presets

    if not truths:
        truths = tuple(source.place.name for source in given)
    if not all(truths):
        raise UsageError(
            f"nothing says what is in {given[truths.index('')].name}",
            "add --truth LABEL, or give a folder with a folder for each class",
        )
    each = truths * len(given) if len(truths) == 1 else truths
    paths = [source.path for source in given]
    found = rank_presets(model, paths, each, labels=labels, op_library=op_library)
    if as_json:
        print_json(found.as_dict())
    else:
        report.print_ranking(found)


@main.command("methods", short_help="List the ways to explain.")
@options(click.argument("names", metavar="[NAME]...", nargs=-1), JSON)
def methods_command(names: tuple[str, ...], as_json: bool) -> None:
    """List the methods and their equations; of each NAME what it claims, its limits, its options.

    The cost is that of one map, in forward passes of the model.
    """
    from onnxcam import methods
    from onnxcam.cli import tables as report

    found = [methods.find(name) for name in names or methods.names()]
    if as_json:
        print_json([method.as_dict() for method in found])
    elif names:
        report.print_details(found)
    else:
        report.print_methods(found)


@main.command("ops", short_help="List the operators that have a gradient.")
@options(
    click.argument("model", required=False, type=click.Path(path_type=Path)),
    REDUCTION,
    JSON,
)
def ops_command(model: Path | None, reduction_layer: str | None, as_json: bool) -> None:
    """List the operators of MODEL and what their gradient is; without MODEL, all there are.

    A model is raised to a newer opset as it is loaded: its operators are listed as they are then.
    """
    from onnxcam.autodiff.coverage import known, of_model
    from onnxcam.cli import tables as report
    from onnxcam.model.model import load

    if model is None and reduction_layer is not None:
        raise UsageError("--reduction-layer names a tensor of a model", "name the model too")
    used = None if model is None else of_model(load(model), reduction_layer=reduction_layer)
    if as_json:
        print_json([each.as_dict() for each in (known() if used is None else used)])
    elif used is None:
        report.print_coverage(known())
    else:
        report.print_usage(used)


def _is_layer(candidate: Candidate, catalog: Catalog) -> bool:
    """Hide what only moves values; show what a person would call a layer."""
    if catalog.feature is not None and candidate.name == catalog.feature.name:
        return True
    moves = "Cast|Reshape|Transpose|Identity|QuantizeLinear|Dropout|Squeeze|Unsqueeze|Pad|Shape"
    return re.fullmatch(moves, candidate.op) is None


def _boxes(model: Model, catalog: Catalog) -> dict[str, str]:
    """Return what is known of a detector's boxes, in words; nothing for other models."""
    from onnxcam.analysis.detectors import detector

    found = detector(model, catalog)
    is_one = found is not None and (found.boxes or found.rows is not None)
    return found.words if found is not None and is_one else {}


def _catalog_json(catalog: Catalog, rows: Sequence[Candidate]) -> dict[str, Any]:
    reduction = catalog.reduction
    return {
        "input": catalog.input,
        "input_layout": catalog.input_layout and catalog.input_layout.axes,
        "feature_layer": catalog.feature and catalog.feature.name,
        "feature_reason": catalog.feature_reason,
        "warnings": list(catalog.warnings_of(catalog.feature)),
        "reduction_layer": reduction.name,
        "reduction_reason": reduction.reason,
        "classes": reduction.classes,
        "class_axis": reduction.class_axis,
        "batch_axis": reduction.batch_axis,
        "positions": reduction.positions,
        "score": reduction.kind,
        "final": reduction.final,
        "other_outputs": reduction.others,
        "layers": [
            {
                "name": c.name,
                "op": c.op,
                "module": c.origin.module,
                "shape": c.shape,
                "layout": c.layout and c.layout.axes,
                "usable": c.usable,
                "reason": c.reason,
            }
            for c in rows
        ],
    }
