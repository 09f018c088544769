"""What is measured: a model file or a network of tools/architectures, and an input for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from onnxcam.errors import UsageError
from onnxcam.model.model import Model, Port, load

Feeds = dict[str, np.ndarray[Any, Any]]
EXPORTERS = ("dynamo", "torchscript")


@dataclass(frozen=True)
class Subject:
    """A model that is measured.

    Attributes:
        name: What the report calls it.
        path: Its file.
        model: The same, loaded.
        feeds: An input: normal random numbers (0 and 1 for integers).
    """

    name: str
    path: Path
    model: Model
    feeds: Feeds


def from_file(
    path: Path, *, batch: int, dims: Mapping[str, int], seed: int = 0, name: str | None = None
) -> Subject:
    """Load a file.

    Args:
        path: ONNX file.
        batch: What a dynamic first dimension is set to.
        dims: What other dynamic dimensions are set to, by name.
        seed: Of the input.
        name: For the report; default the file's.

    Raises:
        UsageError: A dimension is not known.
    """
    model = load(path)
    random = np.random.default_rng(seed)
    feeds = {port.name: _values(port, batch, dims, random) for port in model.inputs}
    return Subject(name or path.name, path, model, feeds)


def architectures() -> list[str]:
    """Return the networks that have a full size."""
    return sorted(name for name, entry in _zoo().items() if entry.full is not None)


def export(name: str, folder: Path, *, exporter: str, dynamic: bool = True) -> Path:
    """Write a network with random weights as a file, by one of torch's exporters.

    Args:
        name: One of :func:`architectures`.
        folder: Where to.
        exporter: "dynamo" or "torchscript".
        dynamic: Leave the batch open.

    Raises:
        UsageError: There is no such network.
    """
    if name not in architectures():
        raise UsageError(f"no architecture {name!r}", f"choose one of {', '.join(architectures())}")
    import torch
    from architectures.export import export as to_onnx
    from architectures.weights import calibrated, inputs

    torch.set_num_threads(1)
    entry = _zoo()[name]
    assert entry.full is not None
    x = inputs(entry, 2 if dynamic else 1, full=True)
    net = calibrated(entry.full(), inputs(entry, 2, full=True))
    path = folder / f"{name}.onnx"
    proto = to_onnx(net, x, dynamo=exporter == "dynamo", feature=False, dynamic=dynamic)
    onnx.save(proto, str(path))
    return path


def _zoo() -> Mapping[str, Any]:
    try:
        from architectures import ARCHITECTURES
    except ImportError as error:
        raise UsageError(
            f"the architectures cannot be made ({error})", "pip install -e '.[cpu,test]'"
        ) from None
    return ARCHITECTURES


def _values(
    port: Port, batch: int, dims: Mapping[str, int], random: np.random.Generator
) -> np.ndarray[Any, Any]:
    if port.shape is None or port.dtype is None:
        raise UsageError(f"the shape of input {port.name!r} is not known", "measure another model")
    shape = []
    for i, dim in enumerate(port.shape):
        if isinstance(dim, int):
            shape.append(dim)
        elif dim in dims:
            shape.append(dims[dim])
        elif i == 0:
            shape.append(batch)
        else:
            raise UsageError(
                f"dimension {i} ({dim}) of input {port.name!r} is dynamic",
                f"set it: --dim {dim}=224",
            )
    if port.dtype.kind in "iub":
        return random.integers(0, 2, shape).astype(port.dtype)
    return random.standard_normal(shape).astype(port.dtype)
