"""The head of a model asked about many feature layers: one buffer, changed in place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import numpy as np

from onnxcam.analysis.layout import Layout
from onnxcam.methods.needs import Patch, Scaled
from onnxcam.run.session import Session

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(eq=False)
class Head:
    """What lies behind a feature layer.

    Attributes:
        session: Runs it.
        feature: Name of the feature layer, which is its first input.
        channel: Axis of the channels in it.
        layer: The feature layer as it is, [C, ...].
        batch: Axis of the inputs.
        rows: How many it takes at once.
        feeds: What else it takes, by name.
    """

    session: Session
    feature: str
    channel: int
    layer: Array
    batch: int
    rows: int
    feeds: Mapping[str, Array]

    def __post_init__(self) -> None:
        """Make the buffer, and a view of it whose axes are inputs, channels and the others."""
        rest = iter(self.layer.shape[1:])
        sizes = {self.batch: self.rows, self.channel: len(self.layer)}
        shape = [sizes[i] if i in sizes else next(rest) for i in range(self.layer.ndim + 1)]
        self._buffer = np.zeros(shape, self.layer.dtype)
        self._rows = np.moveaxis(self._buffer, (self.batch, self.channel), (0, 1))
        self._changed: list[Any] = [...] * self.rows  # what of each row is not the layer's

    def run(self, chunk: Sequence[Any], output: str, more: Mapping[str, Array]) -> Array:
        """Return an output for some layers: arrays [C, ...], or what of the layer is changed."""
        for i, item in enumerate(chunk):
            row, changed = self._rows[i], self._changed[i]
            if isinstance(item, Patch):
                if changed is not item.index:
                    row[changed] = self.layer[changed]
                row[item.index] = item.value
            elif isinstance(item, Scaled):
                np.multiply(self.layer, item.factor, out=row)
            else:
                row[...] = item
            self._changed[i] = item.index if isinstance(item, Patch) else ...
        feeds = {self.feature: self._buffer, **self.feeds, **more}
        (found,) = self.session.run(feeds, [output])
        return found


def chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield lists of that many items; the last may be shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def places(layout: Layout, shape: Sequence[int], space: Sequence[int]) -> Array:
    """Return where the positions of a map lie in a feature layer.

    Args:
        layout: The meaning of the layer's axes.
        shape: Its shape, but for batch and channels.
        space: Extents of the map.

    Returns:
        int64 [*space]: indices into the layer's axes but batch and channels, flattened.
    """
    letters = [c for c in layout.axes if c not in "NC"]
    every = np.arange(int(np.prod(shape))).reshape(tuple(shape))
    if layout.prefix or layout.suffix:
        every = every[layout.prefix or 0 : len(every) - layout.suffix]
    turned = every.transpose([letters.index(c) for c in "TDHW" if c in letters])
    return turned.reshape(tuple(space))
