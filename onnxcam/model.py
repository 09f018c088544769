"""Load an ONNX file into an immutable :class:`Model`: checked, inlined, raised, hashed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.external_data_helper
import onnx.shape_inference
import onnx.version_converter
from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto, helper
from onnx.inliner import inline_local_functions

from onnxcam.contrib import annotated, disguised, restored
from onnxcam.emit import Dim, np_dtype, proto_shape
from onnxcam.errors import ModelError
from onnxcam.lift import lift_weights

TARGET_OPSET = 20
_MIN_IR = 9  # the IR version that came with opset 20
_SMALL = 4096  # bytes: what the version converter and the shape inference may want to read
_DOMAINS = ("", "ai.onnx")


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
        proto: Checked, functions inlined, at opset 20 or above where possible, with inferred
            shapes. Treat as read-only.
        sha256: Of the bytes that were loaded (the file; external data excluded).
        path: Where it came from, None for bytes and protos.
        notes: What was done to it and what could not be done.
    """

    proto: ModelProto = field(repr=False)
    sha256: str
    path: Path | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def inputs(self) -> tuple[Port, ...]:
        """The inputs that a caller must feed."""
        given = {t.name for t in self.proto.graph.initializer}
        return tuple(_port(v) for v in self.proto.graph.input if v.name not in given)

    @cached_property
    def outputs(self) -> tuple[Port, ...]:
        """The outputs."""
        return tuple(_port(v) for v in self.proto.graph.output)

    @property
    def opset(self) -> int:
        """Version of the standard operator set."""
        return standard_opset(self.proto)

    @property
    def metadata(self) -> Mapping[str, str]:
        """The model's ``metadata_props``."""
        return {p.key: p.value for p in self.proto.metadata_props}


def load(source: str | os.PathLike[str] | bytes | ModelProto | Model) -> Model:
    """Load a model.

    Args:
        source: Path of an ONNX file (with its external data beside it), its bytes, or a proto.
            It is never modified.

    Returns:
        The model: local functions inlined, weights of subgraphs moved to the main graph, raised
        to opset 20 when below, kept at its own opset with a note when the converter fails, shapes
        inferred.

    Raises:
        ModelError: It is missing, no ONNX model, truncated, invalid, or its external data is
            missing or lies outside the model's folder.
    """
    if isinstance(source, Model):
        return source
    proto, sha256, path = _read(source)
    if not proto.HasField("graph") or not proto.opset_import:
        raise ModelError(f"{path or 'the bytes'}: no ONNX model", "give a file exported to ONNX")
    notes: list[str] = []
    weights = _Weights(proto)
    light = disguised(proto)
    _check(light, path)
    light = _inlined(light, notes)
    lifted = lift_weights(light)
    if lifted:
        notes.append(f"{lifted} weights moved from subgraphs to the main graph")
    light = _raised(light, notes)
    light = _modern_ir(light, notes)
    light = _inferred(restored(light), notes)
    weights.attach(light)
    return Model(light, sha256, path, tuple(notes))


def standard_opset(proto: ModelProto) -> int:
    """Return the version of the standard operator set that a model imports (1 if it doesn't)."""
    return next((o.version for o in proto.opset_import if o.domain in _DOMAINS), 1)


def opsets(proto: ModelProto) -> dict[str, int]:
    """Return opset versions by domain; the standard domain is ``""``."""
    return {"" if o.domain in _DOMAINS else o.domain: o.version for o in proto.opset_import}


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
    source: str | os.PathLike[str] | bytes | ModelProto,
) -> tuple[ModelProto, str, Path | None]:
    if isinstance(source, ModelProto):
        proto = ModelProto()
        proto.CopyFrom(source)
        # Hashing the proto by parts keeps models above 2 GB possible.
        return proto, _digest(proto), None
    if isinstance(source, bytes):
        return _parse(source, "the bytes"), hashlib.sha256(source).hexdigest(), None
    path = Path(source)
    if path.is_dir():
        raise ModelError(f"{path}: is a folder", "give the .onnx file")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file", "check the path") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})", "check it") from None
    proto = _parse(data, str(path))
    sha256 = hashlib.sha256(data).hexdigest()
    del data
    _load_external(proto, path)
    return proto, sha256, path


