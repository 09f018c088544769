"""What the map of a method has to be: by its formula over torch's gradients, or on torch itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kinds.answers import Answers, Run, Value
from kinds.files import in_half
from kinds.formulas import AT_FEATURE
from kinds.kind import Kind
from kinds.rules import (
    EPSILON,
    Attention,
    Biases,
    Changed,
    Differences,
    Rectified,
    Relevance,
    depth,
    enlarged,
)
from onnxcam import methods

Array = np.ndarray[Any, Any]

GRADIENTS = "torch's gradients"
RULES = "torch with the method's rules for gradients"
ANSWERS = "the method run on torch"

HALF_EPSILON = 6.2e-5  # the smallest that half precision has with all its digits

# Rule of convolutions, beta, rule of the first layer.
LRP: Mapping[str, tuple[str, float, str]] = {
    "lrp-epsilon": ("epsilon", 0, ""),
    "lrp-gamma": ("gamma", 0, ""),
    "lrp-epsilon-plus": ("alpha", 0, ""),
    "lrp-alpha-beta": ("alpha", 1, ""),
    "lrp-epsilon-plus-flat": ("alpha", 0, "flat"),
    "lrp-epsilon-alpha2-beta1-flat": ("alpha", 1, "flat"),
    "lrp-epsilon-gamma-box": ("gamma", 0, "box"),
    "lrp-w2": ("alpha", 0, "w2"),
    "crp": ("alpha", 0, "flat"),
}


class Reference:
    """Maps of one target of a network, by torch.

    Args:
        kind: The network.
        value: The target, as a number of the outputs, float [1].
        row: Which box of the explained input that is about; None where it is none.
    """

    def __init__(self, kind: Kind, value: Value, row: int | None = None) -> None:
        self.kind, self._value, self._run = kind, value, Run(kind)
        self._answers = Answers(kind, value, row)

    def map(self, name: str, settings: Mapping[str, Any]) -> tuple[Array, str] | None:
        """Return the signed map of a method, and what it is held against; None for no reference.

        Args:
            name: Its name.
            settings: Values of its parameters; the others have their defaults.
        """
        method = methods.find(name)
        if isinstance(method, methods.SampledMethod):
            found = self._answers.map(method, method.settings(settings))
            return None if found is None else (found, ANSWERS)
        if name in AT_FEATURE:
            return AT_FEATURE[name](*self.at_feature), GRADIENTS
        if name == "layer-integrated-gradients":
            return self.integrated(method.settings(settings)["steps"]), GRADIENTS
        if name in _OTHERS:
            return _OTHERS[name](self), RULES if name in _BY_RULES else GRADIENTS
        return (self._relevance(*LRP[name], own=name == "crp"), RULES) if name in LRP else None

    @cached_property
    def at_feature(self) -> tuple[Array, Array]:
        """Values and gradients of the feature layer, float64 [C, *space]."""
        value, layer = self._run(self._leaf(), self._value)
        assert layer is not None, "a map of a layer is made where there is one"
        (slope,) = torch.autograd.grad(value.sum(), layer)
        return self._grid(layer), self._grid(slope)

    @cached_property
    def at_input(self) -> tuple[Array, Array]:
        """Values and gradients of the input, float64 [C, *space]."""
        return self._x, self._slope(None)

    @cached_property
    def _x(self) -> Array:
        return self._ordered(self.kind.inputs[self.kind.explained])

    def _leaf(self) -> Tensor:
        """Return the explained input, or a copy that moves."""
        x = self.kind.inputs[self.kind.explained].clone()
        if not x.is_floating_point():
            for parameter in self.kind.module.parameters():
                parameter.requires_grad_(True)  # a layer of words has a gradient too
            return x
        return x.requires_grad_()

    def _ordered(self, tensor: Tensor) -> Array:
        return self._answers.in_order(tensor).astype(np.float64)

    def _grid(self, layer: Tensor) -> Array:
        return self.kind.grid(layer.detach())[0].double().numpy()

    def _slope(self, changed: Changed | None) -> Array:
        """Return the gradient at the input, with the rules of functions changed."""
        leaf = self._leaf()
        with changed or nullcontext():
            value, _ = self._run(leaf, self._value)
        return self._ordered(torch.autograd.grad(value.sum(), leaf)[0])

    def saliency(self) -> Array:
        """Return max over channels of |dx|."""
        found: Array = np.abs(self.at_input[1]).max(0)
        return found

    def products(self, changed: Changed | None = None) -> Array:
        """Return the sum over channels of x dx."""
        found: Array = (self._x * self._slope(changed)).sum(0)
        return found

    def guided(self, *, inside: bool = True) -> Array:
        """Return max over channels of |dx|, with other ReLUs."""
        found: Array = np.abs(self._slope(Rectified(inside=inside))).max(0)
        return found

    def guided_gradcam(self) -> Array:
        """Return guided backpropagation times Grad-CAM at the input's size."""
        cam = np.maximum(AT_FEATURE["gradcam"](*self.at_feature), 0)
        return self.guided() * self._enlarged(torch.from_numpy(cam)).numpy()

    def shapley(self) -> Array:
        """Return sum of (mean of g - H a / 2) a."""
        value, layer = self._run(self._leaf(), self._value)
        assert layer is not None
        (slope,) = torch.autograd.grad(value.sum(), layer, create_graph=True)
        curved = (
            torch.autograd.grad((slope * layer.detach()).sum(), layer, allow_unused=True)[0]
            if slope.requires_grad
            else None
        )
        bent = torch.zeros_like(layer) if curved is None else curved
        return AT_FEATURE["gradcam"](self._grid(layer), self._grid(slope - 0.5 * bent))

    def integrated(self, steps: int) -> Array:
        """Return the sum over channels of A times its mean gradient on the way from 0 to A."""
        own = self._run(self._leaf(), self._value)[1]
        assert own is not None
        own, total = own.detach(), torch.zeros_like(own)
        places, weights = np.polynomial.legendre.leggauss(steps)
        for place, weight in zip(places, weights, strict=True):
            layer = (own * (place + 1) / 2).float().requires_grad_()
            value, _ = self._run(self._leaf(), self._value, layer)
            total += weight / 2 * torch.autograd.grad(value.sum(), layer)[0]
        found: Array = self._grid(own * total).sum(0)
        return found

    def deeplift(self) -> Array:
        """Return the sum over channels of (x - 0) m."""
        first = Differences()
        with first:
            self._run(torch.zeros_like(self._leaf()).requires_grad_(), self._value)
        return self.products(Differences(first.noted))

    def layer_deeplift(self) -> Array:
        """Return the sum over channels of (A - A of an input of 0) m."""
        first, nothing = Differences(), torch.zeros_like(self._leaf())
        with first:
            start = self._run(
                nothing.requires_grad_() if nothing.is_floating_point() else nothing, self._value
            )[1]
        with Differences(first.noted):
            value, layer = self._run(self._leaf(), self._value)
        assert layer is not None and start is not None
        (slope,) = torch.autograd.grad(value.sum(), layer)
        found: Array = ((self._grid(layer) - self._grid(start)) * self._grid(slope)).sum(0)
        return found

    def layer_relevance(self) -> Array:
        """Return the sum over channels of A times its gradient by the epsilon rule."""
        small = HALF_EPSILON if self.kind.change is in_half else EPSILON
        with Relevance("epsilon", epsilon=small):
            value, layer = self._run(self._leaf(), self._value)
        assert layer is not None
        (slope,) = torch.autograd.grad(value.sum(), layer)
        found: Array = (self._grid(layer) * self._grid(slope)).sum(0)
        return found

    def fullgrad(self) -> Array:
        """Return the shares of the input and of the biases of convolutions."""
        leaf, noted = self._leaf(), Biases()
        with noted:
            value, _ = self._run(leaf, self._value)
        outputs = [y for y, _ in noted.kept]
        dx, *slopes = torch.autograd.grad(value.sum(), [leaf, *outputs], allow_unused=True)
        total = _stretched(torch.from_numpy(self._x * self._ordered(dx))).sum(0)
        for (_, bias), slope in zip(noted.kept, slopes, strict=True):
            if slope is None:  # of another output
                continue
            for each in slope * bias:  # frames are merged with the batch
                share = _stretched(each.detach()).sum(0)
                total = total + self._enlarged(share)
        return total.numpy()

    def _enlarged(self, tensor: Tensor) -> Tensor:
        return enlarged(tensor[None, None], self._x.shape[1:])[0, 0]

    def _relevance(self, rule: str, beta: float, first: str, *, own: bool) -> Array:
        early = None
        if rule == "gamma" and not first:
            value, _ = self._run(self._leaf(), self._value)
            early = -(-depth(value, products=False) // 2)
        small = HALF_EPSILON if self.kind.change is in_half else EPSILON
        mode, leaf = Relevance(rule, beta, first, early, small), self._leaf()
        with mode:
            value, layer = self._run(leaf, self._value)
        if own:
            return self._of_one_channel(mode, value, layer)
        if mode.ones is None:
            return self._share(torch.autograd.grad(value.sum(), leaf)[0])
        return self._spread(torch.autograd.grad(value.sum(), mode.ones)[0])

    def _of_one_channel(self, mode: Relevance, value: Tensor, layer: Tensor | None) -> Array:
        assert layer is not None and mode.ones is not None
        (slope,) = torch.autograd.grad(value.sum(), layer, retain_graph=True)
        axis = self.kind.channel
        rest = [i for i in range(layer.ndim) if i != axis]
        most = (layer * slope).sum(rest).argmax()
        kept = torch.zeros_like(slope)
        kept.select(axis, int(most)).copy_(slope.select(axis, int(most)))
        return self._spread(torch.autograd.grad(layer, mode.ones, kept)[0])

    def _share(self, slope: Tensor) -> Array:
        found: Array = (self._x * self._ordered(slope)).sum(0)
        return found

    def _spread(self, relevance: Tensor) -> Array:
        found: Array = self._ordered(relevance.reshape(self._leaf().shape)).sum(0)
        return found


def _stretched(values: Tensor) -> Tensor:
    """Return |v| of each channel [C, *space] from 0 to 1; 0 where only rounding moves it."""
    rest, size = tuple(range(1, values.ndim)), values.abs()
    low, high = size.amin(rest, True), size.amax(rest, True)
    flat = high - low <= 2e-6 * high
    return torch.where(flat, 0, (size - low) / torch.where(flat, 1, high - low))


_BY_RULES: Sequence[str] = (
    "guided-backprop", "deconvnet", "guided-gradcam", "attnlrp", "libragrad", "deeplift",
    "layer-deeplift", "layer-lrp",
)  # fmt: skip
_OTHERS: Mapping[str, Callable[[Reference], Array]] = {
    "saliency": Reference.saliency,
    "input-x-gradient": Reference.products,
    "guided-backprop": Reference.guided,
    "deconvnet": lambda ref: ref.guided(inside=False),
    "guided-gradcam": Reference.guided_gradcam,
    "shapley-cam": Reference.shapley,
    "deeplift": Reference.deeplift,
    "layer-deeplift": Reference.layer_deeplift,
    "layer-lrp": Reference.layer_relevance,
    "fullgrad": Reference.fullgrad,
    "attnlrp": lambda ref: ref.products(Attention(moves=True)),
    "libragrad": lambda ref: ref.products(Attention(moves=False)),
}


def known() -> Iterator[str]:
    """Yield the names of the methods that have a reference."""
    for name in methods.names():
        method = methods.find(name)
        sampled = isinstance(method, methods.SampledMethod)
        own = (*AT_FEATURE, *_OTHERS, *LRP, "layer-integrated-gradients")
        if sampled or name in own:
            yield name
