"""The explained model as a file: checked before it takes its place."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from onnx import ModelProto

from onnxcam import compose
from onnxcam.analysis import layers
from onnxcam.analysis.ports import model_input
from onnxcam.compose.made import holds, unexplained
from onnxcam.compose.request import Request
from onnxcam.errors import InputError, OnnxcamError, UsageError
from onnxcam.files import sparing
from onnxcam.inputs import Description, Input, InputSpec, class_names, noted, prepare, to_metadata
from onnxcam.inputs.description import Labels
from onnxcam.model.model import Libraries, Model, load
from onnxcam.model.saving import free_place, placed
from onnxcam.run.faithful import held
from onnxcam.run.groups import held_inputs
from onnxcam.run.nothing import told
from onnxcam.run.refusal import answered_for
from onnxcam.run.samples import sample_feeds
from onnxcam.run.traced import sized
from onnxcam.targets import Wanted, fitting
from onnxcam.verify import Array, Check, verify

Source: TypeAlias = "str | os.PathLike[str] | bytes | ModelProto | Model"
_FILES = "onnxcam.source.files"


@dataclass(frozen=True)
class Conversion:
    """What a conversion made.

    Attributes:
        explained: The explained model.
        path: The file, None where none was asked for.
        check: What the check found, None where none was made.
    """

    explained: compose.Explained | compose.Gradients
    path: Path | None
    check: Check | None

    @property
    def proto(self) -> ModelProto:
        """The explained model, weights and all."""
        return self.explained.proto

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the file's maps has to know of their layer, in words."""
        if not isinstance(self.explained, compose.Explained):
            return ()
        plan = self.explained.plan
        said = (text for m in plan.maps for text in plan.catalog.warnings_of(*m.layers))
        return tuple(dict.fromkeys(said))

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "file": self.path and str(self.path),
            "warnings": list(self.warnings),
            "metadata": dict(holds(self.explained.model) or {}),
            "check": self.check and asdict(self.check),
        }


