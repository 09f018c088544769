"""Model + method + target -> one graph that predicts and explains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxcam.analysis.layers import Candidate, Catalog
from onnxcam.compose.made import Made, origin
from onnxcam.compose.overlay import Drawing, drawn
from onnxcam.compose.quantities import Quantities, chosen_classes, input_layer
from onnxcam.compose.resample import Kernel, normalized, resampled
from onnxcam.compose.wish import Normalization, Upsampling, Wish, outputs_named
from onnxcam.errors import ModelError, UsageError
from onnxcam.graph.emit import Dim, Emitter, Tensor, shape_of
from onnxcam.methods import GraphMethod, Method
from onnxcam.model.draft import Draft
from onnxcam.model.model import Model
from onnxcam.names import (
    ANY_NUMBER,
    CLASS,
    DIAGNOSTIC,
    FEATURE,
    GRADIENT,
    MAP,
    OVERLAY,
    SCORE,
    SIGNED,
    STEEPEST,
)
from onnxcam.targets.names import TOP


@dataclass(frozen=True)
class Explained(Made):
    """An explained model and what it holds.

    Attributes:
        feature: Its feature layer; the input for methods on the input.
        method: Its method.
        letters: Names of the map's spatial axes, in order ("HW", "W", "DHW").
    """

    feature: Candidate
    method: GraphMethod
    letters: str

    @property
    def summary(self) -> str:
        """What it holds, in words."""
        return f"{self.method.name} at {self.feature.name}"


def explain_graph(
    model: Model,
    catalog: Catalog,
    method: GraphMethod,
    *,
    feature: Candidate | None = None,
    targets: int | None = 1,
    default: Sequence[int] | None = None,
    required: bool = False,
    upsampling: Upsampling = "none",
    normalize: Normalization = "none",
    expose: Sequence[str] = (),
    overlay: Drawing | None = None,
    single: bool = False,
    diagnose: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> Explained:
    """Write a method behind a model.

    Args:
        model: The model.
        catalog: Its layers.
        method: The method.
        feature: The feature layer; None takes the default. Methods on the input have none.
        targets: How many targets a call explains: fixed when a number, None for any (int64 [K]).
        default: The targets where a call gives none; -1 is the top class, as is None.
        required: Every call must give its targets: there is no default in the file. ONNX Runtime
            Web cannot be given an input that has one.
        upsampling: How the map comes to the size of the input; ``none`` leaves it at that of the
            feature layer.
        normalize: ``max`` divides each map by its maximum, ``minmax`` brings it to 0 to 1.
        expose: More outputs: "feature" (the feature layer), "gradient" (of the score with
            respect to it, [N, K, ...]) and "score" [N, C].
        overlay: How each map is drawn on the input, which is a picture: one more output
            ``onnxcam.overlay``, uint8 [N, K, H, W, 3]. None for none.
        single: Compute what is explained (the part behind the feature layer, its gradient, the
            map) once more in float32, where the model is in half precision: a gradient leaves the
            range of half precision where the values do not. Predictions stay as they are.
        diagnose: Also return ``onnxcam.signed`` (the map before rectification, at its own size),
            ``onnxcam.score`` [N, C] and ``onnxcam.steepest`` [N, K] (largest |dy/dA|).
        metadata: More entries for the model's metadata.

    Returns:
        The model with input ``onnxcam.target`` (int64 [K]) and outputs ``onnxcam.map``
        (float32 [N, K, ...space]) and ``onnxcam.class`` (int64 [N, K]).

    Raises:
        UsageError: An option is unknown, or the score does not depend on the feature layer.
        UnsupportedOp: No gradient between the two.
    """
    wish = Wish(
        targets,
        default if default is not None else [TOP] * (targets or 1),
        required,
        upsampling,
        normalize,
        outputs_named(expose).union(DIAGNOSTIC if diagnose else ()),
        overlay,
        single,
    )
    draft = Draft(model)
    feature = input_layer(catalog) if not method.takes_feature else feature
    feature = feature or default_feature(catalog, None, method)
    quantities = Quantities(draft, catalog, method, feature, single=single)
    outputs = _outputs(draft, quantities, wish)
    draft.output(outputs.pop(MAP), MAP)
    draft.output(outputs.pop(CLASS), CLASS)
    for name in sorted(outputs):
        draft.output(outputs[name], name)
    known = origin(draft, model, catalog, method.name)
    entries = {**(metadata or {}), **known, **_settings(method, feature, wish)}
    return Explained(draft.finish(entries), wish, feature, method, quantities.place.letters)


def _outputs(draft: Draft, quantities: Quantities, wish: Wish) -> dict[str, Tensor]:
    op, score = draft.op, quantities.score
    classes = chosen_classes(draft, score, wish)

    def one(body: Emitter, index: Tensor) -> dict[str, Tensor]:
        found = zip((SIGNED, STEEPEST, GRADIENT), quantities.explained(body, index), strict=True)
        return {name: tensor for name, tensor in found if name in wish.expose.union([SIGNED])}

    each = _for_each(op, classes, wish.targets, one)
    map = op.Relu(each[SIGNED]) if quantities.method.rectify else each[SIGNED]
    found = {
        MAP: _finished(op, map, quantities, wish),
        CLASS: _sized(op, classes, quantities, wish, ()),
        SCORE: score,
        FEATURE: quantities.place.tensor,
        **each,
    }
    wanted_outputs = wish.expose.union([MAP, CLASS])
    found = {name: tensor for name, tensor in found.items() if name in wanted_outputs}
    if wish.overlay is not None:
        found[OVERLAY] = _overlay(op, map, quantities, wish, wish.overlay)
    return found


def _finished(op: Emitter, map: Tensor, quantities: Quantities, wish: Wish) -> Tensor:
    """Return a map as it is wanted: at the input's size, normalised."""
    space: Sequence[Dim] = (shape_of(map) or (None,) * 5)[2:]
    with op.scope("map"):
        if wish.upsampling != "none":
            map = resampled(op, map, quantities.input_size(), wish.upsampling)
            space = quantities.input_space()
        if wish.normalize != "none":
            map = normalized(op, map, wish.normalize)
        return _sized(op, map, quantities, wish, space)


