"""Model + plan -> one graph that predicts and explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from onnxcam.analysis.layers import Candidate, Catalog
from onnxcam.analysis.layout import sized
from onnxcam.compose.each import for_each
from onnxcam.compose.made import Made, described, origin
from onnxcam.compose.overlay import Drawing, drawn
from onnxcam.compose.plan import (
    MapPlan,
    Normalization,
    Plan,
    Upsampling,
    maps_of,
    outputs_named,
)
from onnxcam.compose.quantities import Quantities
from onnxcam.compose.resample import Kernel, normalized, resampled
from onnxcam.compose.slopes import Slopes, chosen_classes
from onnxcam.errors import UsageError
from onnxcam.graph.emit import Dim, Emitter, Tensor, shape_of
from onnxcam.methods import GraphMethod
from onnxcam.model.draft import Draft
from onnxcam.model.model import Model
from onnxcam.names import (
    ANY_NUMBER,
    CLASS,
    DIAGNOSTIC,
    FEATURE,
    MAP,
    OVERLAY,
    SCORE,
    SIGNED,
    VALUE,
)
from onnxcam.targets import TOP, Score, Target
from onnxcam.targets.target import scalar


@dataclass(frozen=True)
class Explained(Made):
    """An explained model and what it holds.

    Attributes:
        letters: Names of the spatial axes of its first map, in order ("HW", "W", "DHW").
    """

    letters: str

    @property
    def feature(self) -> Candidate:
        """The feature layer of its first map; the input for methods on the input."""
        return self.plan.maps[0].feature

    @property
    def method(self) -> GraphMethod:
        """The method of its first map."""
        return self.plan.maps[0].graph

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs with the maps."""
        return tuple(m.port(MAP) for m in self.plan.maps)

    @property
    def summary(self) -> str:
        """What it holds, in words."""
        return ", ".join(m.summary for m in self.plan.maps)


