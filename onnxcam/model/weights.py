"""Large weights, kept apart from the graph: mapped from their file, never copied without need.

A *light* model is a ModelProto whose large initializers are marked as external data of the
location ``onnxcam``; their bytes are in a :class:`Weights`. onnx's C++ passes, which serialise
what they get, run on light models; files are read and written around them (``stream.py``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx_graphsurgeon.ir.tensor import LazyValues

from onnxcam.errors import ModelError
from onnxcam.model.mapping import Bytes, MappedFile, owner_of, release

LOCATION = "onnxcam"
SMALL = 4096  # bytes: what the version converter and the shape inference may want to read
_PACKED = {TensorProto.INT4, TensorProto.UINT4, TensorProto.FLOAT4E2M1}


class Weights(Mapping[str, Bytes]):
    """The bytes of large initializers by name: uint8 arrays over a mapped file or a buffer.

    A TensorProto stands for its own ``raw_data``, read when it is asked for.

    Attributes:
        external: Names of those that lie in other files than the model.
    """

    def __init__(
        self,
        found: Mapping[str, Bytes | TensorProto] | None = None,
        external: Iterable[str] = (),
    ) -> None:
        self._found = dict(found or {})
        self.external = frozenset(external)

    def __getitem__(self, name: str) -> Bytes:
        """Return the raw bytes of a weight, little endian as ONNX has them."""
        found = self._found[name]
        return np.frombuffer(found.raw_data, np.uint8) if isinstance(found, TensorProto) else found

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._found)

    def __len__(self) -> int:
        """Return how many weights are apart."""
        return len(self._found)

    @property
    def nbytes(self) -> int:
        """How many bytes they have together."""
        return sum(self[name].nbytes for name in self)

    def changed(self) -> Path | None:
        """Return a file that weights are mapped from and that was written to since, if any."""
        return next((owner.path for owner in self._owners if owner.is_changed()), None)

    @cached_property
    def _owners(self) -> tuple[MappedFile, ...]:
        owners = (owner_of(f) for f in self._found.values() if not isinstance(f, TensorProto))
        return tuple({id(o): o for o in owners if isinstance(o, MappedFile)}.values())

    def place(self, name: str) -> tuple[Path, int] | None:
        """Return the file that a weight lies in and where; None where it is in memory alone."""
        found = self._found[name]
        owner = None if isinstance(found, TensorProto) else owner_of(found)
        if not isinstance(owner, MappedFile) or not owner.is_there():
            return None
        begin = np.frombuffer(owner, np.uint8).ctypes.data
        return owner.path, self[name].ctypes.data - begin

    def array(self, tensor: TensorProto) -> np.ndarray[Any, Any]:
        """Return the values of a light initializer; a view of the bytes where that is possible."""
        if tensor.data_type in _PACKED:
            full = TensorProto()
            full.CopyFrom(tensor)
            fill(full, self[tensor.name])
            return numpy_helper.to_array(full)
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
        return self[tensor.name].view(dtype).reshape(tuple(tensor.dims))

    def attached(self, light: ModelProto) -> ModelProto:
        """Return a full copy of a light model."""
        full = ModelProto()
        full.CopyFrom(light)
        return self.attach(full)

    def attach(self, light: ModelProto) -> ModelProto:
        """Make a light model a full one, in place, and return it."""
        for tensor in light.graph.initializer:
            if not is_light(tensor):
                continue
            source = self._found[tensor.name]
            if isinstance(source, TensorProto):
                tensor.CopyFrom(source)
            else:
                fill(tensor, source)
        return light

    def deferred(self, constants: Iterable[gs.Constant], light: ModelProto) -> None:
        """Let constants of an imported light graph find their values when they are read.

        Args:
            constants: Those of the graph and of its subgraphs.
            light: The light model.
        """
        protos = {t.name: t for t in light.graph.initializer if is_light(t)}
        for tensor in constants:
            if tensor.name in protos:
                tensor.values = _Deferred(protos[tensor.name], self)


class _Deferred(LazyValues):
    """Values of a constant that lie in a :class:`Weights`."""

    def __init__(self, tensor: TensorProto, weights: Weights) -> None:
        super().__init__(tensor)
        self._weights = weights

    def load(self) -> np.ndarray[Any, Any]:
        return self._weights.array(self.tensor)


def is_light(tensor: TensorProto) -> bool:
    """Tell whether the bytes of an initializer are in a :class:`Weights`."""
    return tensor.data_location == TensorProto.EXTERNAL and any(
        e.key == "location" and e.value == LOCATION for e in tensor.external_data
    )


def lighten(tensor: TensorProto) -> None:
    """Mark an initializer as one whose bytes are in a :class:`Weights`, in place."""
    tensor.ClearField("raw_data")
    del tensor.external_data[:]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=LOCATION)


def byte_size(tensor: TensorProto) -> int:
    """Return how many bytes the values of an initializer take."""
    count = math.prod(tensor.dims)
    if tensor.data_type in _PACKED:
        return int(count + 1) // 2
    return int(count * np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize)


def fill(tensor: TensorProto, data: Bytes) -> None:
    """Put the bytes of a light initializer back, in place."""
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")
    values = data.tobytes()
    release(data)
    tensor.raw_data = values


def in_files(light: ModelProto, weights: Weights) -> tuple[ModelProto, Path] | None:
    """Return a light model that says where its weights lie, for who reads them from there.

    Args:
        light: The light model.
        weights: Its weights.

    Returns:
        A copy with the places of all weights that lie in files of one folder (or below it), and
        that folder; None where there is none. Those that lie elsewhere stay as they are.
    """
    heavy = [t.name for t in light.graph.initializer if is_light(t)]
    places = {name: place for name in heavy if (place := weights.place(name)) is not None}
    if not places:
        return None
    largest = max(places, key=lambda name: weights[name].nbytes)
    folder = places[largest][0].parent
    copy = ModelProto()
    copy.CopyFrom(light)
    for tensor in copy.graph.initializer:
        path, offset = places.get(tensor.name, (Path(), 0))
        if tensor.name not in places or not path.is_relative_to(folder):
            continue
        del tensor.external_data[:]
        entries = {
            "location": path.relative_to(folder).as_posix(),
            "offset": offset,
            "length": weights[tensor.name].nbytes,
        }
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=str(value))
    return copy, folder


def detached(proto: ModelProto, *, borrow: bool = False) -> tuple[ModelProto, Weights]:
    """Return a light copy of a model and its weights; the model is not changed.

    Args:
        proto: A full model.
        borrow: Do not copy the weights; the model must not change while they are used.
    """
    light = ModelProto()
    found: dict[str, Bytes | TensorProto] = {}
    for field, value in proto.ListFields():
        if field.name != "graph":
            _copy_field(light, field, value)
    light.graph.SetInParent()
    for field, value in proto.graph.ListFields():
        if field.name != "initializer":
            _copy_field(light.graph, field, value)
    for tensor in proto.graph.initializer:
        # Asking for raw_data would copy it: what has few elements, or lists them, is small.
        if not tensor.HasField("raw_data") or math.prod(tensor.dims) <= SMALL // 4:
            light.graph.initializer.append(tensor)
            continue
        keep(found, tensor.name, tensor if borrow else np.frombuffer(tensor.raw_data, np.uint8))
        copy = light.graph.initializer.add()
        copy.name, copy.data_type = tensor.name, tensor.data_type
        copy.doc_string = tensor.doc_string
        copy.dims.extend(tensor.dims)
        lighten(copy)
    return light, Weights(found)


def keep(found: dict[str, Bytes | TensorProto], name: str, data: Bytes | TensorProto) -> None:
    """Note the bytes of a weight by its name.

    Raises:
        ModelError: Another weight of the name has other values.
    """
    if name in found and _raw(found[name]) != _raw(data):
        raise twice(name)
    found[name] = data


def twice(name: str) -> ModelError:
    """Return the error for two weights of one name: which one counts depends on their size."""
    return ModelError(f"two weights that differ are called {name!r}", "export the model again")


def _raw(data: Bytes | TensorProto) -> bytes:
    return data.raw_data if isinstance(data, TensorProto) else data.tobytes()


def _copy_field(target: Any, field: Any, value: Any) -> None:
    if field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED:
        getattr(target, field.name).extend(value)
    elif field.message_type is not None:
        getattr(target, field.name).CopyFrom(value)
    else:
        setattr(target, field.name, value)