def _overlay(op: Emitter, map: Tensor, quantities: Quantities, wish: Wish, how: Drawing) -> Tensor:
    kernel: Kernel = "nearest" if wish.upsampling == "nearest" else "bicubic"
    if quantities.place.rank != 2:
        raise UsageError(
            f"no overlay: the map has {quantities.place.rank} axes of space, a picture has 2",
            "leave --overlay out, or choose another --feature-layer",
        )
    with op.scope("map"):
        large = resampled(op, map, quantities.input_size(), kernel)
    picture = drawn(op, quantities.input, large, how)
    return _sized(op, picture, quantities, wish, (*quantities.input_space(), 3))


def _sized(
    op: Emitter, value: Tensor, quantities: Quantities, wish: Wish, rest: Sequence[Dim]
) -> Tensor:
    """Return a value [N, K, ...] whose shape says what is known, in the words of the input."""
    layout = quantities.catalog.input_layout
    names = shape_of(quantities.input)
    batch = None if layout is None or layout.batch is None or not names else names[layout.batch]
    said = [batch, wish.targets or ANY_NUMBER, *rest]
    found = shape_of(value) or (None,) * len(said)
    dims = [f if isinstance(f, int) else s for f, s in zip(found, said, strict=True)]
    return op.typed(value, op.variable("size", None, dims))


def _for_each(
    op: Emitter,
    classes: Tensor,
    targets: int | None,
    one: Callable[[Emitter, Tensor], dict[str, Tensor]],
) -> dict[str, Tensor]:
    """Return what ``one`` makes of each column of the classes, stacked along axis 1."""
    if targets == 1:
        results = one(op, op.Squeeze(classes, axes=[1]))
        return {name: op.Unsqueeze(result, axes=[1]) for name, result in results.items()}
    return _scan(op, classes, one)


def _scan(
    op: Emitter, classes: Tensor, one: Callable[[Emitter, Tensor], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """Scan over the targets: what depends on no target is computed once, outside."""
    shape = shape_of(classes) or (None, None)
    index = op.variable("index", np.int64, [shape[0]])
    body = op.body([index], name="target")
    results = one(body, index)
    graph = body.close(list(results.values()))
    scanned = op.Scan(
        classes,
        body=graph,
        num_scan_inputs=1,
        scan_input_axes=[1],
        scan_output_axes=[1] * len(results),
        _outputs=len(results),
    )
    scanned = scanned if isinstance(scanned, tuple | list) else (scanned,)
    for tensor, result in zip(scanned, results.values(), strict=True):
        tensor.dtype = result.dtype
        inner = shape_of(result)
        tensor.shape = None if inner is None else [inner[0], shape[1], *inner[1:]]
    return dict(zip(results, scanned, strict=True))


def default_feature(catalog: Catalog, name: str | None, method: Method | None = None) -> Candidate:
    """Return the feature layer of this name, or the default one for a method.

    Args:
        catalog: The layers of a model.
        name: Name of a tensor, None for the default.
        method: The method; one on the input has the input.

    Raises:
        ModelError: The model has no usable feature layer.
        UsageError: The named layer cannot be used, or the method takes none.
    """
    if method is not None and not method.takes_feature:
        if name is not None:
            raise UsageError(
                f"{method.name} explains at the input: it has no feature layer", "leave it out"
            )
        return input_layer(catalog)
    if name is not None:
        return catalog.find(name)
    if catalog.feature is None:
        raise ModelError(
            f"nothing to explain: {catalog.feature_reason}",
            "`onnxcam layers MODEL --all` shows every tensor; name one with --feature-layer",
        )
    return catalog.feature


def _settings(method: GraphMethod, feature: Candidate, wish: Wish) -> dict[str, str]:
    return {
        "onnxcam.feature_layer": feature.name,
        "onnxcam.upsampling": wish.upsampling,
        "onnxcam.normalize": wish.normalize,
        "onnxcam.fp16_safe": str(wish.single).lower(),
        "onnxcam.signed": str(method.signed).lower(),
    }
