"""What is known of a model, written down: a second start reads it and finds nothing out again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from onnxcam.analysis import layers, layout
from onnxcam.analysis.geometry.records import Area, Place, Reach
from onnxcam.analysis.layers import Asked, Candidate, Catalog, Reduction
from onnxcam.analysis.layers.candidates import PLACE as LAYERS
from onnxcam.analysis.layers.modules import Origin
from onnxcam.analysis.layers.records import Best
from onnxcam.analysis.layout import Known, Layout
from onnxcam.analysis.layout.known import PLACE as TENSORS
from onnxcam.graph.emit import Dim
from onnxcam.model.model import Model


def written(model: Model, asked: Asked | None) -> bytes:
    """Return what is known of a model's tensors and layers; what is not known yet is found out.

    Args:
        model: The model.
        asked: As for :func:`onnxcam.analysis.layers.catalog`.

    Raises:
        OnnxcamError: As there.
    """
    catalog = layers.catalog(model, asked)
    parts = {TENSORS: asdict(layout.known(model)), LAYERS: asdict(catalog)}
    return json.dumps(parts, separators=(",", ":")).encode()


def read(model: Model, asked: Asked | None, data: bytes) -> bool:
    """Keep with a model what is written of it; tell whether it could be read."""
    try:
        parts = json.loads(data)
        known, catalog = _known(parts[TENSORS]), _catalog(parts[LAYERS])
    except (ValueError, LookupError, TypeError, AttributeError):
        return False
    model.findings[TENSORS] = known
    model.findings.setdefault(LAYERS, {})[asked or Asked()] = catalog
    return True


def _known(said: Mapping[str, Any]) -> Known:
    shapes = {name: tuple(shape) for name, shape in said["shapes"].items()}
    layouts = {name: _needed_layout(each) for name, each in said["layouts"].items()}
    return Known(shapes, layouts)


def _catalog(said: Mapping[str, Any]) -> Catalog:
    candidates = tuple(map(_candidate, said["candidates"]))
    default = said["feature"] and said["feature"]["name"]
    feature = next((c for c in candidates if c.name == default), None)
    return Catalog(**{
        **said,
        "candidates": candidates,
        "feature": feature,
        "warnings": tuple(said["warnings"]),
        "reduction": _reduction(said["reduction"]),
        "input_layout": _layout(said["input_layout"]),
        "input_positions": _layout(said["input_positions"]),
    })  # fmt: skip


def _reduction(said: Mapping[str, Any]) -> Reduction:
    best = said["best"] and Best(**said["best"])
    texts = {name: tuple(said[name]) for name in ("labels", "others", "space")}
    return Reduction(**{**said, **texts, "best": best})


def _candidate(said: Mapping[str, Any]) -> Candidate:
    return Candidate(**{
        **said,
        "shape": _shape(said["shape"]),
        "layout": _layout(said["layout"]),
        "origin": Origin(**said["origin"]),
        "area": said["area"] and _area(said["area"]),
    })  # fmt: skip


def _area(said: Mapping[str, Any]) -> Area:
    reaches = (Reach(*(Place(*place) for place in reach)) for reach in said["reaches"])
    return Area(tuple(reaches), said["doubt"])


def _layout(said: Mapping[str, Any] | None) -> Layout | None:
    return None if said is None else _needed_layout(said)


def _needed_layout(said: Mapping[str, Any]) -> Layout:
    pieces = tuple(tuple(map(tuple, axis)) for axis in said["pieces"])
    more = tuple(map(tuple, said.get("more", ())))
    return Layout(**{**said, "grid": tuple(said["grid"]), "pieces": pieces, "more": more})


def _shape(said: list[Dim] | None) -> tuple[Dim, ...] | None:
    return None if said is None else tuple(said)
