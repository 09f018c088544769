"""Inputs of any kind through an engine: prepared, in batches, each with its explanations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeAlias, TypeVar

import numpy as np

from onnxcam.compose import maps_of
from onnxcam.errors import OnnxcamError, bounded
from onnxcam.inputs import Description, Prepared
from onnxcam.inputs.tensor import as_given, is_picture
from onnxcam.methods import find
from onnxcam.run.engine import Engine
from onnxcam.run.feeds import Feeds
from onnxcam.run.groups import batch_of, in_groups, joined
from onnxcam.targets import Target, Wanted, as_targets, is_several, resolved

Array: TypeAlias = np.ndarray[Any, Any]
X = TypeVar("X")


class Streams:
    """The ways of one explainer: by its own methods, and by those that calls name.

    Args:
        first: By its own.
        layer: The feature layer that its caller named, or None.
    """

    def __init__(self, first: Stream, layer: str | Sequence[str] | None) -> None:
        self._made: dict[str | None, Stream] = {None: first}
        self._layer = layer

    def method(self, name: str | None) -> Stream:
        """Return what explains by a method, None for the explainer's own; it is made once.

        Raises:
            OnnxcamError: There is no such method, or it cannot explain the model.
        """
        if name not in self._made:
            assert name is not None, "the first way is there"
            first = self._made[None]
            engine = first.engine
            layer = self._layer if find(name).takes_feature else None
            maps = maps_of(engine.catalog, name, layer)
            self._made[name] = replace(first, engine=replace(engine, maps=maps, made={}))
        return self._made[name]


@dataclass(frozen=True, eq=False)
class Stream:
    """Explains inputs one after another, or several in a run.

    Attributes:
        engine: What explains prepared inputs.
        description: What is said of the input and the classes.
        fed: Name of the input that callers give.
        labels: Returns the names of the classes that fit the scores.
        named: Whether a result is a dict of maps by name, rather than the only one.
    """

    engine: Engine
    description: Description
    fed: str
    labels: Callable[[], tuple[str, ...] | None]
    named: bool

    def of(
        self, inputs: Iterable[X], target: Wanted | Sequence[Wanted], extra_inputs: Any
    ) -> Iterator[tuple[X, Any]]:
        """Yield every input with its result, or with the error that it is the reason of."""
        engine, catalog = self.engine, self.engine.catalog
        listed, targets = is_several(target), as_targets(target)
        names = self.description.labels if any(t.names_labels for t in targets) else None
        wanted = resolved(targets, catalog.reduction, names)
        limit = self._most if engine.together else 1
        total = len(inputs) if isinstance(inputs, Sized) else None
        extra = {name: np.asarray(as_given(a)) for name, a in (extra_inputs or {}).items()}
        feeds, numbered = Feeds(engine.model, catalog, self.fed), enumerate(inputs)
        while waiting := list(islice(numbered, limit)):
            parts = [feeds.each(self._prepared(x), extra, i, total) for i, x in waiting]
            found = self._explained(parts, wanted, listed, feeds)
            yield from zip((x for _, x in waiting), found, strict=True)

    @property
    def _most(self) -> int:
        """The most inputs in one run; one where no axis of the scores surely counts them."""
        engine = self.engine
        fixed, scores = batch_of(engine.model, engine.catalog).size, engine.catalog.reduction
        return fixed or (engine.batch_size if scores.sure and scores.batch_axis is not None else 1)

    def _prepared(self, x: Any) -> Prepared | OnnxcamError:
        try:
            given = as_given(x)
            is_one = is_picture(given, self.description.declared)
        except OnnxcamError as error:
            return error
        # A missing description is no fault of this input: it stops the whole call.
        if is_one:
            self.description.spec  # noqa: B018
        try:
            return self.description.prepare(given)
        except OnnxcamError as error:
            return error

    def _explained(
        self,
        parts: Sequence[Sequence[Prepared | OnnxcamError]],
        targets: Sequence[tuple[Target, int]],
        listed: bool,
        feeds: Feeds,
    ) -> Iterable[Any]:
        only = self.engine.maps[0].method.name

        @bounded("the model cannot be explained")
        def run(batch: Sequence[Prepared]) -> list[Any]:
            rows = self.engine.run(batch, targets, self.labels() or self.description.labels)
            found = [[m if self.named else m[only] for m in row] for row in rows]
            return found if listed else [row[0] for row in found]

        each = (p for part in parts for p in part)
        found = in_groups(each, run, self._most, feeds.alike)
        return joined(found, [len(part) for part in parts])
