"""Gradients on straight ways to an input: of the whole model, or of what lies behind its start."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeAlias

import numpy as np

from onnxcam.compose.affine import Halves
from onnxcam.methods.needs import Ask
from onnxcam.names import COTANGENT, GRADIENT, SCORE, SLOPES
from onnxcam.run.session import Session

Array: TypeAlias = np.ndarray[Any, Any]
Told: TypeAlias = Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Straight:
    """The straight ways from some inputs to the explained one, by gradients of the whole model.

    See :class:`onnxcam.methods.needs.Ways`.

    Attributes:
        x: The input, [C, *space].
        starts: The others.
        ask: Answers with gradients.
        scores: Answers with scores.
    """

    x: Array
    starts: Sequence[Array]
    ask: Ask
    scores: Ask

    def gradients(self, points: Iterable[tuple[int, float]]) -> Iterator[Array]:
        """Yield gradients at points of the ways."""
        return self.ask(np.float32(t) * self._ways[k] + self.starts[k] for k, t in points)

    def at_input(self, slopes: Array) -> Array:
        """Return them as they are."""
        return slopes

    def score(self, start: int) -> Array | None:
        """Return the score of a start; None where the runs have ended."""
        found = list(self.scores([self.starts[start]]))
        return found[0] if found else None

    @cached_property
    def _ways(self) -> list[Array]:
        return [self.x - start for start in self.starts]


@dataclass(frozen=True, eq=False)
class Sessions:
    """A model in two halves, in ONNX Runtime.

    Attributes:
        halves: What they are.
        before: Runs the first one, back.
        behind: Runs the other one.
    """

    halves: Halves
    before: Session
    behind: Session


class Asked(Protocol):
    """What answers for the whole model, see :class:`onnxcam.run.probe.Probe`."""

    def run(self, inputs: Array, outputs: list[str], told: Told | None = None) -> list[Array]:
        """Return outputs of the model."""

    def explained(self, run: Callable[..., list[Array]]) -> Array:
        """Return what is explained, [N, K], of what ``run(outputs, told)`` returns."""

    def limited(self, items: Iterable[Any]) -> Iterator[list[Any]]:
        """Yield lists of one, as far as the runs go."""

    def seen(self, slopes: Array) -> None:
        """Hear of gradients [N, K, ...]."""

    def channels_first(self, slopes: Array) -> Array:
        """Return gradients at the input as float32 [N, C, *space]."""


@dataclass(frozen=True, eq=False)
class Behind:
    """The same, where only what lies behind the model's first stretch is run for each gradient.

    What the starts run with is not counted: it is not behind.

    Attributes:
        sessions: What runs.
        model: What answers for all of the model.
        own: Of the explained input: where the stretch ends, and what else the halves take.
        starts: The other inputs, each with a batch of 1 in the model's axes.
        told: What says each target.
    """

    sessions: Sessions
    model: Asked
    own: Told
    starts: Sequence[Array]
    told: Sequence[Told]

    @cached_property
    def _found(self) -> list[Told]:
        """What a run of each start has found."""
        asked = [self.sessions.halves.at, SCORE]
        return [dict(zip(asked, self.model.run(x, asked), strict=True)) for x in self.starts]

    def gradients(self, points: Iterable[tuple[int, float]]) -> Iterator[Array]:
        """Yield gradients at points of the ways."""
        end = self.own[self.sessions.halves.at]
        starts = [found[self.sessions.halves.at] for found in self._found]
        ways, at = [end - start for start in starts], np.empty_like(end)
        for ((k, t),) in self.model.limited(points):
            np.multiply(ways[k], end.dtype.type(t), out=at)
            np.add(at, starts[k], out=at)
            found = [self._behind(at, told) for told in self.told]
            yield np.stack(found) if len(found) > 1 else found[0][None]

    def _behind(self, at: Array, told: Told) -> Array:
        halves, known = self.sessions.halves, {**self.own, **told}
        feeds = {name: known[name] for name in halves.behind.inputs}
        return self.sessions.behind.run({**feeds, halves.at: at}, [SLOPES])[0]

    def at_input(self, slopes: Array) -> Array:
        """Return weighted sums of gradients as such at the input: once through the stretch."""
        halves = self.sessions.halves
        rest = {name: self.own[name] for name in halves.before.inputs}
        kind = self.own[halves.at].dtype
        feeds = [{**rest, COTANGENT: each.astype(kind)} for each in slopes]
        back = [self.sessions.before.run(feed, [GRADIENT])[0] for feed in feeds]
        found = np.concatenate([self.model.channels_first(each) for each in back])
        self.model.seen(found[None])
        return found

    def score(self, start: int) -> Array | None:
        """Return the score of a start; None where the runs have ended."""

        def run(outputs: list[str], told: Told | None = None) -> list[Array]:
            known = self._found[start]
            if all(name in known for name in outputs):
                return [known[name] for name in outputs]
            return self.model.run(self.starts[start], outputs, told)

        found = [self.model.explained(run)[0] for _ in self.model.limited([start])]
        return found[0] if found else None
