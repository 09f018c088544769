"""Inputs to run a model on where none are given."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

from onnxcam.errors import ModelError
from onnxcam.graph.emit import Dim, np_dtype
from onnxcam.model.model import Model, Port

Array: TypeAlias = np.ndarray[Any, Any]
_MOST = 2**28  # elements of one input: a gigabyte of float32


def sample_feeds(
    model: Model, *, seed: int = 0, batch: int = 1, space: int = 64, length: int = 1
) -> dict[str, Array]:
    """Return random inputs of a model's shapes.

    An unknown dimension becomes ``batch``, but ``space`` in space and eight times as much in a
    sound (floats [N, samples]), and ``length`` in whole numbers [N, words].

    Raises:
        ModelError: An input is too large.
    """
    rng = np.random.default_rng(seed)
    feeds = {}
    symbols: dict[Dim, int] = {}  # a symbol is the same size everywhere
    for port in model.inputs:
        dims = list(enumerate(port.shape or ()))
        free = [_size(axis, port, batch, space, length) for axis, _ in dims]
        sizes = [
            d if isinstance(d, int) and d >= 0 else n for (_, d), n in zip(dims, free, strict=True)
        ]
        shape = [
            symbols.setdefault(d, n) if isinstance(d, str) else n
            for (_, d), n in zip(dims, sizes, strict=True)
        ]
        if math.prod(shape) > _MOST:
            raise ModelError(
                f"random numbers for the input {port.name!r} of the shape {shape} would not fit "
                "into memory",
                "give a `sample`, or leave the check out: `check=False`",
            )
        dtype = port.dtype or np.dtype(np.float32)
        values = rng.normal(size=shape) if is_float_type(dtype) else np.ones(shape)
        feeds[port.name] = np.asarray(values).astype(dtype)
    return feeds


def _size(axis: int, port: Port, batch: int, space: int, length: int) -> int:
    rank = len(port.shape or ())
    if axis == 0 or rank < 2:
        return batch
    if rank > 2:
        return space
    return 8 * space if port.dtype is not None and is_float_type(port.dtype) else length


def is_float_type(dtype: np.dtype[Any]) -> bool:
    """Tell whether a dtype is one of floats, also of few bits."""
    return dtype.kind == "f" or dtype.name in ("bfloat16", "float8_e4m3fn", "float8_e5m2")


def narrowest_float(model: Model) -> int:
    """Return the bytes of the narrowest float that a model takes, holds or returns."""
    weights = (np_dtype(t.data_type) for t in model.light.graph.initializer)
    ports = (p.dtype for p in (*model.inputs, *model.outputs) if p.dtype is not None)
    floats = [d.itemsize for d in (*weights, *ports) if is_float_type(d)]
    return max(min(floats, default=4), 2)
