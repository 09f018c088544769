"""Another input, which stands for nothing: what a model computes of it, and DeepLIFT against it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from onnxcam.autodiff.engine import vjp
from onnxcam.autodiff.replay import Replay
from onnxcam.compose.places import Place, place_of
from onnxcam.compose.plan import input_layer
from onnxcam.compose.regions import fixed
from onnxcam.compose.slopes import Slopes
from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.needs import LayerOf, Multipliers, MultipliersAtLayer, Need
from onnxcam.methods.terms import Axes
from onnxcam.model.draft import Draft

Change: TypeAlias = Callable[[Emitter, Tensor, Axes], Tensor]
Other: TypeAlias = "float | Change"  # the value of every number of the input, or what is made of it


class References:
    """What graph methods are made of that explain a difference from another input.

    Args:
        draft: The model.
        slopes: Its scores and gradients.
    """

    def __init__(self, draft: Draft, slopes: Slopes) -> None:
        self._draft, self._slopes = draft, slopes
        self._known: dict[Other, Replay] = {}

    def value(self, need: Need, index: Tensor, place: Place) -> Callable[..., Any] | None:
        """Return what a method is made of; None where it is nothing of this kind.

        Args:
            need: What it needs.
            index: The class of each input, int64 [N].
            place: The feature layer or the input.
        """
        if need == Multipliers:
            return partial(self._against, index, place)
        if need == MultipliersAtLayer:
            return partial(self._at_layer, index, place)
        return partial(self._layer_of, place) if need == LayerOf else None

    def _layer_of(self, place: Place, op: Emitter, other: Other) -> Tensor:
        return place.patches(op, self._of(op, other).twin(op, place.tensor))

    def _at_layer(self, index: Tensor, place: Place, op: Emitter, other: Other) -> Tensor:
        return self._ordered(op, index, self._of(op, other), place)

    def _against(self, index: Tensor, place: Place, op: Emitter, other: Tensor) -> Tensor:
        given = op.typed(place.unpatched(op, other), place.source)
        return self._ordered(op, index, Replay([(place.source, given)]), place)

    def _ordered(self, op: Emitter, index: Tensor, other: Replay, place: Place) -> Tensor:
        found = multipliers(self._slopes, op, index, other, place.source)
        return place.patches(op, place.gradient(op, found))

    def _of(self, op: Emitter, other: Other) -> Replay:
        """Return what the model computes of another input: written once, for all who ask."""
        if other not in self._known:
            self._known[other] = self._changed(op, other) if callable(other) else self._same(other)
        return self._known[other]

    def _changed(self, op: Emitter, change: Change) -> Replay:
        given = place_of(self._draft, input_layer(self._slopes.plan.catalog))
        x = change(op, given.patches(op, given.tensor), given.axes)
        return Replay([(given.source, op.typed(given.unpatched(op, x), given.source))])

    def _same(self, value: float) -> Replay:
        op, slopes = self._slopes.op, self._slopes
        x = self._draft.tensor(slopes.plan.catalog.input)
        given = op.Add(op.zeros_like(x), op.cast(op.const(np.float32(value)), x))
        replay = Replay([(x, op.typed(given, x))])
        replay.twin(op, slopes.outputs.tensor)
        return replay


def multipliers(slopes: Slopes, op: Emitter, index: Tensor, other: Replay, wrt: Tensor) -> Tensor:
    """Return DeepLIFT's multipliers of a tensor.

    Args:
        slopes: The scores of the model.
        op: Emitter of the graph or of a subgraph.
        index: The class of each input, int64 [N].
        other: Knows what stands for nothing, in the place of the input.
        wrt: The tensor.

    Raises:
        UsageError: The score does not depend on the tensor.
        UnsupportedOp: DeepLIFT has no rule for something between the two.
    """
    from onnxcam.methods.lrp.differences import Differences  # late: few methods need it

    rules = Differences(replay=other).overrides()
    own = rules if slopes.plan.detector is None else fixed(rules)
    pairs = slopes.plan.target.cotangents(op, slopes.outputs, index)
    (found,) = vjp(op, pairs, [wrt], overrides=own)
    return slopes.dependent(found, wrt)
