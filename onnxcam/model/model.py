"""Load an ONNX file into an immutable :class:`Model`: checked, inlined, raised, hashed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.shape_inference
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto, helper
from onnx.inliner import inline_local_functions

from onnxcam.errors import ModelError
from onnxcam.graph.emit import Dim, np_dtype, proto_shape
from onnxcam.graph.emit.walks import every_graph, every_node, standard_opset
from onnxcam.model.passes.disguise import annotated, disguised, restored
from onnxcam.model.passes.lift import lift_weights
from onnxcam.model.passes.opsets import TARGET_OPSET, brought, listed, modern_ir
from onnxcam.model.passes.shapes import infer_shapes, put_right
from onnxcam.model.stream import digest, parse
from onnxcam.model.weights import (
    SMALL,
    Bytes,
    Weights,
    byte_size,
    detached,
    fill,
    is_light,
    lighten,
    mapped,
)


@dataclass(frozen=True)
class Port:
    """An input or output of a model.

    Attributes:
        name: Tensor name.
        dtype: Element type; None for what is no tensor (a sequence, a map).
        shape: Ints, symbol names and None; None where the rank is unknown.
    """

    name: str
    dtype: np.dtype[Any] | None
    shape: tuple[Dim, ...] | None


@dataclass(frozen=True)
class Model:
    """An ONNX model, ready to be read; nothing in onnxcam changes one after it was made.

    Attributes:
        light: Checked, functions inlined, at opset 20 or above where possible, with inferred
            shapes; its large initializers are in ``weights``. Treat as read-only.
        weights: Bytes of the large initializers.
        sha256: Of the bytes that were loaded (the file; external data excluded); empty for a
            borrowed proto.
        path: Where it came from, None for bytes and protos.
        notes: What was done to it and what could not be done.
    """

    light: ModelProto = field(repr=False)
    weights: Weights = field(repr=False)
    sha256: str
    path: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def proto(self) -> ModelProto:
        """A full copy of the model, weights and all."""
        return self.weights.attached(self.light)

    @cached_property
    def inputs(self) -> tuple[Port, ...]:
        """The inputs that a caller must feed."""
        given = {t.name for t in self.light.graph.initializer}
        return tuple(_port(v) for v in self.light.graph.input if v.name not in given)

    @cached_property
    def outputs(self) -> tuple[Port, ...]:
        """The outputs."""
        return tuple(_port(v) for v in self.light.graph.output)

    @cached_property
    def findings(self) -> dict[str, Any]:
        """What is found out about the model is kept here, so that it is found out once."""
        return {}

    @property
    def opset(self) -> int:
        """Version of the standard operator set."""
        return standard_opset(self.light)

    @property
    def metadata(self) -> Mapping[str, str]:
        """The model's ``metadata_props``."""
        return {p.key: p.value for p in self.light.metadata_props}


def load(
    source: str | os.PathLike[str] | bytes | ModelProto | Model,
    *,
    borrow: bool = False,
    opset: int | None = None,
) -> Model:
    """Load a model.

    Args:
        source: Path of an ONNX file (with its external data beside it), its bytes, or a proto.
            It is never modified.
        borrow: Do not copy the weights of a proto, nor hash it; it must not change while the model
            is used.
        opset: The opset to bring the model to, up or down, with the IR version that
            came with it; None raises to 20 what is below.

    Returns:
        The model: local functions inlined, weights of subgraphs moved to the main graph, raised
        to opset 20 when below, kept at its own opset with a note when the converter fails, shapes
        inferred.

    Raises:
        ModelError: It is missing, no ONNX model, truncated, invalid, its external data is
            missing or lies outside the model's folder, or it cannot be brought to ``opset``.
    """
    if isinstance(source, Model):
        if opset in (None, source.opset):
            return source
        return replace(load(source.proto, opset=opset), sha256=source.sha256, path=source.path)
    proto, weights, sha256, path = _read(source, borrow)
    if not proto.HasField("graph") or not proto.opset_import:
        raise ModelError(f"{path or 'the bytes'}: no ONNX model", "give a file exported to ONNX")
    notes: list[str] = []
    light = disguised(proto)
    _check(light, path)
    light = _inlined(light, notes)
    lifted = lift_weights(light)
    if lifted:
        notes.append(f"{lifted} weights moved from subgraphs to the main graph")
    light = brought(listed(light), notes, opset or TARGET_OPSET, exactly=opset is not None)
    light = modern_ir(light, notes, exactly=opset is not None)
    light = _inferred(restored(light), notes)
    return Model(light, weights, sha256, path, tuple(notes))


