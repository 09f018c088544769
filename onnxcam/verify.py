"""The check behind a conversion: the old and the new model side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import numpy_helper

from onnxcam import compose
from onnxcam.emit import Dim
from onnxcam.layers import Catalog
from onnxcam.model import Model, Port, load, opsets
from onnxcam.session import Session, available_devices
from onnxcam.upsample import upsample

Array: TypeAlias = np.ndarray[Any, Any]
_OPTIMISED = {2: 1e-3, 4: 1e-5, 8: 1e-10}  # relative to the largest value, by bytes of the dtype
_MAP = {2: 2e-2, 4: 1e-4, 8: 1e-8}


@dataclass(frozen=True)
class Check:
    """What the check found.

    Attributes:
        devices: Where the models ran.
        plain: Largest difference of an output with graph optimisations off, relative to the
            largest value; 0 is bit for bit.
        optimised: The same with graph optimisations on.
        map: Largest difference from what `onnxcam explain` gives, relative to the largest value.
        problems: What is wrong, in words; empty when nothing is.
    """

    devices: tuple[str, ...]
    plain: float
    optimised: float
    map: float
    problems: tuple[str, ...]


def verify(
    source: Model,
    explained: compose.Explained,
    catalog: Catalog,
    *,
    file: Path | None = None,
    feeds: dict[str, Array] | None = None,
) -> Check:
    """Run a model and the explained one side by side.

    Args:
        source: The model.
        explained: What was made of it.
        catalog: The layers of the model.
        file: The explained model as it was written; None checks what is in memory.
        feeds: Inputs; None takes random ones.
    """
    model = explained.model if file is None else load(file)
    feeds = feeds or sample_feeds(source)
    names = [p.name for p in source.outputs]
    problems = [*_checked(model, file), *_foreign(model, source), *_missing(model, source)]
    devices = available_devices()
    off = on = maps = 0.0
    for device in devices:
        off = max(off, _difference(source, model, feeds, names, device, optimise=False))
        on = max(on, _difference(source, model, feeds, names, device, optimise=True))
        maps = max(maps, _map_difference(source, explained, catalog, model, feeds, device))
    width = max((p.dtype.itemsize for p in source.outputs if p.dtype is not None), default=4)
    floats = [p.dtype for p in source.inputs if p.dtype is not None and _is_float(p)]
    narrow = min((d.itemsize for d in floats), default=width)
    if off > 0:
        problems.append(f"the outputs differ by {off:.2g} with graph optimisations off")
    if on > _OPTIMISED.get(narrow, 1e-5):
        problems.append(f"the outputs differ by {on:.2g} with graph optimisations on")
    if not maps <= _MAP.get(narrow, 1e-4):
        problems.append(f"the map differs by {maps:.2g} from `onnxcam explain`'s")
    return Check(tuple(devices), off, on, maps, tuple(problems))


def sample_feeds(model: Model, *, seed: int = 0) -> dict[str, Array]:
    """Return random inputs of a model's shapes; unknown dimensions become 1, or 64 in space."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for port in model.inputs:
        shape = [_size(d, i, port) for i, d in enumerate(port.shape or ())]
        dtype = port.dtype or np.dtype(np.float32)
        values = rng.normal(size=shape) if _is_float(port) else np.ones(shape)
        feeds[port.name] = np.asarray(values).astype(dtype)
    return feeds


def _size(dim: Dim, axis: int, port: Port) -> int:
    if isinstance(dim, int):
        return dim
    return 64 if axis >= 1 and len(port.shape or ()) >= 3 else 1


def _is_float(port: Port) -> bool:
    return port.dtype is not None and (port.dtype.kind == "f" or port.dtype.name == "bfloat16")


def _checked(model: Model, file: Path | None) -> list[str]:
    try:
        if file is not None:
            onnx.checker.check_model(str(file), full_check=True)
        else:
            onnx.checker.check_model(model.proto, full_check=True)
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


def _difference(
    source: Model,
    model: Model,
    feeds: dict[str, Array],
    names: list[str],
    device: Any,
    *,
    optimise: bool,
) -> float:
    want = Session(source, device=device, optimise=optimise).run(feeds, names)
    got = Session(model, device=device, optimise=optimise).run(feeds, names)
    return max((relative(a, b) for a, b in zip(got, want, strict=True)), default=0.0)


def _map_difference(
    source: Model,
    explained: compose.Explained,
    catalog: Catalog,
    model: Model,
    feeds: dict[str, Array],
    device: Any,
) -> float:
    (got,) = Session(model, device=device).run(feeds, [compose.MAP])
    return relative(got, _wanted(source, explained, catalog, feeds, device))


def _wanted(
    source: Model,
    explained: compose.Explained,
    catalog: Catalog,
    feeds: dict[str, Array],
    device: Any,
) -> Array:
    """Return the maps [N, K, ...space] as `onnxcam explain` makes them: enlarged outside."""
    light = explained.model.light
    default = next(t for t in light.graph.initializer if t.name == compose.TARGET)
    targets = numpy_helper.to_array(default)
    plain = compose.explain_graph(
        source,
        catalog,
        explained.method,
        feature=explained.feature if explained.method.takes_feature else None,
        targets=len(targets),
        default=[int(t) for t in targets],
    )
    (maps,) = Session(plain.model, device=device).run(feeds, [compose.MAP])
    said = explained.model.metadata
    how = said["onnxcam.upsampling"]
    layout = catalog.input_layout
    if how != "none" and layout is not None:
        size = tuple(feeds[catalog.input].shape[i] for i in layout.space)
        maps = upsample(maps, size, how)  # type: ignore[arg-type]
    return _normalised(maps, said["onnxcam.normalize"])


def _normalised(maps: Array, how: str) -> Array:
    space = tuple(range(2, maps.ndim))
    low, high = maps.min(space, keepdims=True), maps.max(space, keepdims=True)
    if how == "none":
        return maps
    bottom = low if how == "minmax" else np.zeros_like(low)
    span = high - bottom
    return np.where(span > 0, (maps - bottom) / np.where(span > 0, span, 1), 0)


def relative(got: Any, want: Any) -> float:
    """Return the largest difference over the largest value; NaN in the same place is equal."""
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape:
        return float("inf")
    if got.size == 0 or np.array_equal(got, want, equal_nan=got.dtype.kind == "f"):
        return 0.0
    a, b = got.astype(np.float64), want.astype(np.float64)
    return float(np.nanmax(np.abs(a - b)) / (np.nanmax(np.abs(b)) or 1.0))
