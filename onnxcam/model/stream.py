"""Model files with large weights: read and written around these, piece by piece."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np
from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, TensorProto

from onnxcam.errors import ModelError, plain
from onnxcam.model import wire
from onnxcam.model.mapping import Bytes, MappedFile, release, written_to
from onnxcam.model.weights import SMALL, Weights, byte_size, is_light, keep, lighten

_LARGE = 1 << 22  # bytes
_ALIGNMENT = 4096  # bytes: whole pages, so that runtimes can map a weight
_MODEL_GRAPH, _GRAPH_INITIALIZER, _TENSOR_RAW_DATA = 7, 5, 9


def parse(data: bytes | mmap.mmap, name: str) -> tuple[ModelProto, Weights]:
    """Return the light model in a serialised one and its weights, which stay where they are.

    Args:
        data: The bytes of a file.
        name: What to call it in messages.

    Raises:
        ModelError: It is no ONNX model, or truncated.
    """
    view = memoryview(data)
    flat = np.frombuffer(data, np.uint8)
    rest, graph, heavy = [], [], []
    try:
        for field in wire.fields(view, 0, len(view)):
            if field.number != _MODEL_GRAPH:
                rest.append(view[field.start : field.end])
                continue
            for part in wire.fields(view, field.payload, field.end):
                if part.number == _GRAPH_INITIALIZER and part.end - part.payload > SMALL:
                    heavy.append(_scanned(view, part))
                else:
                    graph.append(view[part.start : part.end])
        light = ModelProto.FromString(b"".join(rest))
        if graph or heavy:
            light.graph.MergeFromString(b"".join(graph))
        tensors = [(TensorProto.FromString(head), raw) for head, raw in heavy]
    except (ModelError, DecodeError):
        raise ModelError(
            f"{name}: not an ONNX model, or truncated", "export or copy the model again"
        ) from None
    found: dict[str, Bytes | TensorProto] = {}
    for tensor, raw in tensors:
        if raw is not None:
            _check_size(tensor, raw[1] - raw[0], name)
            lighten(tensor)
            keep(found, tensor.name, flat[raw[0] : raw[1]])
        light.graph.initializer.append(tensor)
    return light, Weights(found)


def _check_size(tensor: TensorProto, size: int, name: str) -> None:
    """Check that a weight has as many bytes as its shape and type say."""
    try:
        wanted = byte_size(tensor)
    except (KeyError, TypeError):
        wanted = -1
    if wanted != size:
        raise ModelError(
            f"{name}: the weight {plain(tensor.name, 80)!r} has {size:,} bytes, which its type "
            f"{tensor.data_type} and shape {list(tensor.dims)[:16]} do not have",
            "export or copy the model again",
        )


def _scanned(view: wire.Buffer, part: wire.Field) -> tuple[bytes, tuple[int, int] | None]:
    """Return an initializer without its raw data, and where that lies."""
    head, raw = [], None
    for field in wire.fields(view, part.payload, part.end):
        if field.number == _TENSOR_RAW_DATA and field.end - field.payload > SMALL:
            raw = field.payload, field.end
        else:
            head.append(view[field.start : field.end])
    return b"".join(head), raw


@dataclass(frozen=True, repr=False)
class Digest:
    """The sha256 of what files hold, found when somebody asks: it takes as long as reading them.

    Attributes:
        name: Of the model's file.
        data: What is in it.
        beside: Returns the hashes of the files with its data by their places beside it.
    """

    name: str
    data: bytes | mmap.mmap
    beside: Callable[[], Mapping[str, str]] = dict

    @cached_property
    def files(self) -> Mapping[str, str]:
        """The hash of every file, in hex, the model's first.

        Raises:
            ModelError: The model's file was written to since it was read.
        """
        found = {self.name: digest(self.data), **self.beside()}
        if isinstance(self.data, MappedFile) and self.data.is_changed():
            raise written_to(self.data.path)
        return found

    @cached_property
    def text(self) -> str:
        """The hash of the model: that of its file, or with data beside it, of all together."""
        own, *others = self.files.items()
        if not others:
            return own[1]
        lines = [own[1], *(f"{digest} {name}" for name, digest in sorted(others))]
        return hashlib.sha256("\n".join(lines).encode(errors="surrogatepass")).hexdigest()


def digest_of(name: str, data: bytes | mmap.mmap) -> str | Digest:
    """Return the sha256 of a file's content, of a large one only what finds it."""
    return digest(data) if len(data) < _LARGE else Digest(name, data)


def digest(data: bytes | mmap.mmap | memoryview) -> str:
    """Return the sha256 of a file's content, read piece by piece."""
    found = hashlib.sha256()
    view = memoryview(data)
    step = 1 << 24
    for start in range(0, len(view), step):
        found.update(view[start : start + step])
    release(view)
    return found.hexdigest()


def write(light: ModelProto, weights: Weights, file: IO[bytes]) -> None:
    """Write a full model to a file, weight by weight.

    Args:
        light: Light model.
        weights: Its weights.
        file: Opened for writing bytes.
    """
    graph = GraphProto()
    graph.CopyFrom(light.graph)
    kept = [t for t in graph.initializer if not is_light(t)]
    heavy = [t for t in graph.initializer if is_light(t)]
    heads = [_head(t) for t in heavy]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    body = graph.SerializeToString()
    parts = [
        (head, wire.header(_TENSOR_RAW_DATA, weights[t.name].nbytes), weights[t.name])
        for head, t in zip(heads, heavy, strict=True)
    ]
    lengths = [len(head) + len(tag) + data.nbytes for head, tag, data in parts]
    tags = [wire.header(_GRAPH_INITIALIZER, n) for n in lengths]
    total = len(body) + sum(map(len, tags)) + sum(lengths)
    rest = ModelProto()
    rest.CopyFrom(light)
    rest.ClearField("graph")
    _write_all(file, [rest.SerializeToString(), wire.header(_MODEL_GRAPH, total), body])
    for tag, (head, raw_tag, data) in zip(tags, parts, strict=True):
        _write_all(file, [tag, head, raw_tag, data.data])
        release(data)


def write_external(light: ModelProto, weights: Weights, path: Path, data: Path) -> None:
    """Write a model of any size: the graph to one file, its weights to another beside it.

    Args:
        light: Light model.
        weights: Its weights.
        path: File for the graph.
        data: File for the weights, in the same folder; it must not be one that they come from.
    """
    proto = ModelProto()
    proto.CopyFrom(light)
    with data.open("wb") as file:
        for tensor in proto.graph.initializer:
            if is_light(tensor):
                file.write(b"\0" * (-file.tell() % _ALIGNMENT))
                entries = {
                    "location": data.name,
                    "offset": file.tell(),
                    "length": weights[tensor.name].nbytes,
                }
                del tensor.external_data[:]
                for key, value in entries.items():
                    tensor.external_data.add(key=key, value=str(value))
                file.write(weights[tensor.name].data)
                release(weights[tensor.name])
    path.write_bytes(proto.SerializeToString())


def _head(tensor: TensorProto) -> bytes:
    head = TensorProto()
    head.CopyFrom(tensor)
    head.ClearField("external_data")
    head.ClearField("data_location")
    return bytes(head.SerializeToString())


def _write_all(file: IO[bytes], parts: Iterable[bytes | memoryview]) -> None:
    for part in parts:
        file.write(part)
