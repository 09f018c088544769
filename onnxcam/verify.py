"""The check behind a conversion: the old and the new model side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import nan
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import ModelProto, helper

from onnxcam import compose, names
from onnxcam.analysis.layers import Catalog
from onnxcam.compose import MapPlan
from onnxcam.errors import InputError, ModelError
from onnxcam.graph.ops import Trait, has
from onnxcam.model.model import Model, load
from onnxcam.model.passes.opsets import opsets
from onnxcam.model.weights import is_light
from onnxcam.output.upsample import upsample
from onnxcam.run.agreement import farthest
from onnxcam.run.derived import derived
from onnxcam.run.groups import held_inputs
from onnxcam.run.samples import narrowest_float, sample_feeds
from onnxcam.run.scores import checked_maps, checked_rows, not_finite
from onnxcam.run.session import Session, available_devices

_TRUTH = {
    compose.Explained: ("map", "`onnxcam explain`'s"),
    compose.Gradients: ("gradient", "`vjp_model`'s"),
}
Array: TypeAlias = np.ndarray[Any, Any]
# Relative to the largest value, by bytes of the dtype. ONNX Runtime computes many operators of half
# precision in single: even without optimisations it then rounds where a value has another consumer.
_PLAIN = {2: 1e-3}
_OPTIMISED = {2: 1e-3, 4: 1e-5, 8: 1e-10}
_OWN = 2.0  # times what the optimisations change in the original: steps of a quantised model
_MAP = {2: 2e-2, 4: 1e-4, 8: 1e-8}


@dataclass(frozen=True)
class Check:
    """What the check found.

    Attributes:
        devices: Where the models ran; nowhere, and the differences NaN, where that made no sense.
        plain: Largest difference of an output with graph optimisations off, relative to the
            largest value; 0 is bit for bit.
        optimised: The same with graph optimisations on.
        map: Largest difference of the maps (or gradients) from ``truth``, relative to the largest
            value.
        what: What that difference is of: "map" or "gradient".
        truth: What it is from, in words.
        problems: What is wrong, in words; empty when nothing is.
        warnings: What is not wrong but means that the check shows little, in words.
    """

    devices: tuple[str, ...]
    plain: float
    optimised: float
    map: float
    what: str
    truth: str
    problems: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def verify(
    source: Model,
    explained: compose.Explained | compose.Gradients,
    catalog: Catalog,
    *,
    file: Path | None = None,
    original: Path | bytes | ModelProto | Model | None = None,
    feeds: dict[str, Array] | None = None,
) -> Check:
    """Run a model and the explained one side by side.

    Args:
        source: The model.
        explained: What was made of it.
        catalog: The layers of the model.
        file: The explained model as it was written; None checks what is in memory.
        original: The model as it was given, for ONNX Runtime to read without onnxcam; None leaves
            that out.
        feeds: Inputs; None takes random ones.
    """
    how: dict[str, Any] = {"opset": source.opset, "op_library": source.libraries}
    model = explained.model if file is None else load(file, **how)
    feeds = feeds or sample_feeds(source)
    problems = [*_checked(model), *_foreign(model, source), *_missing(model, source)]
    what = _TRUTH[type(explained)]
    if problems:
        return Check((), nan, nan, nan, *what, tuple(problems))
    devices = available_devices()
    off = on = own = maps = 0.0
    for device in devices:
        both = {**feeds, **_targets(explained, model)}
        *found, warned = _differences(source, model, both, device)
        off, on, own = (max(a, b) for a, b in zip((off, on, own), found, strict=True))
        maps = max(maps, _own_difference(source, explained, catalog, model, feeds, device))
    narrow = narrowest_float(source)
    rounding = max(_OPTIMISED.get(narrow, 1e-5), _OWN * own)
    moved, more = (0.0, ()) if original is None else _apart(original, source, feeds)
    if moved > rounding:
        problems.append(f"at opset {source.opset} the outputs differ by {moved:.2g} from MODEL's")
    if off > _PLAIN.get(narrow, 0):
        problems.append(f"the outputs differ by {off:.2g} with graph optimisations off")
    if on > rounding:
        problems.append(f"the outputs differ by {on:.2g} with graph optimisations on")
    elif on > _OPTIMISED.get(narrow, 1e-5) and _rounds(source):
        steps = f"with graph optimisations on the outputs differ by {on:.2g}: steps of rounding"
        warned = (*warned, steps)
    if not maps <= _MAP.get(narrow, 1e-4):
        problems.append(f"the {what[0]} differs by {maps:.2g} from {what[1]}")
    return Check(tuple(devices), off, on, maps, *what, tuple(problems), (*warned, *more))


def _targets(explained: compose.Explained | compose.Gradients, model: Model) -> dict[str, Array]:
    """Return the targets to feed: none where the model has a default."""
    required = any(p.name == names.TARGET for p in model.inputs)
    return {names.TARGET: np.array(explained.plan.default, np.int64)} if required else {}


def _rounds(model: Model) -> bool:
    return any(has(node, Trait.QUANTISES) for node in model.light.graph.node)


def _checked(model: Model) -> list[str]:
    """Ask onnx's checker; large weights stand in as inputs, so that nobody copies them."""
    proto = ModelProto()
    proto.CopyFrom(model.light)
    graph = proto.graph
    heavy = [t for t in graph.initializer if is_light(t)]
    kept = [t for t in graph.initializer if not is_light(t)]
    fed = {v.name for v in graph.input}
    del graph.initializer[:]
    graph.initializer.extend(kept)
    graph.input.extend(
        helper.make_tensor_value_info(t.name, t.data_type, t.dims)
        for t in heavy
        if t.name not in fed
    )
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        return [f"onnx.checker: {' '.join(str(error).split())[:200]}"]
    return []