@sparing()
@answered_for("the model cannot be converted")
def convert(
    model: Source,
    output: str | os.PathLike[str] | None = None,
    *,
    method: str | Sequence[str] | None = None,
    wrt: Sequence[str] = (),
    target: Wanted | Sequence[Wanted] = None,
    runtime_targets: bool = False,
    require_target: bool = False,
    feature_layer: str | Sequence[str] | None = None,
    fuse: Literal["sum", "mean", "max", "product"] | None = None,
    reduction_layer: str | None = None,
    class_axis: int | None = None,
    input: str | None = None,
    input_format: str | None = None,
    feature_format: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    upsampling: Literal["bicubic", "nearest", "none"] = "bicubic",
    normalize: Literal["none", "max", "minmax"] = "none",
    overlay: bool = False,
    opset: int | None = None,
    fp16_safe: bool = False,
    expose: Sequence[str] = (),
    preprocess: str | os.PathLike[str] | InputSpec | None = None,
    labels: Labels = None,
    detector: Mapping[str, Any] | None = None,
    check: bool = True,
    sample: Input | None = None,
    force: bool = False,
    op_library: Libraries = None,
) -> Conversion:
    """Write the model that predicts and explains.

    Args:
        model: Path, bytes or proto of a model; it is not changed.
        output: The file to write, None for none.
        method: Name of a graph method, or several, whose maps share one forward pass and are
            called ``onnxcam.map.<name>``; or "gradient" for gradients of the score as they are, in
            outputs ``grad::<tensor>`` of the tensors' shapes. None takes Grad-CAM, of a detector's
            box HiResCAM.
        wrt: With "gradient": names of the tensors, which may be inputs, weights or between.
        target: Class (or classes) explained by default: index or label, None for the top class;
            or a target of :mod:`onnxcam.targets`. Callers may feed other classes in
            ``onnxcam.target``.
        runtime_targets: Let callers feed any number of targets; else it is that of ``target``.
        require_target: Callers must feed ``onnxcam.target``: the file holds no default, as ONNX
            Runtime Web cannot feed an input that has one.
        feature_layer: Tensor that the map is made of, or several; None takes the default, of a
            detector's box the layers of its scales, fused.
        fuse: One map of all layers: see :mod:`onnxcam.compose.fused`.
        reduction_layer: Tensor with the scores; None takes the logits.
        class_axis: Axis of the classes in it; None reads it off the graph.
        input: Name of the input that maps are laid over; see :class:`onnxcam.Explainer`.
        input_format: Meaning of its axes, a letter for each; see there.
        feature_format: Meaning of the axes of the feature layers.
        parameters: Values for parameters of the methods, by name.
        upsampling: How the map comes to the input's size, in the graph.
        normalize: Scale every map in the graph: by its maximum, or from its minimum to it.
        overlay: Also return ``onnxcam.overlay``, every map drawn on the picture that the input is:
            uint8 [N, K, height, width, 3], as :func:`onnxcam.output.render.overlay` draws it.
        opset: The opset to write the file at, with the IR version of its time; None takes 20, or
            the model's own where that is later.
        fp16_safe: Compute what is explained in float32, where the model is in half precision: its
            part behind the feature layer runs once more. Predictions stay as they are.
        expose: More outputs: "feature", "gradient", "score", "signed", "steepest".
        preprocess: How a picture becomes the input; it is kept in the metadata where it is known.
        labels: Names of the classes, or a file with them.
        detector: What the outputs of a detector are; see :class:`onnxcam.Explainer`.
        check: Run the old and the new model side by side before the file is written.
        sample: What to run them on: a picture or ready array, or a file of one; an NPZ file may
            hold arrays for other inputs, too. None, and what is not given, takes random numbers.
        force: Replace ``output`` where it exists.
        op_library: File of a library with the custom operators of the model, or several.

    Returns:
        The conversion.

    Raises:
        ModelError: The model cannot be read, or brought to ``opset``.
        UnsupportedOp: There is no gradient, or not at this ``opset``.
        UsageError: A name is unknown, ``output`` exists, is the model itself, the model is
            explained already, what describes its input is wrong, or an overlay is asked for where
            the input is no picture.
        InputError: The sample cannot be read or does not fit.
        OnnxcamError: The check failed (nothing is written), or the file cannot be written.
    """
    maps = method, wrt, target, runtime_targets, require_target, feature_layer, parameters
    request = Request(*maps, upsampling, normalize, overlay, fp16_safe, expose, fuse)
    place = None if output is None else free_place(output, model, force=force)
    whole = load(model, opset=opset, op_library=op_library)
    names = (reduction_layer, class_axis, input), input_format, feature_format, feature_layer
    loaded, catalog, said = _read(whole, check, labels, *names, preprocess)
    feeds = None if sample is None else _feeds(sample, loaded, said)
    explained = _explained(loaded, request, catalog, said, said.of_detector(detector), feeds)
    return _written(place, check, _as_given(model), loaded, explained, catalog, feeds)


def _described(
    model: Model,
    catalog: layers.Catalog,
    preprocess: str | os.PathLike[str] | InputSpec | None,
    labels: Labels,
) -> Description:
    with noted() as files:
        declared, names = model_input(model, catalog), class_names(labels)
        said = Description(declared, model.path, model.metadata, preprocess, names, files)
        _ = said.spec_if_said  # it is looked up once: now
    return said


def _as_given(model: Source) -> Path | bytes | ModelProto | Model:
    """Return a model for ONNX Runtime to read: the file itself, wherever there is one."""
    if isinstance(model, str | os.PathLike):
        return Path(model)
    if isinstance(model, Model) and model.path is not None and model.path.is_file():
        return model.path
    return model


