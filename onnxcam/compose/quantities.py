"""What methods are made of, for one class of each input: features, gradients, weights, maps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from onnxcam.analysis.layers import Candidate, Catalog
from onnxcam.autodiff.engine import path, vjp
from onnxcam.autodiff.overrides import rectifies
from onnxcam.autodiff.registry import NodeView
from onnxcam.compose.head import pooled
from onnxcam.compose.places import Place, known_rank
from onnxcam.compose.resample import resampled
from onnxcam.compose.single import in_single
from onnxcam.compose.unrounded import unrounded
from onnxcam.compose.wish import Wish
from onnxcam.errors import UsageError
from onnxcam.graph.contrib import scale_of
from onnxcam.graph.emit import Dim, Emitter, Tensor, dtype_of, is_float, shape_of
from onnxcam.methods import GraphMethod, graph
from onnxcam.methods.needs import Activation, Input, MapOf, Need, Weights
from onnxcam.model.draft import Draft
from onnxcam.names import ANY_NUMBER, TARGET


class Quantities:
    """The quantities of a model and its layers.

    Args:
        draft: The model.
        catalog: Its layers.
        method: The method that they are for.
        feature: The feature layer, the input for methods on the input.
        single: Compute what is explained in float32, where the model is in half precision.

    Attributes:
        score: The scores [N, C], as the model computes them.
        input: The input that the map is laid over.
        place: Where the map of the method is made.
    """

    def __init__(
        self,
        draft: Draft,
        catalog: Catalog,
        method: GraphMethod,
        feature: Candidate,
        *,
        single: bool = False,
    ) -> None:
        self.op, self.method, self.catalog = draft.op, method, catalog
        self.reduction = draft.tensor(catalog.reduction.name)
        self.score = self._scores(self.reduction)
        self._explained = self._scores(unrounded(draft.op, self.reduction))
        self._feature = place_of(draft, feature)
        self.input = draft.tensor(catalog.input)
        self._source = place_of(draft, input_layer(catalog)) if method.on_input else None
        if single:
            self._to_single()
        self.place = self._at(method)
        needs = {n for m in (method, *map(graph, method.maps)) for n in m.needs}
        self._pool = (
            pooled(self._feature.source, self.reduction, self._feature.axes.space)
            if Weights in needs
            else None
        )

    def _to_single(self) -> None:
        places = [p for p in (self._feature, self._source) if p is not None]
        score = unrounded(self.op, self.reduction)
        self.reduction, tensors = in_single(self.op, score, [p.tensor for p in places])
        self._explained = self._scores(self.reduction)
        twins = [replace(p, tensor=t) for p, t in zip(places, tensors, strict=True)]
        self._feature = twins[0]
        self._source = None if self._source is None else twins[1]

    def _scores(self, tensor: Tensor) -> Tensor:
        return class_scores(self.op, tensor, self.catalog.reduction.class_axis)

    def _at(self, method: GraphMethod) -> Place:
        if method.on_input:
            assert self._source is not None
            return self._source
        return self._feature

    def explained(self, op: Emitter, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the map of one class, how steep the score is, and its gradient.

        Args:
            op: Emitter of the graph or of a subgraph.
            index: The class of each input, int64 [N].

        Returns:
            The map before rectification, float32 [N, ...space]; the largest absolute gradient of
            the score, float32 [N]; the gradient (or weights) in the axes of the place's tensor.

        Raises:
            UsageError: The score does not depend on the layer, or nothing there is rectified.
            UnsupportedOp: No gradient between the two.
        """
        kind = dtype_of(self._explained) or np.dtype(np.float32)
        seed = op.one_hot(index, self.op.dim(self.score, 1), kind)
        slope = self._slope(op, seed, self.method)
        with op.scope(self.method.name):
            rest = [i for i in range(known_rank(slope)) if i != self.place.layout.batch]
            steep = op.ReduceMax(op.Abs(slope), axes=rest, keepdims=0)
        return self._map(op, seed, self.method), op.cast(steep, np.float32), slope

    def input_size(self) -> list[int | Tensor]:
        """Return the extents of the input's space: ints where known, else int64 [1] tensors.

        Raises:
            UsageError: The input's space is not known, or not of the rank of the map.
        """
        layout = self.catalog.input_layout
        if layout is None or len(layout.space) != self._feature.rank:
            said = "unknown" if layout is None else layout.axes
            raise UsageError(
                f"the map of {self._feature.tensor.name!r} cannot be laid over the input "
                f"{self.catalog.input!r} (axes {said}): it has {self._feature.rank} axes of space",
                "use --upsampling none, or another --feature-layer",
            )
        return [self.op.dim(self.input, i) for i in layout.space]

    def input_space(self) -> tuple[Dim, ...]:
        """Return the extents of the input's space as its shape says them."""
        layout, shape = self.catalog.input_layout, shape_of(self.input)
        assert layout is not None and shape is not None, "input_size() raises before"
        return tuple(shape[i] for i in layout.space)

    def _map(self, op: Emitter, seed: Tensor, method: GraphMethod) -> Tensor:
        place = self._at(method)
        values = [self._value(op, seed, method, need) for need in method.needs]
        with op.scope(method.name):
            reduced = method.emit(op, *values, place.axes)
            return op.cast(place.as_map(op, reduced), np.float32)

    def _value(self, op: Emitter, seed: Tensor, method: GraphMethod, need: Need) -> Tensor:
        if isinstance(need, MapOf):
            return self._nested(op, seed, graph(need.method))
        place = self._at(method)
        if need in (Activation, Input):
            return place.patches(op, place.tensor)
        slope = self._slope(op, seed, method)
        return slope if need == Weights else place.patches(op, slope)

    def _slope(self, op: Emitter, seed: Tensor, method: GraphMethod) -> Tensor:
        if Weights in method.needs:
            return self._weights(op, seed)
        place = self._at(method)
        return place.gradient(op, self._gradient(op, seed, place.source, method))

    def _gradient(self, op: Emitter, seed: Tensor, wrt: Tensor, method: GraphMethod) -> Tensor:
        if method.overrides:
            nodes, _ = path(op, [self._explained], [wrt])
            if not any(rectifies(NodeView(node, op.opsets.get("", 1))) for node in nodes):
                raise UsageError(
                    f"{method.name} changes the gradient of ReLU, but there is none between "
                    f"{wrt.name!r} and {self.reduction.name!r}",
                    "use --method saliency, which is the gradient as it is",
                )
        (gradient,) = vjp(op, [(self._explained, seed)], [wrt], overrides=method.overrides)
        if gradient is None:
            raise UsageError(
                f"the score {self.reduction.name!r} does not depend on {wrt.name!r}",
                "`onnxcam layers MODEL` lists the layers that it depends on",
            )
        return gradient

    def _weights(self, op: Emitter, seed: Tensor) -> Tensor:
        """Return the classifier's weights of the class, in the rank of the feature tensor."""
        assert self._pool is not None
        weights = self._gradient(op, seed, self._pool, self.method)
        if len(shape_of(self._pool) or ()) != len(self._feature.layout.axes):
            weights = op.Unsqueeze(weights, axes=list(self._feature.axes.space))
        return weights

    def _nested(self, op: Emitter, seed: Tensor, method: GraphMethod) -> Tensor:
        """Return the map of another method at the input's size, with the axes of the input."""
        signed = self._map(op, seed, method)
        raw = op.Relu(signed) if method.rectify else signed
        with op.scope(self.method.name):
            large = resampled(op, op.Unsqueeze(raw, axes=[1]), self.input_size(), "linear")
            return op.cast(
                self.place.as_channel(op, op.Squeeze(large, axes=[1])), self.place.tensor
            )