def _foreign(model: Model, source: Model) -> list[str]:
    """Operators of domains that the original does not use."""
    known = set(opsets(source.light))
    used = {n.domain for n in model.light.graph.node if n.domain not in ("", "ai.onnx")}
    return [f"it uses operators of {domain!r}" for domain in sorted(used - known)]


def _missing(model: Model, source: Model) -> list[str]:
    found = {p.name: p for p in (*model.inputs, *model.outputs)}
    return [
        f"{p.name!r} is no longer what it was"
        for p in (*source.inputs, *source.outputs)
        if p.name not in found or found[p.name].dtype != p.dtype
    ]


def _differences(
    source: Model, model: Model, feeds: dict[str, Array], device: Any
) -> tuple[float, float, float, tuple[str, ...]]:
    """Return how far the outputs are from the original's.

    Returns:
        With graph optimisations off, with them on, what they change in the original itself;
        what is wrong with its outputs, in words.
    """
    names = [p.name for p in source.outputs]
    given = {p.name: feeds[p.name] for p in source.inputs}
    (plain, optimised), (got_plain, got_optimised) = (
        [_run(m, f, names, device, optimise=o) for o in (False, True)]
        for m, f in ((source, given), (model, feeds))
    )
    return (
        farthest(got_plain, plain),
        farthest(got_optimised, optimised),
        farthest(optimised, plain),
        not_finite(dict(zip(names, optimised, strict=True))),
    )


def _apart(
    original: Path | bytes | ModelProto | Model, model: Model, feeds: dict[str, Array]
) -> tuple[float, tuple[str, ...]]:
    """Return how far a model's outputs are from the original's, optimisations off.

    Returns:
        The difference; a warning where ONNX Runtime cannot run the original at all.
    """
    names = [p.name for p in model.outputs]
    given = {p.name: feeds[p.name] for p in model.inputs}
    try:
        want = _run(original, given, names, "auto", optimise=False, libraries=model.libraries)
    except (ModelError, InputError) as error:
        said = "the original is not held against it: ONNX Runtime cannot run that"
        return 0.0, (f"{said} ({error.message})",)
    return farthest(_run(model, given, names, "auto", optimise=False), want), ()


def _run(
    model: Path | bytes | ModelProto | Model,
    feeds: dict[str, Array],
    outputs: list[str],
    device: Any,
    *,
    optimise: bool = True,
    libraries: tuple[Path, ...] = (),
) -> list[Array]:
    """Run a model once. Its session is gone when the next one comes: each holds all weights."""
    how: dict[str, Any] = {"optimise": optimise, "sparing": True, "libraries": libraries}
    return Session(model, device=device, **how).run(feeds, outputs)


def _own_difference(
    source: Model,
    explained: compose.Explained | compose.Gradients,
    catalog: Catalog,
    model: Model,
    feeds: dict[str, Array],
    device: Any,
) -> float:
    """Return how far what was added is from the same made in another way."""
    given = {**feeds, **_targets(explained, model)}
    classes, *got = _run(model, given, [names.CLASS, *explained.outputs], device)
    layout = catalog.input_layout or catalog.input_positions
    inputs = 1 if layout is None else held_inputs(feeds[catalog.input].shape, layout)
    # Gradients lie in the tensors' own axes: one row of scores is one input, whatever counts it.
    if catalog.input_layout or isinstance(explained, compose.Explained) or len(classes) > 1:
        checked_rows(len(classes), inputs, catalog.reduction)
    if isinstance(explained, compose.Explained):
        checked_maps(zip((m.place for m in explained.plan.maps), got, strict=True), inputs)
        wanted = [_wanted(source, explained.plan, m, feeds, device) for m in explained.plan.maps]
        return farthest(got, wanted)
    return farthest(got, derived(source, explained, given, classes, device))


def _wanted(
    source: Model, plan: compose.Plan, planned: MapPlan, feeds: dict[str, Array], device: Any
) -> Array:
    """Return a map [N, K, ...space] as `onnxcam explain` makes it: by itself, enlarged outside."""
    alone = replace(
        plan,
        maps=(replace(planned, name="", drawing=None),),
        targets=len(plan.default),
        required=False,
        upsampling="none",
        normalize="none",
        expose=frozenset(),
    )
    (maps,) = _run(compose.plan_graph(source, alone).model, feeds, [names.MAP], device)
    layout = plan.catalog.input_layout
    if plan.upsampling != "none" and layout is not None:
        size, area = layout.sizes(feeds[plan.catalog.input].shape), planned.feature.area
        if size is not None:
            maps = upsample(maps, size, plan.upsampling, () if area is None else area.spans(size))
    return _normalised(maps, plan.normalize)


def _normalised(maps: Array, how: str) -> Array:
    space = tuple(range(2, maps.ndim))
    low, high = maps.min(space, keepdims=True), maps.max(space, keepdims=True)
    if how == "none":
        return maps
    bottom = low if how == "minmax" else np.zeros_like(low)
    span = high - bottom
    return np.where(span > 0, (maps - bottom) / np.where(span > 0, span, 1), 0)
