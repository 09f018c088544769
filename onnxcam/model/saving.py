"""Models as files: each takes its place whole or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

from google.protobuf.message import DecodeError
from onnx import ModelProto

from onnxcam.errors import OnnxcamError, UsageError, unwritten
from onnxcam.files import was_read, whole
from onnxcam.model.model import Model
from onnxcam.model.stream import write, write_external

_ONE_FILE = 1_900_000_000  # bytes: protobuf stops at 2 GB


def free_place(output: str | os.PathLike[str], model: Any, *, force: bool) -> Path:
    """Return the place of a file that may be written.

    Args:
        output: The file.
        model: What it is made of; a path is never overwritten, also not through a link.
        force: Whether an existing file may be replaced.

    Raises:
        UsageError: The file is the model itself, a folder, not called .onnx, or exists.
        OnnxcamError: Its folder is missing.
    """
    place = Path(output)
    if isinstance(model, str | os.PathLike) and _same(place, Path(model)):
        raise UsageError(f"{place} is the model itself", "write to another file")
    if place.is_dir():
        raise UsageError(f"{place} is a folder", "name a file")
    if place.suffix.lower() != ".onnx":  # with `force` a mistaken name could cost a photograph
        raise UsageError(f"{place} is no name of a model", "end it in .onnx")
    if not place.parent.is_dir():
        raise OnnxcamError(f"{place.parent}: no such folder", "create it first")
    if os.path.lexists(place) and not force:
        raise UsageError(f"{place} exists", "add `force=True` to replace it")
    return place


def _same(a: Path, b: Path) -> bool:
    """Tell whether two paths lead to one file, through links of either kind."""
    if os.path.realpath(a) == os.path.realpath(b):  # Path.resolve ends at loops of links
        return True
    try:
        return a.samefile(b)
    except OSError:
        return False


@contextmanager
def placed(place: Path, model: Model) -> Iterator[Path]:
    """Write a model beside its place; it takes the place when the block ends without an error.

    A model too large for one file has its weights in ``<place>.data``, or where there is such a
    file already, in another that no file refers to before it is whole.

    Yields:
        The file as it lies beside its place.

    Raises:
        OnnxcamError: It cannot be written.
    """
    large = model.weights.nbytes + model.light.ByteSize() > _ONE_FILE
    data = _free_data(place) if large else None
    try:
        with whole(place) as part:
            if data is not None:
                write_external(model.light, model.weights, part, data)
            else:
                with part.open("wb") as file:
                    write(model.light, model.weights, file)
            model.check_unchanged()
            yield part
            old = [p for p in _data_of(place) if p != data and not was_read(p)]
        data = None
        for replaced in old:
            replaced.unlink(missing_ok=True)
    except OSError as error:
        raise unwritten(error, place) from None
    finally:
        if data is not None and data.parent.is_dir():
            data.unlink(missing_ok=True)


def _free_data(place: Path) -> Path:
    data = place.with_name(f"{place.name}.data")
    while os.path.lexists(data):
        data = place.with_name(f"{place.name}.{token_hex(4)}.data")
    return data


def _data_of(place: Path) -> list[Path]:
    """Return the files of ours that hold the weights of the model in a place, if one is there."""
    ours = re.compile(rf"{re.escape(place.name)}(\.[0-9a-f]{{8}})?\.data")
    found = [p for p in place.parent.iterdir() if ours.fullmatch(p.name)]
    if not found:
        return []
    try:
        graph = ModelProto.FromString(place.read_bytes()).graph
    except (FileNotFoundError, DecodeError):
        return []
    named = {e.value for t in graph.initializer for e in t.external_data if e.key == "location"}
    return [p for p in found if p.name in named]