def input_layer(catalog: Catalog) -> Candidate:
    """Return the input as a layer, for the methods on the input."""
    layout = catalog.input_layout
    return Candidate(catalog.input, "input", None, layout, True, "the input of the model")


def place_of(draft: Draft, layer: Candidate) -> Place:
    """Return where a map is made of a layer.

    Raises:
        UsageError: The meaning of its axes is not known, or it holds integers.
    """
    tensor, layout = draft.tensor(layer.name), layer.layout
    if layout is None or layout.batch is None or not layout.space or layout.strange:
        known = "" if layout is None else f" ({layout.axes})"
        raise UsageError(
            f"no map can be made at {layer.name!r}: the meaning of its axes is not known{known}",
            "`onnxcam layers MODEL` lists the layers with a known one",
        )
    grid = tuple(_extent(draft, d) for d in layout.grid)
    scale = scale_of(tensor)
    if scale is not None:
        return Place(scale.reals(draft.op, tensor), layout, grid, tensor, scale.scale)
    if not is_float(tensor):
        raise UsageError(
            f"{layer.name!r} holds integers, which have no gradient",
            "choose a --feature-layer behind it, and a method that takes one",
        )
    return Place(tensor, layout, grid)


def _extent(draft: Draft, dim: Dim) -> int | Tensor:
    """Return an extent of a grid; a symbol is looked up in the shape of a tensor that has it."""
    if isinstance(dim, int):
        return dim
    for tensor in draft.graph.tensors().values():
        shape = shape_of(tensor) or ()
        if isinstance(dim, str) and dim in shape:
            return draft.op.dim(tensor, shape.index(dim))
    return -1


def class_scores(op: Emitter, z: Tensor, class_axis: int) -> Tensor:
    """Return the scores as [N, C]: other axes than batch and class are summed over."""
    shape = shape_of(z) or ()
    if len(shape) < 2:
        return op.Reshape(z, [-1, 1] if len(shape) == 1 else [1, 1])
    others = [i for i in range(1, len(shape)) if i != class_axis]
    return op.ReduceSum(z, axes=others, keepdims=0) if others else z


def chosen_classes(draft: Draft, score: Tensor, wish: Wish) -> Tensor:
    """Add the input with the targets; return the class of each, int64 [N, K]."""
    kept = None if wish.required else np.asarray(wish.default, np.int64)
    wanted = draft.input(TARGET, np.int64, [wish.targets or ANY_NUMBER], kept)
    op = draft.op
    with op.scope("target"):
        top = op.ArgMax(score, axis=1, keepdims=1)
        return op.Where(op.Less(wanted, 0), top, wanted)


def class_seed(op: Emitter, score: Tensor, index: Tensor) -> Tensor:
    """Return the cotangent of scores [N, C] for the class of each input, int64 [N]."""
    kind = dtype_of(score) or np.dtype(np.float32)
    return op.one_hot(index, op.dim(score, 1), kind)
