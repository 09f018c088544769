"""One input, and what a model answers to others like it: in batches, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from typing import Any, TypeAlias

import numpy as np

from onnxcam import names
from onnxcam.analysis.layers import Catalog
from onnxcam.analysis.layout import Layout
from onnxcam.errors import InputError, UsageError
from onnxcam.methods import needs
from onnxcam.model.tail import Tail
from onnxcam.run.groups import Batch
from onnxcam.run.scores import checked_rows, probability
from onnxcam.run.session import Session
from onnxcam.targets import resolve_target

Array: TypeAlias = np.ndarray[Any, Any]
_ORDER = "NCDHW"


class Order:
    """The way from the axes of a model to [N, C, *space] and back.

    Args:
        axes: A letter for each axis of the model's tensor, as of a :class:`Layout`.

    Raises:
        UsageError: They are not a batch, at most one axis of channels, and space.
    """

    def __init__(self, axes: str) -> None:
        if "N" not in axes or not set(axes) - set("NC") or not set(axes) <= set(_ORDER):
            raise UsageError(
                f"the axes of the model's input ({axes}) are not batch, channels and space",
                "use saliency or input-x-gradient, which need no space",
            )
        self.axes = axes
        self._letters = axes if "C" in axes else f"{axes}C"

    def channels_first(self, tensor: Array) -> Array:
        """Return the model's tensor as [N, C, *space]."""
        full = tensor if "C" in self.axes else tensor[..., None]
        return full.transpose([self._letters.index(c) for c in _ORDER if c in self._letters])

    def as_model(self, values: Array) -> Array:
        """Return [N, C, *space] in the axes of the model."""
        ordered = [c for c in _ORDER if c in self._letters]
        turned = values.transpose([ordered.index(c) for c in self._letters])
        return turned if "C" in self.axes else turned[..., 0]


@dataclass(frozen=True, eq=False)
class Engine:
    """The sessions that answer, made once for a model.

    Attributes:
        whole: Runs the model, see :class:`onnxcam.compose.parts.Parts`.
        head: Runs the part behind the feature layer; None where it is not needed.
        tail: That part.
        catalog: The model's layers.
        feature: Name of the feature layer.
        layout: The meaning of its axes.
        kind: dtype of the input.
        most: The most inputs in one run.
        batch: The batch that the model takes.
    """

    whole: Session
    head: Session | None
    tail: Tail | None
    catalog: Catalog
    feature: str
    layout: Layout | None
    kind: np.dtype[Any]
    most: int
    batch: Batch