def explain_graph(
    model: Model,
    catalog: Catalog,
    method: GraphMethod | Sequence[GraphMethod],
    *,
    feature: Candidate | None = None,
    target: Target | None = None,
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
    """Write methods behind a model: a plan in one call.

    Args:
        model: The model.
        catalog: Its layers.
        method: The method, or several.
        feature: The feature layer; None takes the default. Methods on the input have none.
        target: What of a class is explained; None takes its score.
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
            ``onnxcam.score`` [N, C] ``onnxcam.steepest`` [N, K] (largest |dy/dA|)
            and, of methods that average gradients, ``onnxcam.rest`` [N, K] (the largest mean over
            the positions, by the largest mean of absolute values; left out where it must be 1).
        metadata: More entries for the model's metadata.

    Returns:
        See :func:`plan_graph`.

    Raises:
        UsageError: An option is unknown, or the score does not depend on the feature layer.
        UnsupportedOp: No gradient between the two.
    """
    methods = [method] if isinstance(method, GraphMethod) else list(method)
    maps = maps_of(catalog, methods)
    if feature is not None:
        maps = tuple(replace(m, feature=feature) if m.method.takes_feature else m for m in maps)
    plan = Plan(
        catalog,
        tuple(replace(m, drawing=overlay) for m in maps),
        target or Score(),
        targets,
        default if default is not None else [TOP] * (targets or 1),
        required,
        upsampling,
        normalize,
        outputs_named(expose).union(DIAGNOSTIC if diagnose else ()),
        single,
    )
    return plan_graph(model, plan, metadata=metadata)


def plan_graph(
    model: Model, plan: Plan, *, direct: bool = False, metadata: Mapping[str, str] | None = None
) -> Explained:
    """Write a plan behind a model.

    Args:
        model: The model.
        plan: What it shall return.
        direct: Where a call may explain any number of targets, write the first one's maps also
            in the main graph: a single target is then as fast as in a model for one.
        metadata: More entries for the model's metadata.

    Returns:
        The model with input ``onnxcam.target`` (int64 [K]) and outputs ``onnxcam.map``
        (float32 [N, K, ...space]), one a map, and ``onnxcam.class`` (int64 [N, K]).

    Raises:
        UsageError: The score does not depend on a feature layer, or a map cannot be made there.
        UnsupportedOp: No gradient between the two.
    """
    draft = sized(model)
    slopes = Slopes(draft, plan)
    maps = [_quantities(draft, slopes, planned) for planned in plan.maps]
    if plan.single:
        _to_single(slopes, maps)
    for quantities in maps:
        quantities.want()
    outputs = _outputs(draft, slopes, maps, direct=direct)
    first = [*(m.port(MAP) for m in plan.maps), CLASS]
    for name in [*first, *sorted(outputs.keys() - first)]:
        draft.output(outputs[name], name)
    said = ", ".join(dict.fromkeys(m.method.name for m in plan.maps))
    entries = {**(metadata or {}), **origin(draft, model, plan, said), **described(plan)}
    return Explained(draft.finish(entries), plan, maps[0].place.letters)


def _quantities(draft: Draft, slopes: Slopes, planned: MapPlan) -> Quantities:
    if not planned.others:
        return Quantities(draft, slopes, planned)
    from onnxcam.compose.fused import Fused

    return Fused(draft, slopes, planned)


def _to_single(slopes: Slopes, maps: Sequence[Quantities]) -> None:
    tensors = list({id(p.tensor): p.tensor for q in maps for p in q.places}.values())
    found = zip(tensors, slopes.to_single(tensors), strict=True)
    twins = {id(tensor): twin for tensor, twin in found}
    for quantities in maps:
        quantities.replace(twins)


def _outputs(
    draft: Draft, slopes: Slopes, maps: Sequence[Quantities], *, direct: bool
) -> dict[str, Tensor]:
    op, plan = draft.op, slopes.plan
    chosen = chosen_classes(draft, slopes.shown, plan)
    one = partial(_explained, slopes, maps)
    each = for_each(op, chosen, plan.targets, one, direct=direct)
    classes = plan.target.classes(op, slopes.outputs, chosen)
    there = plan.target.there(op, slopes.outputs, chosen)
    found = {CLASS: _sized(op, classes, maps[0], ()), SCORE: slopes.score}
    wanted = plan.expose.union([MAP, CLASS, OVERLAY, VALUE])
    for quantities in maps:
        planned = quantities.planned
        signed = _where(op, there, each[planned.port(SIGNED)])
        each[planned.port(SIGNED)] = signed
        map = op.Relu(signed) if planned.method.rectify else signed
        found[planned.port(MAP)] = _finished(op, map, quantities)
        found[planned.port(FEATURE)] = quantities.place.shown(op)
        if planned.drawing is not None:
            found[planned.port(OVERLAY)] = _overlay(op, map, quantities, planned.drawing)
    kept = wanted.union(m.port(base) for m in plan.maps for base in wanted)
    return {name: tensor for name, tensor in {**found, **each}.items() if name in kept}


def _explained(
    slopes: Slopes, maps: Sequence[Quantities], body: Emitter, index: Tensor
) -> dict[str, Tensor]:
    """Return what all maps return of one class of each input, by the names of the outputs."""
    plan, results = slopes.plan, {}
    wanted = plan.expose.union([SIGNED])
    for quantities in maps:
        found, port = quantities.explained(body, index), quantities.planned.port
        results.update({port(name): tensor for name, tensor in found.items() if name in wanted})
    if SCORE in wanted and not isinstance(plan.target, Score):
        value = plan.target.emit(body, slopes.outputs, index)
        results[VALUE] = body.cast(scalar(plan.target, value, slopes.outputs), np.float32)
    return results


def _where(op: Emitter, there: Tensor | None, map: Tensor) -> Tensor:
    """Return a map [N, K, ...space], 0 where what it is asked for is not in the input."""
    rank = len(shape_of(map) or ())
    if there is None:
        return map
    wide = op.Unsqueeze(there, axes=list(range(2, rank)))
    return op.typed(op.Where(wide, map, np.float32(0)), map)


def _finished(op: Emitter, map: Tensor, quantities: Quantities) -> Tensor:
    """Return a map as it is wanted: at the input's size, normalised."""
    plan = quantities.slopes.plan
    space: Sequence[Dim] = (shape_of(map) or (None,) * 5)[2:]
    with op.scope("map"):
        if plan.upsampling != "none":
            size, spans = quantities.input_size(), quantities.spans(op)
            map = resampled(op, map, size, plan.upsampling, spans)
            space = quantities.input_space()
        if plan.normalize != "none":
            map = normalized(op, map, plan.normalize)
        return _sized(op, map, quantities, space)


def _overlay(op: Emitter, map: Tensor, quantities: Quantities, how: Drawing) -> Tensor:
    kernel: Kernel = "nearest" if quantities.slopes.plan.upsampling == "nearest" else "bicubic"
    if quantities.place.rank != 2:
        raise UsageError(
            f"no overlay: the map has {quantities.place.rank} axes of space, a picture has 2",
            "leave `overlay` out, or choose another `feature_layer`",
        )
    with op.scope("map"):
        large = resampled(op, map, quantities.input_size(), kernel, quantities.spans(op))
    picture = drawn(op, quantities.pictured(op), large, how)
    return _sized(op, picture, quantities, (*quantities.input_space(), 3))


def _sized(op: Emitter, value: Tensor, quantities: Quantities, rest: Sequence[Dim]) -> Tensor:
    """Return a value [N, K, ...] whose shape says what is known, in the words of the input."""
    plan = quantities.slopes.plan
    layout, names = plan.catalog.input_layout, shape_of(quantities.input)
    batch = None if layout is None or layout.batch is None or not names else names[layout.batch]
    said = [batch, plan.targets or ANY_NUMBER, *rest]
    found = shape_of(value) or (None,) * len(said)
    dims = [f if isinstance(f, int) else s for f, s in zip(found, said, strict=True)]
    return op.typed(value, op.variable("size", None, dims))
