"""The inputs of a call, one after another or together, and what comes of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias, TypeVar

import numpy as np

from onnxcam.errors import OnnxcamError
from onnxcam.inputs import Description, Prepared
from onnxcam.inputs.tensor import as_given, is_picture
from onnxcam.output.explanation import Explanation
from onnxcam.run.asking import Asking, Pairs
from onnxcam.run.engine import Engine
from onnxcam.run.feeds import Feeds
from onnxcam.run.groups import batch_of, in_groups, joined
from onnxcam.run.refusal import answering

Array: TypeAlias = np.ndarray[Any, Any]
Named: TypeAlias = dict[str, Explanation]
X = TypeVar("X")


@dataclass(frozen=True)
class Answers:
    """Explains the inputs of one call.

    Attributes:
        engine: What explains.
        description: How an input becomes a tensor.
        feeds: What is fed beside it.
        labels: Returns the names of the classes.
        asked: The targets.
        single: Whether the call gives one input, which may hold several.
        extra: Arrays for other inputs of the model, by name.
    """

    engine: Engine
    description: Description
    feeds: Feeds
    labels: Callable[[], tuple[str, ...] | None]
    asked: Asking
    single: bool
    extra: Mapping[str, Array]

    def of(self, inputs: Iterable[X]) -> Iterator[tuple[X, Any]]:
        """Yield each input with its maps by their names, in lists as the call has them.

        What could not be explained comes with its :class:`OnnxcamError`.
        """
        limit = self._most if self.engine.together else 1
        total = len(inputs) if isinstance(inputs, Sized) else None
        self.asked.check(None if self.single else total)
        numbered = enumerate(inputs)
        while waiting := list(islice(numbered, limit)):
            parts = [self.feeds.each(self._prepared(x), self.extra, i, total) for i, x in waiting]
            wanted = [
                pairs
                for (i, _), part in zip(waiting, parts, strict=True)
                for pairs in self.asked.of(i, len(part), single=self.single)
            ]
            found = self._explained(parts, wanted)
            yield from zip((x for _, x in waiting), found, strict=True)

    def mapped(self, found: Any, function: Callable[[Named], Any]) -> Any:
        """Return results, each changed by a function; errors as they are."""
        if isinstance(found, list):
            return [self.mapped(each, function) for each in found]
        return found if isinstance(found, OnnxcamError) else function(found)

    @property
    def _most(self) -> int:
        """The most inputs in one run; one where no axis of the scores surely counts them."""
        engine = self.engine
        fixed, scores = batch_of(engine.model, engine.catalog).size, engine.catalog.reduction
        counted = scores.sure and scores.batch_axis is not None
        return fixed or (engine.batch_size if counted else 1)

    def _prepared(self, x: Any) -> Prepared | OnnxcamError:
        try:
            given = as_given(x)
            pictured = is_picture(given, self.description.declared)
        except OnnxcamError as error:
            return error
        # A missing description is no fault of this input: it stops the whole call.
        if pictured:
            self.description.spec  # noqa: B018
        try:
            return self.description.prepare(given)
        except OnnxcamError as error:
            return error

    def _explained(
        self, parts: Sequence[Sequence[Prepared | OnnxcamError]], targets: Sequence[Pairs]
    ) -> Iterable[Any]:
        each = [p for part in parts for p in part]
        wanted = {id(p): pairs for p, pairs in zip(each, targets, strict=True)}

        def run(batch: Sequence[Prepared]) -> list[Any]:
            with answering("the model cannot be explained", self.engine.model):
                rows = self.engine.run(batch, [wanted[id(p)] for p in batch], self.labels())
            return rows if self.asked.listed else [row[0] for row in rows]

        found = in_groups(each, run, self._most, self.feeds.alike)
        return joined(found, [len(part) for part in parts])