class Probe:
    """One input, and the answers of a model to others like it.

    Args:
        engine: What answers.
        tensor: The input in the model's axes, with a batch of 1.
        others: What is fed to the model's other inputs.
        targets: Class indices; -1 is the top class of this input.
        rng: Where random numbers come from.
        step: Called with the number of inputs that were run, after each batch.

    Attributes:
        classes: The class of each target.
        steepest: Largest absolute gradient so far, float [K].

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
        step: Callable[[int], None],
    ) -> None:
        self._engine, self._others, self._step, self._rng = engine, dict(others), step, rng
        self._tensor = tensor
        scores, classes = self._whole(tensor, [names.SCORE, names.CLASS])
        self.scores, top = scores[0], int(classes[0, 0])
        wanted = [resolve_target(target, len(self.scores), None) for target in targets]
        self.classes = [top if target < 0 else target for target in wanted]
        self.steepest = np.ones(len(targets))

    @cached_property
    def _order(self) -> Order:
        layout = self._engine.catalog.input_layout
        return Order("unknown" if layout is None else layout.axes)

    def value(self, need: needs.Need) -> Any:
        """Return what a method needs, see :mod:`onnxcam.methods.needs`."""
        values: dict[needs.Need, Callable[[], Any]] = {
            needs.Input: lambda: self._order.channels_first(self._tensor)[0].astype(np.float32),
            needs.Activation: lambda: self._features[0],
            needs.Layer: lambda: self._channels(self._state[self._engine.feature])[0],
            needs.Random: lambda: self._rng,
            needs.Score: lambda: self._ask_scores,
            needs.Probability: lambda: self._ask_probabilities,
            needs.InputGradient: lambda: partial(self._ask_gradients, names.GRADIENT),
            needs.FeatureGradient: lambda: partial(self._ask_gradients, names.SLOPES),
            needs.HeadScore: lambda: self._ask_head,
        }
        return values[need]()

    def background(self, values: Array) -> Array:
        """Return inputs in the model's axes, several in the batch, as [n, C, *space]."""
        return self._order.channels_first(values).astype(np.float32)

    def _ask_scores(self, inputs: Iterable[Array]) -> Iterator[Array]:
        for batch in self._batches(inputs):
            yield from self._whole(batch, [names.SCORE])[0][:, self.classes]

    def _ask_probabilities(self, inputs: Iterable[Array]) -> Iterator[Array]:
        reduction = self._engine.catalog.reduction
        for batch in self._batches(inputs):
            for scores in self._whole(batch, [names.SCORE])[0]:
                if not np.isfinite(scores).all():
                    raise InputError("the scores are not finite", "look at the input's scaling")
                found = [probability(scores, k, reduction) for k in self.classes]
                if None in found:
                    raise UsageError(
                        f"the scores {reduction.name!r} are no logits or probabilities of classes",
                        "explain the scores themselves: score='score'",
                    )
                yield np.array(found, np.float64)

    def _ask_gradients(self, output: str, inputs: Iterable[Array]) -> Iterator[Array]:
        self.steepest[:] = 0
        for batch in self._batches(inputs):
            found = []
            for target in self.classes:
                more = {names.TARGET: np.array([target])}
                slopes = self._whole(batch, [output], more)[0]
                at_input = output == names.GRADIENT  # else they are in order
                found.append(self._order.channels_first(slopes) if at_input else slopes)
            slopes = np.stack(found, 1)
            largest = np.abs(slopes).reshape(*slopes.shape[:2], -1).max((0, 2))
            self.steepest = np.maximum(self.steepest, largest)
            yield from slopes

    def _ask_head(self, layers: Iterable[Array]) -> Iterator[Array]:
        engine, state = self._engine, self._state
        assert engine.head is not None and engine.tail is not None
        whole = state[engine.feature]
        feeds = {name: state[name] for name in engine.tail.inputs}
        for chunk in _chunks(layers, self._batch):
            full = [*chunk, *(chunk[-1:] * (self._batch - len(chunk)))]
            fed = np.moveaxis(np.stack(full), 1, self._channel).astype(whole.dtype)
            (scores,) = engine.head.run({engine.feature: fed, **feeds}, [names.SCORE])
            self._check(scores, self._batch)
            self._step(len(chunk))
            yield from scores[: len(chunk), self.classes]

    @cached_property
    def _state(self) -> dict[str, Array]:
        """All that the head uses, for a full batch of the input as it is.

        A batch of it, for what the head uses may hold the batch's size.
        """
        engine = self._engine
        assert engine.tail is not None
        batch = np.repeat(self._tensor, self._batch, engine.batch.axis)
        feeds = {engine.catalog.input: batch, **self._others}
        wanted = list(dict.fromkeys([engine.feature, *engine.tail.inputs]))
        found = [name for name in wanted if name not in feeds]
        values = dict(zip(found, engine.whole.run(feeds, found), strict=True))
        return {name: feeds[name] if name in feeds else values[name] for name in wanted}

    @cached_property
    def _features(self) -> Array:
        return self._whole(self._tensor, [names.FEATURE])[0]

    @property
    def _channel(self) -> int:
        layout = self._engine.layout
        assert layout is not None and layout.channel is not None, "parts() has seen to it"
        return layout.channel

    def _channels(self, tensor: Array) -> Array:
        return np.moveaxis(tensor, self._channel, 1)

    @property
    def _batch(self) -> int:
        """The most inputs in one run: what else is fed is that of one, where the batch is free."""
        engine = self._engine
        return 1 if self._others and not engine.batch.is_fixed else engine.most

    def _batches(self, inputs: Iterable[Array]) -> Iterator[Array]:
        """Yield inputs [C, *space] as batches in the model's axes and dtype."""
        kind = self._engine.kind
        for chunk in _chunks(inputs, self._batch):
            values = self._order.as_model(np.stack(chunk))
            if kind.kind in "iu":
                limits = np.iinfo(kind)
                values = np.clip(np.rint(values), limits.min, limits.max)
            yield values.astype(kind)
            self._step(len(chunk))

    def _whole(
        self, batch: Array, outputs: list[str], more: Mapping[str, Array] | None = None
    ) -> list[Array]:
        whole = self._engine.batch
        full = whole.filled(batch)
        feeds = {self._engine.catalog.input: full, **self._others, **(more or {})}
        found = self._engine.whole.run(feeds, outputs)
        count = batch.shape[whole.axis]
        for i, (name, values) in enumerate(zip(outputs, found, strict=True)):
            if name == names.GRADIENT:  # which is in the axes of the input
                found[i] = values.take(range(count), whole.axis) if whole.is_fixed else values
            else:
                self._check(values, full.shape[whole.axis])
                found[i] = values[:count]
        return found

    def _check(self, values: Array, inputs: int) -> None:
        checked_rows(len(values), inputs, self._engine.catalog.reduction)


def _chunks(items: Iterable[Array], size: int) -> Iterator[list[Array]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def one_input(tensor: Array, layout: Layout | None) -> Array:
    """Return a prepared tensor, which must hold one input.

    Raises:
        InputError: It holds several.
    """
    axis = 0 if layout is None or layout.batch is None else layout.batch
    count = tensor.shape[axis]
    if count != 1:
        raise InputError(
            f"the array holds {count} inputs, and one is explained at a time",
            "give a list of arrays with a batch of 1",
        )
    return tensor
