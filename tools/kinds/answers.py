"""What torch answers to a method that runs a network many times, in the place of a file.

A method is a function of what it needs (:mod:`onnxcam.methods.needs`). Run on these answers it
gives the map that it has on torch's own network: what is held against it is everything between,
layers, layouts, targets, batches and gradients. The function itself has tests of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own habit

from kinds.kind import Kind, Outputs
from kinds.rules import Differences
from onnxcam.methods import SampledMethod, needs
from onnxcam.methods.needs import Patch
from onnxcam.run.straight import Straight

Array = np.ndarray[Any, Any]
Value = Callable[[Outputs], Tensor]
_ORDER = "NCDHW"


def iou(boxes: Tensor, box: Tensor) -> Tensor:
    """Return the intersection over union of boxes [A, 4] with one."""
    low, high = torch.maximum(boxes[:, :2], box[:2]), torch.minimum(boxes[:, 2:], box[2:])
    inside = (high - low).clamp(min=0).prod(1)
    size = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (box[2:] - box[:2]).prod()
    return inside / (size - inside)


class Run:
    """A network with a layer that is looked at, or replaced.

    Args:
        kind: The network.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        for parameter in kind.module.parameters():
            parameter.requires_grad_(False)  # what comes from weights alone does not move

    def __call__(
        self, x: Tensor, value: Value, layer: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the value of an input, and its feature layer; with another one where it is given.

        Args:
            x: The explained input.
            value: Makes a number of the outputs, float [1].
            layer: Put in the feature layer's place.
        """
        kind, held = self.kind, [] if layer is None else [layer]
        given = {**kind.inputs, kind.explained: x}
        if kind.feature == "input":
            given[kind.explained] = held[0] if held else x
            return value(kind.run(*given.values())), given[kind.explained]
        if not kind.feature:
            return value(kind.run(*given.values())), None

        def hook(module: Any, inputs: Any, output: Any) -> Any:
            if layer is None:
                held.append(output)
            return layer

        handle = kind.module.get_submodule(kind.feature).register_forward_hook(hook)
        try:
            return value(kind.run(*given.values())), held[0]
        finally:
            handle.remove()


class Answers:
    """What a method gets, from torch.

    Args:
        kind: The network.
        value: What is explained, as a number of the outputs, float [1].
        row: Which box of the explained input that is about; None where it is none.
    """

    def __init__(self, kind: Kind, value: Value, row: int | None = None) -> None:
        self.kind, self._value, self._run, self._row = kind, value, Run(kind), row
        self._x = kind.inputs[kind.explained]

    def map(self, method: SampledMethod, settings: dict[str, Any]) -> Array | None:
        """Return the map of a method, [*space]; None where it needs what torch is not asked here.

        Args:
            method: The method.
            settings: A value for each of its parameters.
        """
        if needs.Similarity in method.needs and (self.kind.boxes is None or self._row is None):
            return None
        given = [self._need(need) for need in method.needs]
        named = signature(method.estimate).parameters  # the rest is not the function's own
        own = {name: value for name, value in settings.items() if name in named}
        found: Array = method.estimate(*given, **own).signed[0]
        return found

    def _need(self, need: needs.Need) -> Any:
        values: dict[needs.Need, Callable[[], Any]] = {
            needs.Input: lambda: self.in_order(self._x),
            needs.Activation: lambda: self._grid(self._layer),
            needs.Layer: lambda: self._channels(self._layer),
            needs.Places: self._places,
            needs.Random: lambda: np.random.default_rng(0),
            needs.Background: lambda: None,
            needs.Similarity: lambda: self._alike,
            needs.OwnScore: lambda: next(self._scores([self.in_order(self._x)])),
            needs.Score: lambda: self._scores,
            needs.Probability: lambda: self._scores,
            needs.InputGradient: lambda: self._input_gradients,
            needs.Straight: lambda: self._straight,
            needs.Multipliers: lambda: self._multipliers,
            needs.FeatureGradient: lambda: self._feature_gradients,
            needs.HeadScore: lambda: self._heads,
            needs.HeadProbability: lambda: self._heads,
            needs.ChannelScore: lambda: self._without,
            needs.PlaceScore: lambda: self._weighted,
            needs.PlaceProbability: lambda: self._weighted,
            needs.FeatureAndGradient: lambda: self._features,
            needs.MultipliersAtLayer: lambda: self._multipliers_at_layer,
            needs.LayerOf: lambda: self._layers,
        }
        return values[need]()

    def in_order(self, tensor: Tensor) -> Array:
        """Return a tensor of the input's axes as [C, *space]."""
        letters, tensor = self.kind.letters, tensor.detach()
        if "N" not in letters:  # of one input
            letters, tensor = f"N{letters}", tensor[None]
        full = tensor if "C" in letters else tensor[..., None]
        letters = letters if "C" in letters else f"{letters}C"
        order = [letters.index(c) for c in _ORDER if c in letters]
        return full.permute(order)[0].float().numpy()

    def _back(self, values: Array) -> Tensor:
        letters = self.kind.letters
        full = letters if "C" in letters else f"{letters}C"
        ordered = [c for c in _ORDER if c in full]
        found = torch.from_numpy(np.ascontiguousarray(values))[None]
        found = found.permute([ordered.index(c) for c in full])
        found = found if "C" in letters else found[..., 0]
        return found.round().to(self._x.dtype) if not self._x.is_floating_point() else found.float()

    @cached_property
    def _layer(self) -> Tensor:
        with torch.no_grad():
            found = self._run(self._x, self._value)[1]
        assert found is not None, "a method of a layer is asked where there is one"
        return found

    def _grid(self, layer: Tensor) -> Array:
        return self.kind.grid(layer.detach())[0].float().numpy()

    def _channels(self, layer: Tensor) -> Array:
        moved = layer.detach().movedim(self.kind.channel, 1) if layer.ndim > 2 else layer.T[None]
        return moved[0].float().numpy()

    def _places(self) -> Array:
        shape = list(self._layer.shape)
        every = torch.arange(int(np.prod([d for i, d in enumerate(shape) if i not in self._ends])))
        spread = every.reshape([1 if i in self._ends else d for i, d in enumerate(shape)])
        return self.kind.grid(spread.expand(shape))[0, 0].numpy()

    @property
    def _ends(self) -> tuple[int, int]:
        return 0, self.kind.channel

    def _scores(self, inputs: Iterable[Array], count: int | None = None) -> Iterator[Array]:
        for values in inputs:
            with torch.no_grad():
                yield self._run(self._back(values), self._value)[0].numpy()

    def _boxes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the boxes [A, 4] of an input and the probabilities of their classes [A, C]."""
        kind, given = self.kind, {**self.kind.inputs, self.kind.explained: x}
        assert kind.sure is not None and kind.boxes is not None
        with torch.no_grad():
            y = kind.run(*given.values())
            return kind.boxes(y)[0], kind.sure(y)[0].T.clamp(min=0)

    def _alike(self, inputs: Iterable[Array], count: int | None = None) -> Iterator[Array]:
        """Equations 2 to 5 of D-RISE: the largest IoU times cosine times how sure the box is."""
        boxes, sure = self._boxes(self._x)
        for values in inputs:
            others, chances = self._boxes(self._back(values))
            alike = F.cosine_similarity(chances, sure[self._row][None])
            found = iou(others, boxes[self._row]) * alike * chances.amax(1)
            yield found.max()[None].double().numpy()

    def _straight(self, starts: Sequence[Array]) -> Straight:
        x = self.in_order(self._x)
        return Straight(x, starts, self._input_gradients, self._scores)

    def _input_gradients(
        self, inputs: Iterable[Array], count: int | None = None
    ) -> Iterator[Array]:
        for values in inputs:
            leaf = self._back(values).requires_grad_()
            (slope,) = torch.autograd.grad(self._run(leaf, self._value)[0].sum(), leaf)
            yield self.in_order(slope)[None]

    def _multipliers(self, inputs: Iterable[Array], count: int | None = None) -> Iterator[Array]:
        for values in inputs:
            first = Differences()
            with first:
                self._run(self._back(values).requires_grad_(), self._value)
            leaf = self._x.clone().requires_grad_()
            with Differences(first.noted):
                value, _ = self._run(leaf, self._value)
            yield self.in_order(torch.autograd.grad(value.sum(), leaf)[0])[None]

    def _moving(self, x: Tensor) -> Tensor:
        """Return a copy of an input that has a gradient, or whose layer of words has one."""
        if x.is_floating_point():
            return x.detach().clone().requires_grad_()
        for parameter in self.kind.module.parameters():
            parameter.requires_grad_(True)
        return x

    def _multipliers_at_layer(
        self, inputs: Iterable[Array], count: int | None = None
    ) -> Iterator[Array]:
        for values in inputs:
            first = Differences()
            with first:
                _, there = self._run(self._moving(self._back(values)), self._value)
            with Differences(first.noted):
                value, layer = self._run(self._moving(self._x), self._value)
            assert there is not None and layer is not None
            slope = self._grid(torch.autograd.grad(value.sum(), layer)[0])
            yield np.stack([self._grid(there), slope])[None]

    def _layers(self, inputs: Iterable[Array], count: int | None = None) -> Iterator[Array]:
        for values in inputs:
            with torch.no_grad():
                layer = self._run(self._back(values), self._value)[1]
            assert layer is not None
            yield self._grid(layer)

    def _feature_gradients(
        self, inputs: Iterable[Array], count: int | None = None
    ) -> Iterator[Array]:
        for values in inputs:
            value, layer = self._run(self._back(values).requires_grad_(), self._value)
            assert layer is not None
            yield self._grid(torch.autograd.grad(value.sum(), layer)[0])[None]

    def _heads(self, layers: Iterable[Any], count: int | None = None) -> Iterator[Array]:
        own = self._channels(self._layer)
        for item in layers:
            changed = own.copy()
            if isinstance(item, Patch):
                changed[item.index] = item.value
            else:
                changed = np.asarray(item)
            layer = torch.from_numpy(np.ascontiguousarray(changed, np.float32))
            layer = layer[None].movedim(1, self.kind.channel)
            with torch.no_grad():
                yield self._run(self._x, self._value, layer)[0].numpy()

    def _weighted(self, weights: Iterable[Array], count: int | None = None) -> Iterator[Array]:
        own = self._channels(self._layer)
        return self._heads((own * w for w in weights), count)

    def _features(self, inputs: Iterable[Array], count: int | None = None) -> Iterator[Array]:
        for values in inputs:
            value, layer = self._run(self._back(values).requires_grad_(), self._value)
            assert layer is not None
            slope = self._grid(torch.autograd.grad(value.sum(), layer)[0])
            yield np.stack([self._grid(layer), slope])[None]

    def _without(self, channels: Iterable[int | None], count: int | None = None) -> Iterator[Array]:
        nothing = Patch((slice(0), ...), 0)
        return self._heads((nothing if c is None else Patch(c, 0) for c in channels), count)
