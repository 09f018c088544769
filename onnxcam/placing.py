"""Models as files: each takes its place whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onnx import ModelProto

from onnxcam.errors import OnnxcamError, UsageError
from onnxcam.model import Model
from onnxcam.weights import write, write_external

_ONE_FILE = 1_900_000_000  # bytes: protobuf stops at 2 GB


def free_place(output: str | os.PathLike[str], model: Any, *, force: bool) -> Path:
    """Return the place of a file that may be written.

    Args:
        output: The file.
        model: What it is made of; a path is never overwritten, also not through a link.
        force: Whether an existing file may be replaced.

    Raises:
        UsageError: The file is the model itself, a folder, or exists.
        OnnxcamError: Its folder is missing.
    """
    place = Path(output)
    if isinstance(model, str | os.PathLike) and _same(place, Path(model)):
        raise UsageError(f"{place} is the model itself", "write to another file")
    if place.is_dir():
        raise UsageError(f"{place} is a folder", "name a file")
    if not place.parent.is_dir():
        raise OnnxcamError(f"{place.parent}: no such folder", "create it first")
    if os.path.lexists(place) and not force:
        raise UsageError(f"{place} exists", "add --force to replace it")
    return place


def _same(a: Path, b: Path) -> bool:
    """Tell whether two paths lead to one file, through links of either kind."""
    return a.resolve() == b.resolve() or (a.exists() and b.exists() and a.samefile(b))


@contextmanager
def placed(place: Path, model: Model) -> Iterator[Path]:
    """Write a model beside its place; it takes the place when the block ends without an error.

    A model too large for one file has its weights in ``<place>.data``.

    Yields:
        The file as it lies beside its place.

    Raises:
        OnnxcamError: It cannot be written.
    """
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
