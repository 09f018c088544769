"""Load an ONNX file into an immutable :class:`Model`: checked, inlined, raised, hashed."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto

from onnxcam.errors import ModelError, bounded
from onnxcam.graph.emit import Dim, np_dtype, proto_shape
from onnxcam.graph.emit.walks import every_graph, every_node, standard_opset
from onnxcam.model.passes.pipeline import prepared
from onnxcam.model.stream import Digest, digest_of, parse
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
        digest: Their sha256, or what finds it once somebody asks; see :attr:`sha256`.
        path: Where it came from, None for bytes and protos.
        notes: What was done to it and what could not be done.
        before: The model as it was, where what was done to it should be held against that by
            running both (:func:`onnxcam.run.faithful.held`); else None.
    """

    light: ModelProto = field(repr=False)
    weights: Weights = field(repr=False)
    digest: str | Digest
    path: Path | None = None
    notes: tuple[str, ...] = ()
    before: Model | None = field(default=None, repr=False)

    @property
    def sha256(self) -> str:
        """Of the bytes that were loaded (the file; external data excluded).

        Empty for a borrowed proto.
        """
        return self.digest if isinstance(self.digest, str) else self.digest.text

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


@bounded("the model cannot be read")
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
        return replace(load(source.proto, opset=opset), digest=source.digest, path=source.path)
    proto, weights, found, path = _read(source, borrow)
    if not proto.HasField("graph") or not proto.opset_import:
        raise ModelError(f"{path or 'the bytes'}: no ONNX model", "give a file exported to ONNX")
    made = prepared(proto, weights, str(path or "the model"), opset)
    before = None if made.before is None else Model(made.before, weights, found, path)
    return Model(made.light, made.weights, found, path, tuple(made.notes), before)


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
) -> tuple[ModelProto, Weights, str | Digest, Path | None]:
    if isinstance(source, ModelProto):
        light, weights = detached(source, borrow=borrow)
        return light, weights, "" if borrow else _digest(light, weights), None
    if isinstance(source, bytes):
        light, weights = _parsed(source, "the bytes")
        return light, weights, digest_of(source), None
    path = Path(source)
    if path.is_dir():
        raise ModelError(f"{path}: is a folder", "give the .onnx file")
    try:
        data = mapped(path)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file", "check the path") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})", "check it") from None
    light, weights = _parsed(data, str(path))
    external = _external(light, path)
    return light, Weights({**weights, **external}, external), digest_of(data), path


def _parsed(data: bytes | mmap.mmap, name: str) -> tuple[ModelProto, Weights]:
    if not data:
        raise ModelError(f"{name}: is empty", "export or copy the model again")
    if data[4:8] == b"ORTM":
        raise ModelError(
            f"{name}: is in ONNX Runtime's own format",
            "give the .onnx file that it was made of, or let ONNX Runtime write it as one: by a "
            "session with `optimized_model_filepath` and session.save_model_format=ONNX",
        )
    return parse(data, name)


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