def _explained(
    model: Model,
    request: Request,
    catalog: layers.Catalog,
    said: Description,
    declared: Mapping[str, Any] | None,
    feeds: dict[str, Array] | None,
) -> compose.Explained | compose.Gradients:
    catalog, boxes = told(model, catalog, lambda: declared), tuple[Any, ...]()
    if request.of_boxes:
        from onnxcam.run.detections import read_off

        boxes = read_off(model, catalog, declared, feeds or sample_feeds(model))
    plan, spec = request.plan(catalog, said, *boxes), said.spec_if_said
    names = fitting(said.labels, catalog.reduction, wanted=False)
    named = to_metadata(InputSpec(pictures=False, labels=names)) if names else {}
    metadata = {key: value for key, value in named.items() if key.endswith(".labels")}
    if spec:
        metadata = to_metadata(replace(spec, labels=names))
    metadata |= {_FILES: json.dumps({**model.files, **said.files}, ensure_ascii=False)}
    if request.gradient:
        return compose.gradient_graph(model, plan, request.wrt, metadata=metadata)
    return compose.plan_graph(model, plan, metadata=metadata)


def _written(
    place: Path | None,
    check: bool,
    original: Path | bytes | ModelProto | Model,
    source: Model,
    explained: compose.Explained | compose.Gradients,
    *others: Any,
) -> Conversion:
    """Check the explained model and put it in its place."""

    def found(part: Path | None) -> Check | None:
        return _found(part, original, source, explained, *others) if check else None

    if place is None:
        return Conversion(explained, None, found(None))
    with placed(place, explained.model) as part:
        checked = found(part)
    return Conversion(explained, place, checked)


def _found(
    file: Path | None,
    original: Path | bytes | ModelProto | Model,
    source: Model,
    explained: compose.Explained | compose.Gradients,
    catalog: layers.Catalog,
    feeds: dict[str, Array] | None,
) -> Check:
    try:
        found = verify(source, explained, catalog, file=file, original=original, feeds=feeds)
    except InputError as error:
        if feeds is not None:
            raise
        raise InputError(
            f"the check runs the model on inputs that it makes up, and these do not suit it "
            f"({error.message})",
            "give `sample`, an array or file with inputs that do; or `check=False`",
        ) from error
    if found.problems:
        raise OnnxcamError(
            f"the check failed: {'; '.join(found.problems)}",
            "nothing was written; please report the model's exporter and operators",
        )
    return found


def _feeds(sample: Input, model: Model, said: Description) -> dict[str, Array]:
    """Return what to run the models on.

    Raises:
        InputError: The sample cannot be read or does not fit.
        UsageError: It is a picture, and nothing says how that becomes the input.
    """
    spec = said.spec_if_said or InputSpec(pictures=False)
    prepared = prepare(sample, spec, said.declared)
    others = {p.name: prepared.others[p.name] for p in model.inputs if p.name in prepared.others}
    return {**sample_feeds(model), **others, said.declared.name: prepared.tensor}


def _read(
    whole: Model, check: bool, labels: Labels, said: tuple[Any, ...], *formats: Any
) -> tuple[Model, layers.Catalog, Description]:
    """Return a model, its layers and what describes its input.

    A score of a whole batch has no map for each input.
    """
    score = layers.Asked(*said)
    model = sized(unexplained(held(whole, None, check=check)), score, None)
    catalog = layers.catalog(model, layers.asked(model, score, *formats))
    layout, reduction = catalog.input_layout, catalog.reduction
    shape = next(p.shape for p in model.inputs if p.name == catalog.input) or (1,)
    batch = held_inputs(shape, layout)
    if reduction.batch_axis is None and batch != 1:
        raise UsageError(
            f"the score {reduction.name!r} is one for all inputs of a batch ({batch or 'any'} of "
            f"them): no axis of it counts inputs",
            "export the model with a batch of 1, or name another `reduction_layer`",
        )
    return model, catalog, _described(model, catalog, formats[-1], labels)
