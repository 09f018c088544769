"""Ranks and sizes that a graph does not say, found by running it: a traced run.

A tensor behind a branch that drops an axis, a loop or an operator of somebody's own has no shape
that can be inferred, and neither has what follows it. Where such a tensor lies between input and
score, the file is run on random inputs: with two batches, and two sizes of a picture that may have
any. What stays the same is a size; what is as long as the batch is one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from onnx import ModelProto, TypeProto, helper

from onnxcam.analysis.layers import Asked, Catalog
from onnxcam.errors import InputError, ModelError, OnnxcamError
from onnxcam.graph.emit import Dim, proto_shape
from onnxcam.model.draft import exposed
from onnxcam.model.model import Model
from onnxcam.run.cache import analysed, key_of, said_by, saying
from onnxcam.run.samples import Array, sample_feeds
from onnxcam.run.session import Session
from onnxcam.run.store import Store

# Batch, extent of space, length of a text, of each run.
_FREE = ((2, 64, 4), (3, 64, 4), (2, 96, 5)), ((2, 224, 4), (3, 224, 4), (2, 256, 5))
_FIXED = (((1, 64, 1), (1, 64, 1)),)
_COUNTING = ("Compress", "NonMaxSuppression", "NonZero", "Unique")  # as many as the values say
_Sizes = dict[str, tuple[str, list[Dim]]]  # dtype and shape, by the name of the tensor


def sized(model: Model, asked: Asked, kept: Store | None) -> Model:
    """Return a model whose tensors have the ranks and sizes that only a run tells.

    Args:
        model: A loaded model.
        asked: What is said of its score and input.
        kept: Where what is found is kept; None for nowhere.

    Returns:
        The model itself where the graph says all that is needed, or it cannot be run.
    """
    try:
        catalog = analysed(model, asked, kept)
    except OnnxcamError:
        return model  # whoever asks for its layers hears why
    if not _lacks(catalog):
        return model
    key = None if kept is None else f"{key_of(model, ['traced'])}.traced"
    said = None if kept is None or key is None else said_by(kept.get(key))
    found: _Sizes = _traced(model) if said is None else json.loads(said)
    if kept is not None and key is not None and said is None:
        kept.put(key, saying(json.dumps(found).encode()))
    return _with(model, found) if found else model


def _lacks(catalog: Catalog) -> bool:
    """Tell whether a layer could not be read, or what the axes of the scores count is a guess."""
    layers = catalog.candidates
    unread = any(c.unread for c in layers)
    ranks = any(c.shape is None for c in layers)
    guessed = not catalog.reduction.sure
    early = unread and (catalog.feature is None or bool(catalog.warnings))
    return ranks or guessed or early


def _traced(model: Model) -> _Sizes:
    """Run a model on random inputs; return what the graph does not say of its tensors."""
    names = list(_unknown(model.light))
    if not names:
        return {}
    try:
        session = Session(exposed(model, names), device="cpu", optimise=False)
    except (ModelError, InputError):
        return {}
    free = any(not isinstance(d, int) for p in model.inputs for d in p.shape or ())
    for runs in _FREE if free else _FIXED:
        try:
            values = [session.run(feed, names) for feed in _feeds(model, runs)]
        except (ModelError, InputError):
            continue
        batch = [size for size, _, _ in runs] if free else []
        each = zip(names, zip(*values, strict=True), strict=True)
        found = ((name, _shape(arrays, batch, _symbol(model))) for name, arrays in each)
        counted = _counted(model.light)
        return {
            name: (shape[0], [None] * len(shape[1]) if name in counted else shape[1])
            for name, shape in found
            if shape is not None
        }
    return {}


def _feeds(model: Model, runs: Sequence[tuple[int, int, int]]) -> Iterable[dict[str, Array]]:
    for seed, (batch, space, length) in enumerate(runs):
        yield sample_feeds(model, seed=seed, batch=batch, space=space, length=length)


def _counted(light: ModelProto) -> set[str]:
    """Return the tensors whose sizes may depend on values: a run tells their ranks alone."""
    found: set[str] = set()
    for node in light.graph.node:
        inside = bool(found) and any(a.type == a.GRAPH for a in node.attribute)  # it may read them
        if node.op_type in _COUNTING or inside or not found.isdisjoint(node.input):
            found.update(node.output)
    return found


def _unknown(light: ModelProto) -> Iterable[str]:
    """Yield the tensors of the main graph of which a rank or a size is not known."""
    infos = (*light.graph.value_info, *light.graph.output)
    known = {v.name: v for v in infos if v.type.HasField("tensor_type")}
    others = {v.name for v in infos if v.type.WhichOneof("value") not in (None, "tensor_type")}
    for node in light.graph.node:
        for name in node.output:
            if name and name not in others and not _is_said(known.get(name)):
                yield name


def _is_said(info: object) -> bool:
    shape = None if info is None else proto_shape(info.type)  # type: ignore[attr-defined]
    return shape is not None and all(isinstance(d, int) for d in shape)


def _symbol(model: Model) -> str | None:
    """Return what the batch is called."""
    first = (p.shape[0] for p in model.inputs if p.shape)
    return next((d for d in first if isinstance(d, str)), None)


def _shape(
    arrays: Sequence[Array], batch: Sequence[int], symbol: str | None
) -> tuple[str, list[Dim]] | None:
    """Return dtype and shape of a tensor that came out so in all runs; None where ranks differ."""
    if any(not isinstance(a, np.ndarray) or a.dtype.kind not in "fiub" for a in arrays):
        return None
    if len({a.ndim for a in arrays}) != 1:
        return None
    dims: list[Dim] = []
    for sizes in zip(*(a.shape for a in arrays), strict=True):
        if list(sizes) == batch:
            dims.append(symbol)
        else:
            dims.append(int(sizes[0]) if len(set(sizes)) == 1 else None)
    return arrays[0].dtype.name, dims


def _with(model: Model, found: Mapping[str, tuple[str, list[Dim]]]) -> Model:
    """Return a model whose graph says these shapes; what it says already stays."""
    light = ModelProto()
    light.CopyFrom(model.light)
    infos = {v.name: v for v in (*light.graph.value_info, *light.graph.output)}
    many = 0
    for name, (dtype, dims) in found.items():
        info = infos.get(name) or light.graph.value_info.add(name=name)
        old = proto_shape(info.type) if info.type.HasField("tensor_type") else None
        if old is not None and len(old) != len(dims):
            continue
        many += old is None
        best = [
            o if isinstance(o, int) or n is None else n
            for o, n in zip(old or dims, dims, strict=True)
        ]
        info.type.CopyFrom(_type(np.dtype(dtype), best))
    note = f"{many} tensors have the ranks of a run on random inputs: the graph does not say them"
    notes = (*model.notes, *([note] if many else []))
    return Model(light, model.weights, model.digest, model.path, notes, model.before)


def _type(dtype: np.dtype[np.generic], dims: Sequence[Dim]) -> TypeProto:
    return helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(dtype), list(dims))
