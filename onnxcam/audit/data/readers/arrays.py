"""NPZ files whose arrays hold many inputs: pictures, sequences, tables."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from math import isfinite
from pathlib import Path

import numpy as np

from onnxcam.audit.data.readers.lists import LABEL, check_slices, column
from onnxcam.audit.data.registry import reader
from onnxcam.audit.data.sample import Box, Sample
from onnxcam.audit.data.sound import MOST
from onnxcam.errors import InputError, plain

_DATA = ("x", "data", "images", "inputs", "input", "features", "arr_0")
_BOXES = ("boxes", "bbox")


@reader("npz", claims=lambda p: p.suffix.lower() == ".npz" and p.is_file())
def npz(place: Path, slices: tuple[str, ...]) -> Iterator[Sample]:
    """An .npz file: `x` [N, ...] with an input a row, `y` [N] their classes, slices by name."""
    try:
        with np.load(place, allow_pickle=False) as file:
            names = list(file.files)
            data = column(names, _DATA)
            if data is None:
                raise InputError(f"{place} holds {', '.join(names)}", "call the inputs x")
            label = column(names, LABEL)
            check_slices(slices, names, place)
            count = _shape(place, data)[0]
            if count > MOST:
                raise InputError(f"{place} holds {count:,} inputs", f"give {MOST:,} at most")
            for name in (label, *slices, column(names, _BOXES)):
                if name and _shape(place, name)[0] != count:
                    raise InputError(
                        f"{place}: {data} has {count} rows, {name} another number", "mend it"
                    )
            wanted = {n: file[n] for n in (label, *slices, column(names, _BOXES)) if n}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{place} cannot be read ({error})", "write it with numpy.savez") from None
    boxes = next((wanted[n] for n in _BOXES if n in wanted), None)
    for row in range(count):
        said = None if label is None else plain(wanted[label][row])
        groups = {name: plain(wanted[name][row]) for name in slices}
        box = () if boxes is None else _boxes(boxes[row])
        yield Sample(f"{row:06d}", place, "npz", row, data, said, groups, box)


def _boxes(values: np.ndarray) -> tuple[Box, ...]:
    """Return the boxes of one input: [4] or [M, 4], those that are not numbers left out."""
    found = np.asarray(values, np.float64).reshape(-1, 4)
    return tuple((b[0], b[1], b[2], b[3]) for b in found.tolist() if all(map(isfinite, b)))


def _shape(place: Path, name: str) -> tuple[int, ...]:
    """Return the shape of an array, from its header alone."""
    with zipfile.ZipFile(place) as archive, archive.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0
        shape = (read if version == (1, 0) else np.lib.format.read_array_header_2_0)(file)[0]
    if not shape:
        raise ValueError(f"{name} is a single number")
    return tuple(shape)
