"""How many inputs run together."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, TypeAlias

import numpy as np

from onnxcam.analysis.layers import Catalog
from onnxcam.model.model import Model
from onnxcam.run.groups import batch_of
from onnxcam.run.hardware import Provider

Array: TypeAlias = np.ndarray[Any, Any]

# Bytes of inputs that run at once on a CPU: what networks make of more crowds out its cache, of
# which each thread that runs them forward has its own.
_FORWARD, _BACKWARD = 2**21, 2**19
_HEAVY = 2**28  # bytes of weights that are not held twice to save a part of the time


def together(
    most: int, size: int, provider: Provider, threads: int = 1, *, backward: bool = False
) -> int:
    """Return the most inputs in one run.

    Args:
        most: What is asked for.
        size: Bytes of one of them.
        provider: Where they run.
        threads: By how many threads.
        backward: Whether their gradients are computed.
    """
    if not provider.name.startswith("CPU"):
        return most
    room = _BACKWARD if backward else _FORWARD * threads
    return max(1, min(most, room // max(size, 1)))


def splits(model: Model, catalog: Catalog, provider: Provider) -> bool:
    """Tell whether gradients may be taken in two halves of a model, one input after another.

    So where a CPU takes the gradients of large inputs one by one anyway, the sizes are known, and
    the weights are not too large to be held twice: once for the scores, once for the gradients.
    """
    port = next(p for p in model.inputs if p.name == catalog.input)
    batch, shape = batch_of(model, catalog), port.shape or ()
    rest = [d for i, d in enumerate(shape) if i != batch.axis]
    sizes = [d for d in rest if isinstance(d, int)]
    if batch.is_fixed or port.dtype is None or len(sizes) < len(rest):
        return False
    size = prod(sizes) * port.dtype.itemsize
    alone = together(2, size, provider, backward=True) == 1
    return alone and provider.name.startswith("CPU") and model.weights.nbytes <= _HEAVY


class Stack:
    """Puts inputs together, again and again in the same memory: new memory takes its time."""

    def __init__(self) -> None:
        self._full: Array | None = None

    def of(self, inputs: Sequence[Array]) -> Array:
        """Return arrays of one shape as one, until the next are put together."""
        if len(inputs) == 1:
            return inputs[0][None]
        full = self._full
        if full is None or len(full) < len(inputs):
            self._full = full = np.stack(inputs)
            return full
        return np.stack(inputs, out=full[: len(inputs)])
