"""The head of a model asked about many feature layers: one buffer, changed in place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import numpy as np

from onnxcam.analysis.layout import Layout
from onnxcam.methods.needs import Patch
from onnxcam.run.session import Session

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(eq=False)
class Head:
    """What lies behind a feature layer.

    Attributes:
        session: Runs it.
        feature: Name of the feature layer, which is its first input.
        channel: Axis of the channels in it.
        whole: A full batch of the feature layer as it is, in the model's axes.
        feeds: What else it takes, by name.
    """

    session: Session
    feature: str
    channel: int
    whole: Array
    feeds: Mapping[str, Array]

    def __post_init__(self) -> None:
        """Make the buffer, a view of it with the channels as axis 1, and the layer as it is."""
        self._buffer = np.array(self.whole)  # a copy that may be written to
        self._rows = np.moveaxis(self._buffer, self.channel, 1)
        self._layer = np.moveaxis(self.whole, self.channel, 1)[0]
        self._changed: list[Any] = [None] * len(
            self._rows
        )  # what of each row differs from the layer

    def run(self, chunk: Sequence[Any], output: str, more: Mapping[str, Array]) -> Array:
        """Return an output for some layers: arrays [C, ...], or what of the layer is changed."""
        for i, item in enumerate(chunk):
            index, value = (item.index, item.value) if isinstance(item, Patch) else (..., item)
            if self._changed[i] is not None and self._changed[i] is not index:
                self._rows[i][self._changed[i]] = self._layer[self._changed[i]]
            self._rows[i][index] = value
            self._changed[i] = index
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
        shape: Its shape, with the batch.
        space: Extents of the map.

    Returns:
        int64 [*space]: indices into the layer's axes but batch and channels, flattened.
    """
    letters = [c for c in layout.axes if c not in "NC"]
    sizes = [n for c, n in zip(layout.axes, shape, strict=True) if c not in "NC"]
    every = np.arange(int(np.prod(sizes))).reshape(sizes)
    if layout.prefix or layout.suffix:
        every = every[layout.prefix or 0 : len(every) - layout.suffix]
    turned = every.transpose([letters.index(c) for c in "TDHW" if c in letters])
    return turned.reshape(tuple(space))
