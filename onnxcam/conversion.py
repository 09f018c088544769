"""The explained model as a file: checked before it takes its place."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from onnx import ModelProto

from onnxcam import compose, layers, methods
from onnxcam.errors import OnnxcamError, UsageError
from onnxcam.explain import model_input
from onnxcam.labels import load_labels
from onnxcam.model import Model, load
from onnxcam.preprocess import InputSpec, resolve, to_metadata
from onnxcam.targets import resolve_target
from onnxcam.verify import Check, verify
from onnxcam.weights import write, write_external

_ONE_FILE = 1_900_000_000  # bytes: protobuf stops at 2 GB
_MARK = "onnxcam.method"


@dataclass(frozen=True)
class Conversion:
    """What a conversion made.

    Attributes:
        explained: The explained model.
        path: The file, None where none was asked for.
        check: What the check found, None where none was made.
    """

    explained: compose.Explained
    path: Path | None
    check: Check | None

    @property
    def proto(self) -> ModelProto:
        """The explained model, weights and all."""
        return self.explained.proto

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "file": self.path and str(self.path),
            "metadata": dict(holds(self.explained.model) or {}),
            "check": self.check and asdict(self.check),
        }


def convert(
    model: str | os.PathLike[str] | bytes | ModelProto | Model,
    output: str | os.PathLike[str] | None = None,
    *,
    method: str = "gradcam",
    target: int | str | Sequence[int | str | None] | None = None,
    runtime_targets: bool = False,
    feature_layer: str | None = None,
    reduction_layer: str | None = None,
    upsampling: Literal["bicubic", "nearest", "none"] = "bicubic",
    normalize: Literal["none", "max", "minmax"] = "none",
    expose: Sequence[str] = (),
    preprocess: str | os.PathLike[str] | InputSpec | None = None,
    labels: Sequence[str] | str | os.PathLike[str] | None = None,
    check: bool = True,
    force: bool = False,
) -> Conversion:
    """Write the model that predicts and explains.

    Args:
        model: Path, bytes or proto of a model; it is not changed.
        output: The file to write, None for none.
        method: Name of a graph method.
        target: Class (or classes) explained by default: index or label, None for the top class.
            Callers may feed others in ``onnxcam.target``.
        runtime_targets: Let callers feed any number of targets; else it is that of ``target``.
        feature_layer: Tensor that the map is made of; None takes the default.
        reduction_layer: Tensor with the scores; None takes the logits.
        upsampling: How the map comes to the input's size, in the graph.
        normalize: Scale every map in the graph: by its maximum, or from its minimum to it.
        expose: More outputs: "feature", "gradient", "score".
        preprocess: How a picture becomes the input; it is kept in the metadata where it is known.
        labels: Names of the classes, or a file with them.
        check: Run the old and the new model side by side before the file is written.
        force: Replace ``output`` where it exists.

    Returns:
        The conversion.

    Raises:
        UsageError: A name is unknown, ``output`` exists, is the model itself, or the model is
            explained already.
        OnnxcamError: The check failed (nothing is written), or the file cannot be written.
    """
    place = None if output is None else _place(output, model, force=force)
    loaded = load(model)
    _refuse_explained(loaded)
    catalog = layers.catalog(loaded, reduction_layer=reduction_layer)
    spec = _spec(loaded, catalog, preprocess)
    names = _names(labels) or (spec.labels if spec else None)
    wanted = [target] if target is None or isinstance(target, int | str) else list(target)
    indices = [resolve_target(t, catalog.reduction.classes, names) for t in wanted]
    chosen = methods.find(method)
    explained = compose.explain_graph(
        loaded,
        catalog,
        chosen,
        feature=compose.default_feature(catalog, feature_layer, chosen),
        targets=None if runtime_targets else len(indices),
        default=indices,
        upsampling=upsampling,
        normalize=normalize,
        expose=tuple(expose),
        metadata=to_metadata(spec) if spec else {},
    )
    if place is None:
        return Conversion(explained, None, _found(loaded, explained, catalog) if check else None)
    with _whole(place, explained.model) as part:
        found = _found(loaded, explained, catalog, part) if check else None
    return Conversion(explained, place, found)


def _found(
    source: Model,
    explained: compose.Explained,
    catalog: layers.Catalog,
    file: Path | None = None,
) -> Check:
    found = verify(source, explained, catalog, file=file)
    if found.problems:
        raise OnnxcamError(
            f"the check failed: {'; '.join(found.problems)}",
            "nothing was written; please report the model's exporter and operators",
        )
    return found


def holds(model: Model) -> Mapping[str, str] | None:
    """Return the provenance of an explained model, None for any other."""
    found = {k: v for k, v in model.metadata.items() if k.startswith("onnxcam.")}
    return found if _MARK in found else None


def _refuse_explained(model: Model) -> None:
    found = holds(model)
    if found is None:
        return
    said = ", ".join(
        f"{key.removeprefix('onnxcam.')} {found[key]}"
        for key in (_MARK, "onnxcam.feature_layer", "onnxcam.version")
        if key in found
    )
    raise UsageError(
        f"the model is explained already ({said})", "convert the original model instead"
    )


def _place(output: Any, model: Any, *, force: bool) -> Path:
    place = Path(output)
    if isinstance(model, str | os.PathLike) and place.resolve() == Path(model).resolve():
        raise UsageError(f"{place} is the model itself", "write to another file")
    if place.is_dir():
        raise UsageError(f"{place} is a folder", "name a file")
    if not place.parent.is_dir():
        raise OnnxcamError(f"{place.parent}: no such folder", "create it first")
    if place.exists() and not force:
        raise UsageError(f"{place} exists", "add --force to replace it")
    return place


def _spec(
    model: Model, catalog: layers.Catalog, option: str | os.PathLike[str] | InputSpec | None
) -> InputSpec | None:
    """Return the input description, None where nothing says it: a conversion needs none."""
    try:
        return resolve(
            model_input(model, catalog),
            model_path=model.path,
            metadata=model.metadata,
            option=option,
        )
    except UsageError:
        if option is not None:
            raise
        return None


def _names(labels: Sequence[str] | str | os.PathLike[str] | None) -> tuple[str, ...] | None:
    if labels is None:
        return None
    if isinstance(labels, str | os.PathLike):
        return load_labels(Path(labels))
    return tuple(labels)


@contextmanager
def _whole(place: Path, model: Model) -> Iterator[Path]:
    """Write a model beside its place; it takes the place when the block ends without an error."""
    part = place.with_name(f".{place.name}.{os.getpid()}.part")
    data = place.with_name(f"{place.name}.data")
    part_data = data.with_name(f".{data.name}.{os.getpid()}.part")
    large = model.weights.nbytes + model.light.ByteSize() > _ONE_FILE
    try:
        if large:
            write_external(model.light, model.weights, part, part_data)
        else:
            with part.open("wb") as file:
                write(model.light, model.weights, file)
        yield part
        if large:
            _renamed_data(part, part_data.name, data.name)
            os.replace(part_data, data)
        os.replace(part, place)
    except OSError as error:
        raise OnnxcamError(
            f"{place}: cannot be written ({error.strerror})", "choose another place"
        ) from None
    finally:
        for left in (part, part_data):
            if left.parent.is_dir():
                left.unlink(missing_ok=True)


def _renamed_data(path: Path, old: str, new: str) -> None:
    proto = ModelProto.FromString(path.read_bytes())
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location" and entry.value == old:
                entry.value = new
    path.write_bytes(proto.SerializeToString())
