"""Compiled models, kept on disk: the gradient is written behind a model once.

What is known of a model's tensors and layers is kept with them, so that it is found out once.

An entry is a *light* explained model: the graph without the large weights, which stay in the
model's own file (a few hundred kilobytes for a network of a hundred megabytes). Its name is a hash
of all that it depends on: the model with its weights, the options, the versions and the code of
onnxcam. Entries are written to a file beside their place and moved there, so another process sees
a whole entry or none; what is damaged is made again.

ONNXCAM_CACHE names another folder, or is "off"; ONNXCAM_CACHE_MB is the most that it may hold.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto

from onnxcam import compose, version
from onnxcam.analysis import layers, record
from onnxcam.analysis.layers import Asked, Catalog
from onnxcam.analysis.layers.formats import Describing
from onnxcam.autodiff import registry
from onnxcam.methods import GraphMethod, graph
from onnxcam.model.model import Model
from onnxcam.run.store import Store

_LOG = logging.getLogger(__name__)
_TEXT = "onnxcam.text"  # where an entry that is no model holds what it says


def explained(model: Model, plan: compose.Plan, kept: Store | None) -> Model:
    """Return the model that an Explainer runs, from the store where it is there.

    Args:
        model: The model.
        plan: What it returns.
        kept: Where compiled models are kept; None makes the model every time.

    Raises:
        UnsupportedOp: No gradient between score and feature layer.
    """
    key = name_of(model, plan, kept)
    if kept is not None and key is not None:
        light = _parsed(kept.get(key))
        if light is not None:
            _LOG.info("explained model taken from the store")
            return Model(light, model.weights, model.digest, libraries=model.libraries)
    made = compose.plan_graph(model, plan, direct=True).model
    _LOG.info("gradient written behind the model: %d nodes", len(made.light.graph.node))
    if kept is not None and key is not None and made.weights is model.weights:
        kept.put(key, made.light.SerializeToString())
    return made


def name_of(model: Model, plan: compose.Plan, kept: Store | None) -> str | None:
    """Return the name of what a plan makes of a model; None where nothing is kept of it."""
    if kept is None or plan.key is None or registry.extended():
        return None
    foreign = any(_is_foreign(m.graph) for m in plan.maps) or registry.is_foreign(type(plan.target))
    return None if foreign else key_of(model, plan.key)


def analysed(model: Model, asked: Asked, kept: Store | None) -> Catalog:
    """Return the layers of a model, from the store where they are there.

    Args:
        model: The model.
        asked: As for :func:`onnxcam.analysis.layers.catalog`.
        kept: Where what is known of a model is kept; None finds it out.

    Raises:
        OnnxcamError: As for :func:`onnxcam.analysis.layers.catalog`.
    """
    if kept is not None and not registry.extended():
        key = f"{key_of(model, [repr(asked)])}.layers"
        said = said_by(kept.get(key))
        if said is None or not record.read(model, asked, said):
            kept.put(key, saying(record.written(model, asked)))
    return layers.catalog(model, asked)


def looked_through(
    model: Model,
    said: Asked,
    input_format: str | None,
    feature_format: str | None,
    feature_layer: str | Sequence[str] | None,
    preprocess: Describing,
    kept: Store | None,
) -> tuple[str, Catalog]:
    """Return the input that callers give, and the layers of a model.

    Args:
        model: The model.
        said: What is said of the score and the input.
        input_format: As for :func:`onnxcam.analysis.layers.asked`.
        feature_format: Likewise.
        feature_layer: Likewise.
        preprocess: Likewise.
        kept: Where what is known of a model is kept; None finds it out.

    Raises:
        OnnxcamError: As for :func:`onnxcam.analysis.layers.catalog`.
    """
    fed = analysed(model, said, kept).input
    asked = layers.asked(model, said, input_format, feature_format, feature_layer, preprocess)
    return fed, analysed(model, asked, kept)


def saying(text: bytes) -> bytes:
    """Return an entry that holds a text: a model without a graph, as all entries are models."""
    holder = ModelProto()
    holder.metadata_props.add(key=_TEXT, value=text.decode())
    return bytes(holder.SerializeToString())


def said_by(data: bytes | None) -> bytes | None:
    """Return the text that an entry holds; None where it holds none, or there is no entry."""
    holder = _parsed(data)
    props = [] if holder is None else holder.metadata_props
    return next((p.value.encode() for p in props if p.key == _TEXT), None)


def _parsed(data: bytes | None) -> ModelProto | None:
    try:
        return None if data is None else ModelProto.FromString(data)
    except DecodeError:
        return None


def _is_foreign(method: GraphMethod) -> bool:
    """Tell whether a method is not onnxcam's own: nothing says when its code changes."""
    rules = [method.emit, *(o.rule for o in method.backward().items)]
    return any(map(registry.is_foreign, rules)) or any(_is_foreign(graph(m)) for m in method.maps)


def key_of(model: Model, options: list[str]) -> str:
    """Return the name of an entry: a hash of all that it depends on."""
    found = hashlib.sha256(_code() + _content(model))
    for text in (model.sha256, *options):
        found.update(f"{len(text)}:{text}".encode())
    return found.hexdigest()


def _content(model: Model) -> bytes:
    """Return a hash of the graph and of the weights that the model's own hash leaves out."""
    if "content" not in model.findings:
        found = hashlib.sha256(model.light.SerializeToString(deterministic=True))
        for name in sorted(model.weights.external):
            found.update(model.weights[name].data)
        model.findings["content"] = found.digest()
    content: bytes = model.findings["content"]
    return content


@cache
def _code() -> bytes:
    """Return a hash of the versions and of the state of onnxcam's own files."""
    found = hashlib.sha256(f"{version.__version__} {onnx.__version__}".encode())
    package = Path(version.__file__).parent
    for path in sorted(package.rglob("*.py")):
        state = path.stat()
        found.update(f"{path.relative_to(package)} {state.st_size} {state.st_mtime_ns};".encode())
    return found.digest()
