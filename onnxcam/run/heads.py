"""The head of a model asked about many feature layers: one buffer, changed in place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import numpy as np

from onnxcam import names
from onnxcam.analysis.layout import Layout
from onnxcam.compose.headed import Start
from onnxcam.methods.needs import Patch
from onnxcam.run.answering import Engine
from onnxcam.run.session import Session

Array: TypeAlias = np.ndarray[Any, Any]
_TOLD = {names.TARGET, names.HELD}  # what each question says anew
_ROWS = 8  # a batch that the caller made no smaller
_MANY, _CACHE = 64, 2**24  # layers in one run of a head, and their bytes


@dataclass(frozen=True, eq=False)
class Weighted:
    """A feature layer with its positions weighted.

    Attributes:
        weights: Of every position, in the axes of a layer [C, ...] but the first.
    """

    weights: Array


@dataclass(eq=False)
class Head:
    """What lies behind a feature layer.

    Attributes:
        session: Runs it.
        start: Where it begins, which is its first input.
        layer: The feature layer as it is, [C, ...].
        first: What the head begins at as it is, [C, ...]: the layer, or its pool.
        rows: How many it takes at once.
        feeds: What else it takes, by name.
        free: Whether it may take less.
    """

    session: Session
    start: Start
    layer: Array
    first: Array
    rows: int
    feeds: Mapping[str, Array]
    free: bool

    def __post_init__(self) -> None:
        """Make the buffer, and a view of it whose axes are inputs, channels and the others."""
        rest = iter(self.first.shape[1:])
        sizes = {self.start.batch: self.rows, self.start.channel: len(self.first)}
        shape = [sizes[i] if i in sizes else next(rest) for i in range(self.first.ndim + 1)]
        self._buffer = np.zeros(shape, self.first.dtype)
        self._rows = np.moveaxis(self._buffer, (self.start.batch, self.start.channel), (0, 1))
        self._changed: list[Any] = [...] * self.rows  # what of each row is not the layer's

    def run(self, chunk: Sequence[Any], output: str, more: Mapping[str, Array]) -> Array:
        """Return an output for some layers: arrays [C, ...], or what of the layer is changed."""
        if self.start.pool and isinstance(chunk[0], Weighted):
            self._rows[: len(chunk)] = self._pools(chunk)
        else:
            for i, item in enumerate(chunk):
                self._fill(i, item)
        some = (slice(None),) * self.start.batch + (slice(self.fed(chunk)),)
        full = np.ascontiguousarray(self._buffer[some])
        (found,) = self.session.run({self.start.name: full, **self.feeds, **more}, [output])
        return found

    def fed(self, chunk: Sequence[Any]) -> int:
        """Return how many layers run where these are asked about."""
        return len(chunk) if self.free else self.rows

    def _fill(self, i: int, item: Any) -> None:
        row, changed = self._rows[i], self._changed[i]
        if isinstance(item, Patch):
            if changed is not item.index:
                row[changed] = self.first[changed]
            row[item.index] = item.value
        elif isinstance(item, Weighted):
            np.multiply(self.first, item.weights, out=row)
        else:
            row[...] = item
        self._changed[i] = item.index if isinstance(item, Patch) else ...

    def _pools(self, chunk: Sequence[Weighted]) -> Array:
        """Return the pools of the layer with weighted positions: sums of its columns."""
        flat = self.layer.reshape(len(self.layer), -1)
        weights = np.stack([item.weights.ravel() for item in chunk])
        kind = np.promote_types(flat.dtype, np.float32)
        weights = weights.astype(kind, copy=False)
        if self.start.pool == "mean":
            weights = weights / kind.type(flat.shape[1])
        pools: Array = weights @ flat.T.astype(kind, copy=False)
        return pools.reshape(len(chunk), *self.first.shape)


def is_alone(engine: Engine) -> bool:
    """Tell whether a head takes nothing but the feature layer, and as many inputs as it gets."""
    tail = engine.tail
    return tail is not None and {*tail.inputs} <= _TOLD and not engine.batch.is_fixed


def begins(engine: Engine) -> list[str]:
    """Return the tensors that a head is made of: the feature layer, and where it begins."""
    return [] if engine.start is None else [*dict.fromkeys((engine.feature, engine.start.name))]


def shown_first(engine: Engine) -> list[str]:
    """Return what an input's first run may give beside the scores: what parts of the model use."""
    halves = () if engine.halves is None else engine.halves.halves.shown
    shown = [n for n in (names.FEATURE, *halves) if n in engine.whole.outputs]
    return [*shown, *begins(engine)] if is_alone(engine) else shown


def of_rows(told: Mapping[str, Array], rows: int) -> dict[str, Array]:
    """Return what is fed with so many inputs: what was chosen in one is held in all of them."""
    held = told.get(names.HELD)
    return {**told} if held is None else {**told, names.HELD: np.repeat(held, rows, 0)}


def made(
    engine: Engine,
    tensor: Array,
    found: Mapping[str, Array],
    others: Mapping[str, Array],
    most: int,
) -> Head:
    """Return what lies behind the feature layer, with all that it uses, for a full batch.

    Where it uses more than the layer, all runs for a batch: that may hold the batch's size.

    Args:
        engine: The sessions.
        tensor: The input, with a batch of 1.
        found: What was found of it, by name.
        others: What is fed to the model's other inputs.
        most: The most inputs in one run.
    """
    tail, start, layout = engine.tail, engine.start, engine.layout
    assert tail is not None and engine.head is not None and start is not None
    assert layout is not None and layout.channel is not None, "parts() has seen to it"
    rest, free = {}, is_alone(engine)
    if free:
        values = {name: found[name] for name in begins(engine)}
        most = _rows_of(values[start.name].nbytes, engine.most)
    else:
        given = {engine.catalog.input: np.repeat(tensor, most, engine.batch.axis), **others}
        wanted = [*dict.fromkeys([*begins(engine), *tail.inputs])]
        asked = [name for name in wanted if name not in given and name not in _TOLD]
        values = dict(zip(asked, engine.whole.run(given, asked), strict=True))
        values |= {n: given[n] for n in wanted if n in given}
        rest = {n: values[n] for n in tail.inputs if n in values}
    layer = np.moveaxis(values[engine.feature], (layout.batch or 0, layout.channel), (0, 1))[0]
    first = np.moveaxis(values[start.name], (start.batch, start.channel), (0, 1))[0]
    return Head(engine.head, start, layer, first, most, rest, free)


def _rows_of(size: int, most: int) -> int:
    """Return how many layers of so many bytes run at once: what a cache holds, 8 at least."""
    return most if most < _ROWS else max(most, min(_MANY, _CACHE // max(size, 1)))


def chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield lists of that many items; the last may be shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def places(layout: Layout | None, head: Head, features: Array) -> Array:
    """Return where the positions of a map lie in a feature layer.

    Args:
        layout: The meaning of the layer's axes.
        head: What runs behind it.
        features: The layer as features [C, *space], as maps have it.

    Returns:
        int64 [*space]: indices into the layer's axes but batch and channels, flattened.
    """
    assert layout is not None, "a head begins at a layer whose axes are known"
    letters = [c for c in layout.axes if c not in "NC"]
    shape = head.layer.shape[1:]
    every = np.arange(int(np.prod(shape))).reshape(shape)
    if layout.prefix or layout.suffix:
        every = every[layout.prefix or 0 : len(every) - layout.suffix]
    turned = every.transpose([letters.index(c) for c in "TDHW" if c in letters])
    return turned.reshape(features.shape[1:])