def _port(info: ValueInfoProto) -> Port:
    kind = info.type
    if not kind.HasField("tensor_type"):
        return Port(info.name, None, None)
    shape = proto_shape(kind)
    return Port(
        info.name,
        np_dtype(kind.tensor_type.elem_type),
        None if shape is None else tuple(shape),
    )


# ---- reading


def _read(
    source: str | os.PathLike[str] | bytes | ModelProto, borrow: bool
) -> tuple[ModelProto, Weights, str, Path | None]:
    if isinstance(source, ModelProto):
        light, weights = detached(source, borrow=borrow)
        return light, weights, "" if borrow else _digest(light, weights), None
    if isinstance(source, bytes):
        light, weights = parse(source, "the bytes")
        return light, weights, digest(source), None
    path = Path(source)
    if path.is_dir():
        raise ModelError(f"{path}: is a folder", "give the .onnx file")
    try:
        data = mapped(path)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file", "check the path") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})", "check it") from None
    light, weights = parse(data, str(path))
    external = _external(light, path)
    return light, Weights({**weights, **external}, external), digest(data), path


def _digest(light: ModelProto, weights: Weights) -> str:
    """Hash a proto piece by piece: as one string it may exceed protobuf's 2 GB."""
    found = hashlib.sha256(light.SerializeToString(deterministic=True))
    for name in sorted(weights):
        found.update(weights[name].data)
    return found.hexdigest()


def _external(proto: ModelProto, path: Path) -> dict[str, Bytes]:
    """Map the external data of a model; small tensors and those of nodes are read."""
    found = {}
    for tensor in proto.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL and not is_light(tensor):
            data = _external_bytes(tensor, path)
            if data.nbytes > SMALL:
                found[tensor.name] = data
                lighten(tensor)
            else:
                fill(tensor, data)
    for tensor in _tensors(proto.graph):
        if tensor.data_location == TensorProto.EXTERNAL and not is_light(tensor):
            fill(tensor, _external_bytes(tensor, path))
    return found


def _external_bytes(tensor: TensorProto, path: Path) -> Bytes:
    folder = path.resolve().parent
    entries = {e.key: e.value for e in tensor.external_data}
    location = entries.get("location", "")
    target = (folder / location).resolve()
    if not location or Path(location).is_absolute() or not target.is_relative_to(folder):
        raise ModelError(
            f"{path}: the data of {tensor.name!r} lies outside the model's folder ({location})",
            "save the model with its external data in one folder",
        )
    if not target.is_file():
        raise ModelError(
            f"{path}: the external data {location} (tensor {tensor.name!r}) is missing",
            "copy it beside the model",
        )
    size = byte_size(tensor)
    start = int(entries.get("offset", 0))
    whole = np.frombuffer(mapped(target), np.uint8)
    if int(entries.get("length", size)) != size or start < 0 or start + size > whole.nbytes:
        raise ModelError(
            f"{path}: the external data {location} is too short for tensor {tensor.name!r}",
            "copy the data file again",
        )
    return whole[start : start + size]


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    for part in every_graph(graph):
        yield from part.initializer
    for node in every_node(graph):
        yield from (attribute.t for attribute in node.attribute if attribute.HasField("t"))


# ---- passes


def _check(light: ModelProto, path: Path | None) -> None:
    """Run onnx's checker; detached weights stand in as inputs, which need no bytes."""
    proto = ModelProto()
    proto.CopyFrom(light)
    proto.ir_version = max(proto.ir_version, 4)  # see versions.listed
    graph = proto.graph
    inputs = {v.name for v in graph.input}
    kept = [t for t in graph.initializer if t.data_location != TensorProto.EXTERNAL]
    for tensor in graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL and tensor.name not in inputs:
            info = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            graph.input.append(info)
    del graph.initializer[:]
    graph.initializer.extend(kept)
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        raise ModelError(
            f"{path or 'the model'}: not a valid ONNX model ({_line(error)})", "export it again"
        ) from None


def _inlined(proto: ModelProto, notes: list[str]) -> ModelProto:
    if not proto.functions:
        return proto
    notes.append(f"{len(proto.functions)} model-local functions inlined")
    return inline_local_functions(proto, convert_version=True)


def _inferred(proto: ModelProto, notes: list[str]) -> ModelProto:
    notes.extend(put_right(proto))
    known: ModelProto | None = proto
    while known is not None:
        try:
            proto = infer_shapes(known)
        except onnx.shape_inference.InferenceError as error:
            notes.append(f"shape inference failed: {_line(error)}")
            return proto
        known = annotated(proto)
    return proto


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
