"""Model + method + target -> one graph that predicts and explains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto

from onnxcam import __version__
from onnxcam.autodiff.engine import vjp
from onnxcam.emit import Emitter, Tensor, dtype_of, shape_of
from onnxcam.errors import ModelError, UsageError
from onnxcam.layers import Candidate, Catalog
from onnxcam.layout import Layout
from onnxcam.methods import GraphMethod
from onnxcam.methods.registry import Axes
from onnxcam.model import Model
from onnxcam.surgery import Draft
from onnxcam.targets import TOP

TARGET, MAP, CLASS = "onnxcam.target", "onnxcam.map", "onnxcam.class"
SIGNED, SCORE, STEEPEST = "onnxcam.signed", "onnxcam.score", "onnxcam.steepest"
_POOLS = ("GlobalAveragePool", "ReduceMean")
_PASSING = frozenset("Flatten Reshape Squeeze Unsqueeze Dropout Identity Cast Transpose".split())
_LINEAR = frozenset("Gemm MatMul Conv Add".split())


@dataclass(frozen=True)
class Explained:
    """An explained model and what it holds.

    Attributes:
        model: The model; it shares the weights of the one that it explains.
        feature: Its feature layer.
        method: Its method.
        letters: Names of the map's spatial axes, in order ("HW", "W", "DHW").
    """

    model: Model
    feature: Candidate
    method: GraphMethod
    letters: str

    @property
    def proto(self) -> ModelProto:
        """A full copy of the model, weights and all."""
        return self.model.proto


def explain_graph(
    model: Model,
    catalog: Catalog,
    method: GraphMethod,
    *,
    feature: Candidate,
    targets: int | None = 1,
    diagnose: bool = False,
) -> Explained:
    """Write a method behind a model.

    Args:
        model: The model.
        catalog: Its layers.
        method: The method.
        feature: The feature layer.
        targets: How many targets a call explains: fixed when a number, None for any (int64 [K]).
        diagnose: Also return ``onnxcam.signed`` (the map before rectification),
            ``onnxcam.score`` [N, C] and ``onnxcam.steepest`` [N, K] (largest |dy/dA|).

    Returns:
        The model with input ``onnxcam.target`` (int64 [K], default -1: the top class) and outputs
        ``onnxcam.map`` [N, K, ...space] and ``onnxcam.class`` int64 [N, K].

    Raises:
        UsageError: The score does not depend on the feature layer.
        UnsupportedOp: No gradient between the two.
    """
    draft = Draft(model)
    build = _Build(draft, catalog, method, feature)
    default = np.full(targets or 1, TOP, np.int64)
    wanted = draft.input(TARGET, np.int64, [targets or "onnxcam.K"], default)
    signed, steepest, classes = build.run(wanted, targets)
    op = draft.op
    draft.output(op.Relu(signed) if method.rectify else signed, MAP)
    draft.output(classes, CLASS)
    if diagnose:
        draft.output(signed, SIGNED)
        draft.output(build.score, SCORE)
        draft.output(steepest, STEEPEST)
    layout = feature.layout
    assert layout is not None
    explained = draft.finish(_provenance(model, catalog, method, feature))
    return Explained(explained, feature, method, _letters(layout))


class _Build:
    def __init__(
        self, draft: Draft, catalog: Catalog, method: GraphMethod, feature: Candidate
    ) -> None:
        assert feature.layout is not None
        self.draft, self.op, self.method = draft, draft.op, method
        self.layout: Layout = feature.layout
        self.a = draft.tensor(feature.name)
        self.reduction = draft.tensor(catalog.reduction.name)
        self.axis = catalog.reduction.class_axis
        self.score = self._score()
        assert self.layout.channel is not None
        self.axes = Axes(self.layout.channel, self.layout.space)

    def run(self, wanted: Tensor, targets: int | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return the signed maps [N, K, ...], the steepest gradients [N, K], the classes [N, K]."""
        op = self.op
        top = op.ArgMax(self.score, axis=1, keepdims=1)
        classes = op.Where(op.Less(wanted, 0), top, wanted)
        if targets == 1:
            signed, steepest = self._one(op, op.Squeeze(classes, axes=[1]))
            return op.Unsqueeze(signed, axes=[1]), op.Unsqueeze(steepest, axes=[1]), classes
        signed, steepest = _each(op, classes, self._one)
        return signed, steepest, classes

    def _score(self) -> Tensor:
        """Return the score as [N, C]: other axes than batch and class are summed over."""
        op, z = self.op, self.reduction
        shape = shape_of(z) or ()
        if len(shape) < 2:
            return op.Reshape(z, [-1, 1] if len(shape) == 1 else [1, 1])
        others = [i for i in range(1, len(shape)) if i != self.axis]
        return op.ReduceSum(z, axes=others, keepdims=0) if others else z

    def _one(self, op: Emitter, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return signed map [N, ...space] and steepest gradient [N] of one class per input."""
        kind = dtype_of(self.score) or np.dtype(np.float32)
        seed = op.one_hot(index, self.op.dim(self.score, 1), kind)
        if "weights" in self.method.needs:
            slope = self._weights(op, seed)
        else:
            slope = self._gradient(op, seed, self.a)
        values = [self.a if n == "activation" else slope for n in self.method.needs]
        reduced = self.method.emit(op, *values, self.axes)
        signed = op.cast(self._spatial(op, reduced), np.float32)
        rest = [i for i in range(len(self.layout.axes)) if i != self.layout.batch]
        steepest = op.ReduceMax(op.Abs(slope), axes=rest, keepdims=0)
        return signed, op.cast(steepest, np.float32)

    def _gradient(self, op: Emitter, seed: Tensor, wrt: Tensor) -> Tensor:
        (gradient,) = vjp(op, [(self.score, seed)], [wrt])
        if gradient is None:
            raise UsageError(
                f"the score {self.reduction.name!r} does not depend on {wrt.name!r}",
                "`onnxcam layers MODEL` lists the layers that it depends on",
            )
        return gradient

    def _weights(self, op: Emitter, seed: Tensor) -> Tensor:
        """Return the classifier's weights of the class, in the rank of the feature tensor."""
        pooled = _pooled(self.a, self.reduction, self.axes.space)
        weights = self._gradient(op, seed, pooled)
        if len(shape_of(pooled) or ()) != len(self.layout.axes):
            weights = op.Unsqueeze(weights, axes=list(self.axes.space))
        return weights

    def _spatial(self, op: Emitter, reduced: Tensor) -> Tensor:
        """Return the map as [N, ...space] with the axes in the order depth, height, width."""
        layout = self.layout
        assert layout.channel is not None
        flat = op.Squeeze(reduced, axes=[layout.channel])
        letters = layout.axes.replace("C", "")
        if layout.grid:
            if layout.prefix:
                flat = op.Slice(
                    flat, starts=[layout.prefix], ends=[np.iinfo(np.int64).max], axes=[1]
                )
            grid = [d if isinstance(d, int) else -1 for d in layout.grid]
            return op.Reshape(flat, [0, *grid])
        order = [letters.index(c) for c in "NDHW" if c in letters]
        return flat if order == sorted(order) else op.Transpose(flat, perm=order)


def _each(
    op: Emitter, classes: Tensor, one: Callable[[Emitter, Tensor], tuple[Tensor, Tensor]]
) -> tuple[Tensor, ...]:
    """Scan over the targets: what depends on no target is computed once, outside."""
    shape = shape_of(classes) or (None, None)
    index = op.variable("index", np.int64, [shape[0]])
    body = op.body([index], name="target")
    results = one(body, index)
    body.graph.outputs.extend(body.local(r) for r in results)
    scanned = op.Scan(
        classes,
        body=body.graph,
        num_scan_inputs=1,
        scan_input_axes=[1],
        scan_output_axes=[1] * len(results),
        _outputs=len(results),
    )
    for tensor, result in zip(scanned, results, strict=True):
        tensor.dtype = result.dtype
        inner = shape_of(result)
        tensor.shape = None if inner is None else [inner[0], shape[1], *inner[1:]]
    return tuple(scanned)


def _pooled(a: Tensor, score: Tensor, space: Sequence[int]) -> Tensor:
    """Return the global average pool of ``a``, when the head behind it is linear.

    Raises:
        UsageError: The head is not global average pooling and one linear layer.
    """

    def refuse(reason: str) -> UsageError:
        return UsageError(
            f"CAM needs global average pooling and a linear classifier behind {a.name!r}: {reason}",
            "use --method gradcam, which needs neither",
        )

    tensor = a
    while True:
        nodes = [n for n in tensor.outputs if n.op != "Shape"]
        if len(nodes) != 1:
            raise refuse(f"{tensor.name!r} is used {len(nodes)} times")
        node = nodes[0]
        if node.op in _POOLS:
            return _checked_head(node.outputs[0], score, refuse)
        if node.op not in ("Identity", "Cast", "Dropout"):
            raise refuse(f"a {node.op} follows it")
        tensor = node.outputs[0]


def _checked_head(pooled: Tensor, score: Tensor, refuse: Callable[[str], UsageError]) -> Tensor:
    tensor, linear = pooled, 0
    while tensor is not score:
        nodes = [n for n in tensor.outputs if n.op != "Shape"]
        if len(nodes) != 1:
            raise refuse(f"{tensor.name!r} is used {len(nodes)} times")
        (node,) = nodes
        if node.op not in _PASSING | _LINEAR:
            raise refuse(f"a {node.op} stands in the classifier")
        linear += node.op in _LINEAR and node.op != "Add"
        if linear > 1:
            raise refuse("the classifier has more than one linear layer")
        tensor = node.outputs[0]
    return pooled


def _letters(layout: Layout) -> str:
    if layout.grid:
        return {1: "W", 2: "HW", 3: "DHW"}[len(layout.grid)]
    return "".join(c for c in "DHW" if c in layout.axes)


def _provenance(
    model: Model, catalog: Catalog, method: GraphMethod, feature: Candidate
) -> dict[str, str]:
    return {
        "onnxcam.version": __version__,
        "onnxcam.source.sha256": model.sha256,
        "onnxcam.method": method.name,
        "onnxcam.feature_layer": feature.name,
        "onnxcam.reduction_layer": catalog.reduction.name,
        "onnxcam.builder": "native",
    }


def default_feature(catalog: Catalog, name: str | None) -> Candidate:
    """Return the feature layer of this name, or the default.

    Raises:
        ModelError: The model has no usable feature layer.
        UsageError: The named layer cannot be used.
    """
    if name is not None:
        return catalog.find(name)
    if catalog.feature is None:
        raise ModelError(
            f"nothing to explain: {catalog.feature_reason}",
            "`onnxcam layers MODEL --all` shows every tensor; name one with --feature-layer",
        )
    return catalog.feature
