"""What a model answers to inputs as they are: for metrics, and for whoever wants to compare."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from onnxcam.analysis.layers import Catalog
from onnxcam.compose.plan import Plan
from onnxcam.compose.slopes import Slopes
from onnxcam.compose.wishes import Wishes
from onnxcam.errors import OnnxcamError, UsageError
from onnxcam.methods import find
from onnxcam.model.draft import Draft
from onnxcam.model.model import Model
from onnxcam.names import SCORE
from onnxcam.output.explanation import Explanation
from onnxcam.run.engine import Engine
from onnxcam.run.groups import batch_of
from onnxcam.run.hardware import Provider
from onnxcam.run.scores import checked_rows, probabilities
from onnxcam.run.session import Device, Session
from onnxcam.targets import Score

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Predictor:
    """Inputs -> probabilities of the classes, or scores where these are no probabilities.

    Attributes:
        model: The model.
        catalog: Its layers.
        device: Where to run.
        threads: Threads of ONNX Runtime; None lets it decide.
        batch_size: The most inputs in one run, where the model's batch is dynamic.
        others: What is fed to the model's other inputs.
    """

    model: Model
    catalog: Catalog
    device: Device = "auto"
    threads: int | None = None
    batch_size: int = 8
    others: Mapping[str, Array] | None = None

    @cached_property
    def _session(self) -> Session:
        draft = Draft(self.model)
        scores = Slopes(draft, Plan(self.catalog, ())).score
        draft.output(draft.op.cast(scores, np.float32), SCORE)
        return Session(draft.finish(), device=self.device, threads=self.threads)

    def __call__(self, inputs: Array) -> Array:
        """Return probabilities, or scores, float64 [N, C].

        Args:
            inputs: Prepared inputs [N, ...]: an explanation's ``tensor``, stacked.

        Raises:
            InputError: ONNX Runtime fails on them.
            ModelError: The rows of the scores are not the inputs.
        """
        batch, reduction = batch_of(self.model, self.catalog), self.catalog.reduction
        step = self.batch_size if batch.size is None else batch.size
        stacked = np.moveaxis(np.asarray(inputs), 0, batch.axis)
        parts = []
        for first in range(0, len(inputs), step):
            part = stacked.take(range(first, min(first + step, len(inputs))), batch.axis)
            feeds = {self.catalog.input: batch.filled(part), **(self.others or {})}
            (scores,) = self._session.run(feeds, [SCORE])
            checked_rows(len(scores), batch.filled(part).shape[batch.axis], reduction)
            parts.append(scores[: part.shape[batch.axis]])
        scores = np.concatenate(parts).astype(np.float64)
        found = probabilities(scores, reduction)
        return scores if found is None else found


class Predicts:
    """What an explainer answers beside explanations."""

    model: Model
    catalog: Catalog
    batch_size: int
    _engine: Engine
    _named: bool
    _stream: Callable[..., Iterator[tuple[Any, Any]]]

    @property
    def gradient(self) -> str:
        """How true the gradient is: "exact", or "straight-through (operators)"."""
        return self._engine.of(Score())[0].gradient

    @property
    def provider(self) -> Provider:
        """Where it runs and why."""
        return self._engine.of(Score())[0].provider

    def of(self, method: str | None) -> Any:
        """Return an explainer of another method at the layer of this one; it is made once.

        Args:
            method: Its name; None returns this one.
        """
        if method is None:
            return self
        others = self.__dict__.setdefault("_others", {})
        if method not in others:
            wishes, taken = self._engine.wishes, find(method).takes_feature
            layer, fuse = (wishes.feature_layer, wishes.fuse) if taken else (None, None)
            others[method] = self._other(Wishes(method, layer, None, fuse), named=self._named)
        return others[method]

    def scores(self, x: Any, *, extra_inputs: Mapping[str, Any] | None = None) -> Array:
        """Return the scores of an input, float [C]: of a model of embeddings its embedding.

        Raises:
            OnnxcamError: The input cannot be used.
        """
        ((_, result),) = self._stream([x], None, extra_inputs)
        if isinstance(result, OnnxcamError):
            raise result
        if isinstance(result, list):
            raise UsageError(f"the array holds {len(result)} inputs", "give one of them")
        found = result if isinstance(result, Explanation) else next(iter(result.values()))
        scores: Array = found.scores
        return scores

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the model, its maps, its layers."""
        from onnxcam.output import html  # late: only notebooks ask

        return html.of_explainer(self)

    def by(self, methods: Sequence[str], parameters: Mapping[str, Any] | None = None) -> Any:
        """Return an explainer of other methods at their default layers; all else is shared.

        Args:
            methods: Their names.
            parameters: Values for their parameters, by name; the others have their defaults.
        """
        return self._other(Wishes(list(methods), None, parameters), named=True)

    def _other(self, wishes: Wishes, *, named: bool) -> Any:
        other: Any = copy(self)
        other.__dict__.pop("_others", None)
        other._take(replace(self._engine, wishes=wishes, _made={}))
        other._named = named
        return other

    def _take(self, engine: Engine) -> None:
        """Explain with an engine, by its maps."""
        self._engine, self._named = engine, engine.wishes.several
        self.maps, self.maps_of = engine.shown, engine.maps_of
        self.method, self.feature = self.maps[0].method, self.maps[0].feature

    @cached_property
    def predict(self) -> Predictor:
        """Prepared inputs [N, ...] -> probabilities, or scores, of the classes [N, C]."""
        engine = self._engine
        return Predictor(self.model, self.catalog, engine.device, engine.threads, self.batch_size)
