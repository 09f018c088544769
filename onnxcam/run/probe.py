"""One input, and what a model answers to others like it: in batches, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, TypeAlias

import numpy as np

from onnxcam import names
from onnxcam.methods import needs
from onnxcam.run.alike import Alike
from onnxcam.run.answering import Engine
from onnxcam.run.heads import Head, Weighted, chunks, made, of_rows, places, shown_first
from onnxcam.run.interrupt import Limit
from onnxcam.run.order import Order, order_of, rounded
from onnxcam.run.scores import checked_rows, probable
from onnxcam.run.straight import Behind, Straight
from onnxcam.run.together import Stack
from onnxcam.targets import resolve_target

Array: TypeAlias = np.ndarray[Any, Any]


class Probe:
    """One input, and the answers of a model to others like it.

    Args:
        engine: What answers.
        tensor: The input in the model's axes, with a batch of 1.
        others: What is fed to the model's other inputs.
        targets: Class indices; -1 is the top class of this input.
        rng: Where random numbers come from.
        step: Called with the number of inputs that were run, and of how many where that is known,
            after each batch.
        limit: Says when to stop.

    Attributes:
        classes: The class of each target.
        steepest: Largest absolute gradient so far, float [K].
        values: What is explained of the input, float [K]; None where that is its score.
        done: How many inputs were run so far.

    Raises:
        UsageError: The axes of the input are not known.
        InputError: ONNX Runtime fails on it.
    """

    def __init__(
        self,
        engine: Engine,
        tensor: Array,
        others: Mapping[str, Array],
        targets: Sequence[int],
        rng: np.random.Generator,
        step: Callable[[int, int | None], None],
        limit: Limit | None = None,
    ) -> None:
        self._engine, self._others, self._step, self._rng = engine, dict(others), step, rng
        self._tensor, self._limit, self.done = tensor, limit or Limit(None), 0
        shown = [names.SCORE, names.CLASS, *shown_first(engine)]
        found = self._found = dict(zip(shown, self.run(tensor, shown), strict=True))
        self.scores, top = found[names.SCORE][0], int(found[names.CLASS][0, 0])
        wanted = list(targets)
        if engine.of_class:
            wanted = [resolve_target(target, len(self.scores), None) for target in targets]
        self.classes = [top if target < 0 else target for target in wanted]
        self.steepest = np.ones(len(targets))
        self._told = self._asked(tensor)
        self.values = (
            None if engine.output == names.SCORE else self.explained(partial(self.run, tensor))[0]
        )
        self._own = self.scores[self.classes] if self.values is None else self.values

    @cached_property
    def _order(self) -> Order:
        return order_of(self._engine.catalog)

    def _asked(self, tensor: Array) -> list[dict[str, Array]]:
        """Return what says each target: its class, and what it chooses in this input."""
        told = [{names.TARGET: np.array([each])} for each in self.classes]
        if names.CHOICE in self._engine.whole.outputs:
            for each in told:
                each[names.HELD] = self.run(tensor, [names.CHOICE], each)[0]
        return told

    def value(self, need: needs.Need) -> Any:
        """Return what a method needs, see :mod:`onnxcam.methods.needs`."""
        if self._engine.matched and need in (needs.Score, needs.Probability):
            need = needs.Similarity
        return self._makers[need]()

    @cached_property
    def _makers(self) -> dict[needs.Need, Callable[[], Any]]:
        """What makes that which a method may need."""
        return {
            needs.Input: lambda: self.channels_first(self._tensor)[0],
            needs.Activation: lambda: self._found[names.FEATURE][0],
            needs.Layer: lambda: self._head.layer,
            needs.Places: lambda: places(
                self._engine.layout, self._head, self._found[names.FEATURE][0]
            ),
            needs.Random: lambda: self._rng,
            needs.Score: lambda: self._ask_scores,
            needs.OwnScore: lambda: self._own,
            needs.Probability: lambda: partial(self._ask_scores, likely=True),
            needs.InputGradient: lambda: partial(self._ask_gradients, names.GRADIENT),
            needs.Straight: lambda: self._straight,
            needs.Multipliers: lambda: partial(self._ask_gradients, names.GRADIENT, against=True),
            needs.Maps: lambda: self._ask_maps,
            needs.FeatureGradient: lambda: partial(self._ask_gradients, names.SLOPES),
            needs.FeatureAndGradient: lambda: partial(self._ask_layers, names.FEATURE),
            needs.MultipliersAtLayer: lambda: partial(self._ask_layers, names.OTHER, against=True),
            needs.LayerOf: lambda: self._ask_features,
            needs.Similarity: lambda: partial(self._ask_alike, self._alike()),
            needs.HeadScore: lambda: self._ask_head,
            needs.ChannelScore: lambda: self._ask_channels,
            needs.HeadProbability: lambda: partial(self._ask_head, likely=True),
            needs.PlaceScore: lambda: self._ask_places,
            needs.PlaceProbability: lambda: partial(self._ask_places, likely=True),
        }

    def channels_first(self, values: Array) -> Array:
        """Return inputs (or gradients) in the model's axes as float32 [n, C, *space]."""
        return self._order.channels_first(values).astype(np.float32)

    def _ask_scores(
        self, inputs: Iterable[Array], count: int | None = None, *, likely: bool = False
    ) -> Iterator[Array]:
        for batch in self._batches(inputs, count):
            yield from self.explained(partial(self.run, batch), likely=likely)

    def _ask_head(
        self, layers: Iterable[Any], count: int | None = None, *, likely: bool = False
    ) -> Iterator[Array]:
        engine = self._engine
        few = engine.head is not None and names.FEW in engine.head.outputs
        for chunk in self.limited(layers, count, self._head.rows):
            if few and not likely:
                told = {names.TARGET: np.array(self.classes)}
                yield from self._behind(chunk, [names.FEW], told)[0]
            else:
                yield from self.explained(partial(self._behind, chunk), likely=likely)

    def _ask_channels(
        self, channels: Iterable[int | None], count: int | None = None
    ) -> Iterator[Array]:
        none = needs.Patch((slice(0), ...), 0)  # nothing changes
        return self._ask_head((none if c is None else needs.Patch(c, 0) for c in channels), count)

    def _ask_places(
        self, weights: Iterable[Array], count: int | None = None, *, likely: bool = False
    ) -> Iterator[Array]:
        return self._ask_head(map(Weighted, weights), count, likely=likely)

    def explained(self, run: Callable[..., list[Array]], *, likely: bool = False) -> Array:
        """Return what is explained of each input of a batch, [N, K], or how ``likely`` classes are.

        Args:
            run: ``run(outputs, feeds)`` -> the outputs.
            likely: Whether scores are wanted as probabilities; other targets are what they are.
        """
        output = self._engine.output
        if output != names.SCORE:
            return np.stack([run([output], more)[0].reshape(-1) for more in self._told], 1)
        scores = run([output])[0]
        if likely:
            return probable(scores, self.classes, self._engine.catalog.reduction)
        return np.asarray(scores[:, self.classes])

    def _ask_gradients(
        self, output: str, inputs: Iterable[Array], count: int | None = None, *,
        against: bool = False,
    ) -> Iterator[Array]:  # fmt: skip
        """Yield gradients of inputs; ``against`` them those of this input, as multipliers."""
        self.steepest[:] = 0
        for batch in self._batches(inputs, count, self._room(backward=True)):
            found, (given, beside) = [], self._engine.given(batch, self._tensor, against=against)
            for told in self._told:
                slopes = self.run(given, [output], {**told, **beside})[0]
                ordered = output != names.GRADIENT
                found.append(slopes if ordered else self._order.channels_first(slopes))
            slopes = np.stack(found, 1) if len(found) > 1 else found[0][:, None]
            self.seen(slopes)
            yield from slopes

    def seen(self, slopes: Array) -> None:
        """Remember how steep gradients [N, K, ...] are."""
        flat = slopes.reshape(*slopes.shape[:2], -1)
        self.steepest = np.maximum.reduce([self.steepest, flat.max((0, 2)), -flat.min((0, 2))])

    def _straight(self, starts: Sequence[Array]) -> Straight | Behind:
        if self._engine.halves is None:
            ask = partial(self._ask_gradients, names.GRADIENT)
            return Straight(self.value(needs.Input), starts, ask, self._ask_scores)
        self.steepest[:] = 0
        own = {self._engine.catalog.input: self._tensor, **self._others, **self._found}
        inputs = [self._as_model(start[None]) for start in starts]
        return Behind(self._engine.halves, self, own, inputs, self._told)

    def _ask_maps(self, inputs: Iterable[Array], count: int | None = None) -> Iterator[Array]:
        for maps in self._ask_gradients(names.MAPS, inputs, count):
            self.steepest[:] = 1  # a map says nothing of the gradient
            yield maps

    def _ask_layers(
        self, shown: str, inputs: Iterable[Array], count: int | None = None, *,
        against: bool = False,
    ) -> Iterator[Array]:  # fmt: skip
        """Yield a layer and its gradients, or its multipliers; see :meth:`_ask_gradients`."""
        for batch in self._batches(inputs, count, self._room(backward=True)):
            asked = [shown, names.SLOPES]
            given, beside = self._engine.given(batch, self._tensor, against=against)
            told = [{**each, **beside} for each in self._told]
            yield from np.stack([np.stack(self.run(given, asked, t), 1) for t in told], 1)

    def _ask_features(self, inputs: Iterable[Array], count: int | None = None) -> Iterator[Array]:
        for batch in self._batches(inputs, count):
            yield from self.run(batch, [names.FEATURE])[0]

    def _alike(self) -> Alike:
        finder, whole = self._engine.finder, {self._engine.catalog.input: self._tensor}
        return Alike(finder, {**whole, **self._others}, self.classes, self._engine.of_class)

    def _ask_alike(
        self, alike: Alike, inputs: Iterable[Array], count: int | None = None
    ) -> Iterator[Array]:
        name = self._engine.catalog.input
        for batch in self._batches(inputs, count):
            yield from alike.each(name, batch, self._engine.batch, self._others)

    def _behind(
        self, chunk: Sequence[Any], outputs: list[str], more: Mapping[str, Array] | None = None
    ) -> list[Array]:
        tail = self._engine.tail
        given = {n: a for n, a in (more or {}).items() if tail is not None and n in tail.inputs}
        told = of_rows(given, self._head.fed(chunk))
        (found,) = [self._head.run(chunk, output, told) for output in outputs]
        self._check(found, self._head.fed(chunk))
        return [found[: len(chunk)]]

    @cached_property
    def _head(self) -> Head:
        return made(self._engine, self._tensor, self._found, self._others, self._batch)

    @property
    def _batch(self) -> int:
        """The most inputs in one run: what else is fed is that of one, where the batch is free."""
        engine = self._engine
        return 1 if self._others and not engine.batch.is_fixed else engine.most

    def _room(self, *, backward: bool = False) -> int:
        return self._engine.room(self._batch, self._tensor.nbytes, backward=backward)

    def limited(
        self, items: Iterable[Any], count: int | None = None, size: int = 1
    ) -> Iterator[list[Any]]:
        """Yield lists of items, as far as the limit goes; tell after each that it was run."""
        for chunk in chunks(items, size):
            room = self._limit.room(self.done, len(chunk)) if self.done else len(chunk)
            if not room:
                return
            yield chunk[:room]
            self.done += room
            self._step(room, count)

    def _batches(
        self, inputs: Iterable[Array], count: int | None, most: int | None = None
    ) -> Iterator[Array]:
        """Yield inputs [C, *space] as batches in the model's axes and dtype, each in the last's."""
        stack = Stack()
        for chunk in self.limited(inputs, count, most or self._room()):
            yield self._as_model(stack.of(chunk))

    def _as_model(self, inputs: Array) -> Array:
        """Return inputs [N, C, *space] in the model's axes and dtype."""
        return rounded(self._order.as_model(inputs), self._engine.kind)

    def run(
        self, batch: Array, outputs: list[str], more: Mapping[str, Array] | None = None
    ) -> list[Array]:
        """Return outputs of the whole model, of inputs in its axes and what else is told."""
        whole = self._engine.batch
        full = whole.filled(batch)
        told = of_rows(more or {}, full.shape[whole.axis])
        against = {names.BASELINE: full} if self._engine.against else {}
        feeds = {self._engine.catalog.input: full, **self._others, **against, **told}
        found = self._engine.whole.run(feeds, outputs)
        count = batch.shape[whole.axis]
        for i, (name, values) in enumerate(zip(outputs, found, strict=True)):
            if name == names.GRADIENT:  # which is in the axes of the input
                found[i] = values.take(range(count), whole.axis) if whole.is_fixed else values
            elif name.startswith(names.PREFIX):
                self._check(values, full.shape[whole.axis])
                found[i] = values[:count]
        return found

    def _check(self, values: Array, inputs: int) -> None:
        checked_rows(len(values), inputs, self._engine.catalog.reduction)