def _digest(proto: ModelProto) -> str:
    """Hash a proto piece by piece: as one string it may exceed protobuf's 2 GB."""
    digest = hashlib.sha256()
    for tensor in proto.graph.initializer:
        digest.update(tensor.SerializeToString(deterministic=True))
    for node in proto.graph.node:
        digest.update(node.SerializeToString(deterministic=True))
    for info in [*proto.graph.input, *proto.graph.output, *proto.opset_import]:
        digest.update(info.SerializeToString(deterministic=True))
    return digest.hexdigest()


def _parse(data: bytes, name: str) -> ModelProto:
    proto = ModelProto()
    if not data:
        raise ModelError(f"{name}: is empty", "export or copy the model again")
    try:
        proto.ParseFromString(data)
    except DecodeError:
        raise ModelError(
            f"{name}: not an ONNX model, or truncated", "export or copy the model again"
        ) from None
    return proto


def _load_external(proto: ModelProto, path: Path) -> None:
    folder = path.resolve().parent
    for tensor in _tensors(proto.graph):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        location = {e.key: e.value for e in tensor.external_data}.get("location", "")
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
        try:
            onnx.external_data_helper.load_external_data_for_tensor(tensor, str(folder))
        except (ValueError, OSError, onnx.checker.ValidationError) as error:
            raise ModelError(
                f"{path}: the external data {location} cannot be read ({_line(error)})",
                "copy the data file again",
            ) from None
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("g"):
                yield from _tensors(attribute.g)


class _Weights:
    """Large initializers, set aside while a model passes through onnx's C++ passes.

    Those passes serialise the whole model (2 GB at most, and slow) but only need the dtype and
    dimensions of a weight; its bytes are put back afterwards.
    """

    def __init__(self, proto: ModelProto) -> None:
        self._bytes: dict[str, bytes] = {}
        for tensor in proto.graph.initializer:
            if len(tensor.raw_data) > _SMALL:
                self._bytes[tensor.name] = tensor.raw_data
                tensor.ClearField("raw_data")
                tensor.data_location = TensorProto.EXTERNAL
                tensor.external_data.add(key="location", value="detached")

    def attach(self, proto: ModelProto) -> None:
        """Put the bytes back, in place."""
        for tensor in proto.graph.initializer:
            if tensor.name in self._bytes:
                tensor.ClearField("external_data")
                tensor.ClearField("data_location")
                tensor.raw_data = self._bytes.pop(tensor.name)
        assert not self._bytes, f"weights lost on the way: {sorted(self._bytes)[:3]}"


# ---- passes


def _check(light: ModelProto, path: Path | None) -> None:
    """Run onnx's checker; detached weights stand in as inputs, which need no bytes."""
    proto = ModelProto()
    proto.CopyFrom(light)
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


def _raised(proto: ModelProto, notes: list[str]) -> ModelProto:
    opset = standard_opset(proto)
    if opset >= TARGET_OPSET:
        return proto
    try:
        raised = onnx.version_converter.convert_version(proto, TARGET_OPSET)
    except (RuntimeError, onnx.version_converter.ConvertError) as error:
        notes.append(f"kept at opset {opset}: {_line(error)}")
        return proto
    notes.append(f"raised from opset {opset} to {TARGET_OPSET}")
    return raised


def _modern_ir(proto: ModelProto, notes: list[str]) -> ModelProto:
    """Raise the IR version; before version 4 weights had to be listed as inputs too."""
    old = proto.ir_version
    if old < 4:
        weights = {t.name for t in proto.graph.initializer}
        inputs = [v for v in proto.graph.input if v.name not in weights]
        del proto.graph.input[:]
        proto.graph.input.extend(inputs)
    wanted = _MIN_IR if standard_opset(proto) >= TARGET_OPSET else 4
    if old < wanted:
        proto.ir_version = wanted
        notes.append(f"raised from IR version {old} to {wanted}")
    return proto


def _inferred(proto: ModelProto, notes: list[str]) -> ModelProto:
    known: ModelProto | None = proto
    while known is not None:
        try:
            proto = onnx.shape_inference.infer_shapes(known, data_prop=True)
        except onnx.shape_inference.InferenceError as error:
            notes.append(f"shape inference failed: {_line(error)}")
            return proto
        known = annotated(proto)
    return proto


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
