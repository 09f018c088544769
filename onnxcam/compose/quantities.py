"""What a map is made of, for one class of each input: features, gradients, weights, maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from onnxcam.analysis.geometry import Area
from onnxcam.compose.attention import blocks_of, of_patches
from onnxcam.compose.biases import Biased, bias_shares, biased_layers
from onnxcam.compose.diagonals import diagonals
from onnxcam.compose.head import Head, head_of
from onnxcam.compose.laid import Edges, laid
from onnxcam.compose.places import Place, channelled, extents, known_rank, place_of
from onnxcam.compose.plan import MapPlan, input_layer
from onnxcam.compose.references import References
from onnxcam.compose.resample import resampled
from onnxcam.compose.slopes import Slopes
from onnxcam.errors import UsageError
from onnxcam.graph.emit import Dim, Emitter, Tensor, shape_of
from onnxcam.methods import GraphMethod, graph
from onnxcam.methods.cam.sums import narrow, space_mean
from onnxcam.methods.needs import (
    Activation,
    AttentionGradients,
    BiasShares,
    Curvature,
    Diagonals,
    Input,
    MapOf,
    Need,
    SlopeAt,
    SlopeAtLayer,
    SlopeOfInputs,
    Weights,
)  # fmt: skip
from onnxcam.methods.parameters import Setting
from onnxcam.model.draft import Draft
from onnxcam.names import GRADIENT, RELIEF, REST, SIGNED, STEEPEST


class Quantities:
    """The quantities of one map of a plan.

    Args:
        draft: The model.
        slopes: Its scores and gradients.
        planned: The map.

    Attributes:
        input: The input that the map is laid over.
        places: Where gradients are taken: the feature layer, and the input for methods on it.
    """

    def __init__(self, draft: Draft, slopes: Slopes, planned: MapPlan) -> None:
        self._draft, self.op, self.slopes, self.planned = draft, draft.op, slopes, planned
        self.method, self.catalog = planned.graph, slopes.plan.catalog
        self.input = draft.tensor(self.catalog.input)
        self.places = [place_of(draft, planned.feature)]
        if self.method.on_input:
            self.places.append(place_of(draft, input_layer(self.catalog)))
        self._head: Head | None = None
        self._references = References(draft, slopes)
        self._biased: list[Biased] = []

    def replace(self, twins: dict[int, Tensor]) -> None:
        """Take the twins of the places' tensors, by the ids of these."""
        self.places = [replace(p, tensor=twins[id(p.tensor)]) for p in self.places]

    def want(self) -> None:
        """Say which gradients the map needs.

        Raises:
            UsageError: The head is not the one that the method needs, or nothing is rectified.
        """
        for method in (self.method, *map(graph, self.method.maps)):
            if Weights in method.needs:
                feature = self.places[0]
                if feature.pieces:
                    raise UsageError(
                        f"{method.name} needs a pool over the space of {feature.tensor.name!r}, "
                        "which lies beside the batch",
                        "use `method='gradcam'`",
                    )
                known = {c.name: c.layout for c in self.catalog.candidates if c.layout is not None}
                self._head = head_of(feature.source, self.slopes.tensor, feature.layout, known)
            if BiasShares in method.needs:
                self._biased = biased_layers(self.op, self.slopes.tensor, self.place.source)
                for layer in self._biased:
                    self.slopes.want(method, layer.output, self._settings(method))
            if method.uses_gradient:
                told = {
                    **self._settings(method),
                    **(channelled(self.places[0], method.name) if method.at_layer else {}),
                }
                self.slopes.want(method, self._wrt(method), told)

    def _settings(self, method: GraphMethod) -> Mapping[str, Setting]:
        """Return what is set for a method; those that the map builds on have their defaults."""
        return self.planned.settings if method is self.method else {}

    @property
    def place(self) -> Place:
        """Where the map is made."""
        return self._at(self.method)

    def _at(self, method: GraphMethod) -> Place:
        return self.places[-1 if method.on_input else 0]

    def _wrt(self, method: GraphMethod) -> Tensor:
        if Weights in method.needs:
            assert self._head is not None
            return self._head.wrt
        return self._at(method).source

    def explained(self, op: Emitter, index: Tensor) -> dict[str, Tensor]:
        """Return the map of one class, and its gradient in numbers, by the names of outputs.

        Args:
            op: Emitter of the graph or of a subgraph.
            index: The class of each input, int64 [N].

        Returns:
            SIGNED, the map before rectification, float32 [N, ...space]; STEEPEST, the largest
            absolute gradient of the score, float32 [N] (1 where none is taken); GRADIENT, the
            gradient (or weights) in the axes of the place's tensor; REST, float32 [N], what a mean
            over the positions leaves of it, where the method takes that mean and it can leave
            less than all; RELIEF, float32 [N, C, ...space], the signed values that the map is
            made of, where the method has them.

        Raises:
            UsageError: The score does not depend on the layer.
            UnsupportedOp: No gradient between the two.
        """
        if not self.method.uses_gradient:
            ones = op.Add(op.Mul(op.cast(index, np.float32), 0), 1)  # one for each input
            return {SIGNED: self._map(op, index, self.method), STEEPEST: ones}
        slope = self._slope(op, index, self.method)
        with op.scope(self.method.name):
            if self.place.pieces:
                slope = self.place.patches(op, slope)
            rest = [i for i in range(known_rank(slope)) if i != self.place.layout.batch]
            steep = op.cast(op.ReduceMax(op.Abs(slope), axes=rest, keepdims=0), np.float32)
            left = self._rest(op, slope) if self.method.averages else {}
        signed = self._map(op, index, self.method)
        left |= self._relief(op, index)
        return {SIGNED: signed, STEEPEST: steep, GRADIENT: slope, **left}

    def _rest(self, op: Emitter, slope: Tensor) -> dict[str, Tensor]:
        """Return REST; nothing where the gradient is the same at every position."""
        place = self.place
        slope = slope if place.pieces else place.patches(op, slope)
        if narrow(op, slope, place.axes) is not slope:
            return {}
        left = op.Abs(space_mean(op, slope, place.axes))
        size = space_mean(op, op.Abs(slope), place.axes)
        rest = [place.axes.channel, *place.axes.space]
        most = [op.cast(op.ReduceMax(x, axes=rest, keepdims=0), np.float32) for x in (left, size)]
        return {REST: op.Div(*most)}

    def _relief(self, op: Emitter, index: Tensor) -> dict[str, Tensor]:
        """Return RELIEF where it is wanted and the method says what it is."""
        if self.method.relief is None or RELIEF not in self.slopes.plan.expose:
            return {}
        place = self.place
        values = [self._value(op, index, self.method, need) for need in self.method.needs]
        with op.scope(self.method.name):
            signed = place.as_features(op, self.method.relief(op, *values))
            return {RELIEF: op.cast(signed, np.float32)}

    def input_size(self) -> list[int | Tensor]:
        """Return the extents of the input's space: ints where known, else int64 [1] tensors.

        Raises:
            UsageError: The input's space is not known, or not of the rank of the map.
        """
        layout, feature = self.catalog.input_layout, self.places[0]
        sizes = None if layout is None else extents(self._draft, self.input, layout)
        if layout is None or sizes is None or len(sizes) != feature.rank:
            said = "unknown" if layout is None else layout.axes
            raise UsageError(
                f"the map of {feature.tensor.name!r} cannot be laid over the input "
                f"{self.catalog.input!r} (axes {said}): it has {feature.rank} axes of space",
                "use `upsampling='none'`, or another `feature_layer`",
            )
        return sizes

    def input_space(self) -> tuple[Dim, ...]:
        """Return the extents of the input's space as its shape says them."""
        layout, shape = self.catalog.input_layout, shape_of(self.input)
        assert layout is not None and shape is not None, "input_size() raises before"
        return layout.extents(shape)

    def spans(self, op: Emitter, method: GraphMethod | None = None) -> list[Edges | None]:
        """Return where the cells of the map lie on the input; nothing for all of it."""
        if (method or self.method).on_input:
            return []
        return laid(op, self.planned.feature.area, self.input_size())

    @property
    def _areas(self) -> dict[str, Area]:
        """Where the layers lie that are no even shares of the input, by their names."""
        layers = self.catalog.candidates
        return {c.name: c.area for c in layers if c.area is not None}

    def pictured(self, op: Emitter) -> Tensor:
        """Return the input as pictures, where it takes them flattened too."""
        layout = self.catalog.input_layout
        found = None if layout is None else layout.unfolded(shape_of(self.input) or ())
        if found is None:
            return self.input
        return op.Reshape(self.input, [-1, *(d for d in found[1][1:] if isinstance(d, int))])

    def _map(self, op: Emitter, index: Tensor, method: GraphMethod) -> Tensor:
        place = self._at(method)
        values = [self._value(op, index, method, need) for need in method.needs]
        with op.scope(method.name):
            reduced = method.written(op, values, place.axes, self._settings(method))
            return op.cast(place.as_map(op, reduced), np.float32)

    def _value(self, op: Emitter, index: Tensor, method: GraphMethod, need: Need) -> Any:
        if isinstance(need, MapOf):
            return self._nested(op, index, graph(need.method))
        place = self._at(method)
        if need in (Activation, Input):
            return place.patches(op, place.tensor)
        if need == AttentionGradients:
            return self._attention_slopes(op, index)
        of_another = self._references.value(need, index, place)
        if of_another is not None:
            return of_another
        if need in (SlopeAt, SlopeAtLayer):
            return partial(self._slope_at, index)
        if need == SlopeOfInputs:
            return partial(self.slopes.of_other_inputs, index, place)
        if need == BiasShares:
            return self._bias_shares(op, index, method)
        if need == Curvature:
            return place.patches(op, self.slopes.curvature(op, index, method, place))
        if need == Diagonals:
            slope = self.slopes.of(op, index, method, place.source)
            return tuple(place.patches(op, d) for d in diagonals(op, slope, place, method.name))
        slope = self._slope(op, index, method)
        return slope if need == Weights else place.patches(op, slope)

    def _attention_slopes(self, op: Emitter, index: Tensor) -> list[Tensor]:
        """Return the gradient of each block's score at its attention, of the patches as keys.

        Raises:
            UsageError: The feature layer has no axis of tokens, or there is no attention.
        """
        blocks = blocks_of(self.op, self.slopes.outputs.tensor, self.input)
        pairs = [(blocks[-1].output, block.output, block.attention) for block in blocks]
        slopes = [self.slopes.at(op, index, *pair) for pair in pairs]
        return [of_patches(op, slope, self.place, self.method.name) for slope in slopes]

    def _slope_at(self, index: Tensor, op: Emitter, x: Tensor) -> Tensor:
        """Return the gradient of the score of a class at another input, in the axes of the map.

        Args:
            index: The class of each input, int64 [N].
            op: Emitter of the graph or of a subgraph.
            x: What takes the place of what :meth:`Place.patches` returns of the input.
        """
        place = self.place
        found = self.slopes.at(op, index, place.source, place.unpatched(op, x))
        return place.patches(op, place.gradient(op, found))

    def _bias_shares(self, op: Emitter, index: Tensor, method: GraphMethod) -> Tensor:
        """Return the sum over layers and channels of |b dy/dz| from 0 to 1, at the input's size."""
        slopes = [self.slopes.of(op, index, method, layer.output) for layer in self._biased]
        size = self.input_size()
        spans = [laid(op, self._areas.get(layer.output.name), size) for layer in self._biased]
        total = bias_shares(op, self._biased, slopes, size, spans)
        return op.cast(self.place.as_channel(op, total), self.place.tensor)

    def _slope(self, op: Emitter, index: Tensor, method: GraphMethod) -> Tensor:
        layer = self.places[0].tensor.name if method.at_layer else ""
        gradient = self.slopes.of(op, index, method, self._wrt(method), layer)
        if Weights not in method.needs:
            return self._at(method).gradient(op, gradient)
        assert self._head is not None
        return self._head.weights(op, gradient, self.places[0].axes.space)

    def _nested(self, op: Emitter, index: Tensor, method: GraphMethod) -> Tensor:
        """Return the map of another method at the input's size, with the axes of the input."""
        signed = self._map(op, index, method)
        raw = op.Relu(signed) if method.rectify else signed
        with op.scope(self.method.name):
            spans = self.spans(op, method)
            large = resampled(op, op.Unsqueeze(raw, axes=[1]), self.input_size(), "linear", spans)
            return op.cast(
                self.place.as_channel(op, op.Squeeze(large, axes=[1])), self.place.tensor
            )
