"""Weights that lie in other files than the model: found in its folder, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from onnxcam.errors import InputError, ModelError, plain
from onnxcam.files import regular
from onnxcam.graph.emit.walks import every_graph
from onnxcam.model.mapping import Bytes, mapped, written_to
from onnxcam.model.stream import digest
from onnxcam.model.weights import SMALL, Weights, byte_size, fill, is_light, lighten

_COPY = "copy the data file again"


class Beside:
    """The files beside a model that hold its data.

    Args:
        path: The model's file; None for one in memory, which has no folder.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._open: dict[Path, Bytes] = {}

    def taken(self, proto: ModelProto) -> dict[str, Bytes]:
        """Take the external data of a model; small tensors and those of nodes are read into it.

        Args:
            proto: The model; it is changed.

        Returns:
            The bytes of its large initializers by name; the tensors are light now.

        Raises:
            ModelError: Data is missing, too short, lies outside the folder, or is nonsense.
        """
        found = {}
        for tensor in proto.graph.initializer:
            if _is_outside(tensor):
                data = self._bytes(tensor)
                if data.nbytes > SMALL:
                    found[tensor.name] = data
                    lighten(tensor)
                else:
                    fill(tensor, data)
        for tensor in _tensors(proto):
            if _is_outside(tensor):
                fill(tensor, self._bytes(tensor))
        return found

    @property
    def is_used(self) -> bool:
        """Whether any data lies in other files."""
        return bool(self._open)

    def digests(self) -> Mapping[str, str]:
        """Return the sha256 of every file that was read, by its place beside the model.

        Raises:
            ModelError: One was written to since.
        """
        folder = None if self._path is None else self._path.resolve().parent
        found = {
            (place.relative_to(folder) if folder else place).as_posix(): digest(data.data)
            for place, data in sorted(self._open.items())
        }
        changed = Weights({p.name: data for p, data in self._open.items()}).changed()
        if changed is not None:
            raise written_to(changed)
        return found

    def _bytes(self, tensor: TensorProto) -> Bytes:
        name = plain(tensor.name, 80)
        entries = {e.key: e.value for e in tensor.external_data}
        location = entries.get("location", "")
        data = self._file(location, name)
        try:
            size = byte_size(tensor)
        except (KeyError, TypeError):
            raise ModelError(
                f"{self._path}: tensor {name!r} has elements of an unknown type "
                f"({tensor.data_type})",
                "export the model again",
            ) from None
        start, length = (
            self._number(entries, k, name, o) for k, o in (("offset", 0), ("length", size))
        )
        if size < 0 or length != size or start < 0 or start + size > data.nbytes:
            raise ModelError(
                f"{self._path}: the external data {plain(location, 80)} is too short for tensor "
                f"{name!r}",
                _COPY,
            )
        return data[start : start + size]

    def _number(self, entries: Mapping[str, str], key: str, name: str, otherwise: int) -> int:
        said = entries.get(key, str(otherwise))
        if not (said.isascii() and said.isdecimal() and len(said) < 20):
            raise ModelError(
                f"{self._path}: the {key} of tensor {name!r} in its external data is no number "
                f"({plain(said, 40)})",
                "export the model again",
            )
        return int(said)

    def _file(self, location: str, name: str) -> Bytes:
        """Return a data file; what leads out of the folder, in whatever way, is refused."""
        said = plain(location, 80)
        if self._path is None:
            raise ModelError(
                f"the data of tensor {name!r} lies in another file ({said})",
                "give the path of the model instead: bytes have no folder",
            )
        outside = ModelError(
            f"{self._path}: the data of {name!r} lies outside the model's folder ({said})",
            "save the model with its external data in one folder",
        )
        folder = self._path.resolve().parent
        try:
            place = (folder / location).resolve()
            if not location or Path(location).is_absolute() or not place.is_relative_to(folder):
                raise outside
            if place not in self._open:
                regular(place)
                if place.stat().st_nlink > 1:
                    raise ModelError(
                        f"{self._path}: the external data {said} (tensor {name!r}) has more than "
                        "one name: it may be a file outside the folder",
                        "copy it, so that it is a file of its own",
                    )
                self._open[place] = np.frombuffer(mapped(place), np.uint8)
        except FileNotFoundError:
            raise ModelError(
                f"{self._path}: the external data {said} (tensor {name!r}) is missing",
                "copy it beside the model",
            ) from None
        except InputError as error:
            raise ModelError(f"{error.message} (the data of tensor {name!r})", error.hint) from None
        except (OSError, ValueError, RuntimeError) as error:  # too long, a loop of links, no right
            reason = getattr(error, "strerror", None) or plain(error, 80)
            raise ModelError(
                f"{self._path}: the external data {said} (tensor {name!r}) cannot be read "
                f"({reason})",
                "check its name and its rights",
            ) from None
        return self._open[place]


def _is_outside(tensor: TensorProto) -> bool:
    return tensor.data_location == TensorProto.EXTERNAL and not is_light(tensor)


def _tensors(proto: ModelProto) -> Iterator[TensorProto]:
    """Yield every tensor of a model but the initializers of its main graph."""
    for graph in every_graph(proto.graph):
        yield from _of_graph(graph)
    for function in proto.functions:
        for node in function.node:
            yield from _of_node(node)


def _of_graph(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _of_node(node, bodies=False)


def _of_node(node: NodeProto, *, bodies: bool = True) -> Iterator[TensorProto]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        sparse = [*attribute.sparse_tensors]
        if attribute.HasField("sparse_tensor"):
            sparse.append(attribute.sparse_tensor)
        for each in sparse:
            yield from (each.values, each.indices)
        if bodies:
            for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                for part in every_graph(graph):
                    yield from _of_graph(part)
