"""From a map to an :class:`Explanation`: enlarged, with what its reader needs to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from onnxcam.analysis.geometry import Area
from onnxcam.analysis.layers import Candidate, Catalog, Reduction
from onnxcam.analysis.layout import Layout
from onnxcam.inputs import InputSpec, Prepared
from onnxcam.methods import Method
from onnxcam.model.model import Model
from onnxcam.output.explanation import Explanation
from onnxcam.output.upsample import Method as Upsampling
from onnxcam.output.upsample import upsample
from onnxcam.run.hardware import Provider
from onnxcam.run.scores import claimed

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Origin:
    """What made a map.

    Attributes:
        model: The model.
        catalog: Its layers.
        method: The method.
        feature: The feature layer.
        upsampling: How the map comes to the input's size.
        provider: Where it ran and why.
        gradient: How true the gradient is.
        others: More feature layers, whose maps are fused with that of the first.
    """

    model: Model
    catalog: Catalog
    method: Method
    feature: Candidate
    upsampling: Upsampling
    provider: Provider
    gradient: str
    others: tuple[Candidate, ...] = ()


@dataclass(frozen=True)
class Finding:
    """What was found of one input and target.

    Attributes:
        raw: float32 [*space], the map.
        signed: float32 [*space], the map before its negative part was cut off.
        scores: float [C].
        target: Index of the class; -1 for none.
        diagnosis: What looks wrong, in words.
        parameters: Of the method, and what else it found.
        error: float32 [*space], the map's standard error; None for what is not random.
        quantity: What of the class is explained, in words.
        value: That quantity, None where it is the score.
        relief: float32 [C, *space], the signed values that the map is made of; None for none.
    """

    raw: Array
    signed: Array
    scores: Array
    target: int
    diagnosis: tuple[str, ...]
    parameters: Mapping[str, Any]
    error: Array | None = None
    quantity: str = "score"
    value: float | None = None
    relief: Array | None = None


def explanation(
    origin: Origin, prepared: Prepared, found: Finding, labels: tuple[str, ...] | None
) -> Explanation:
    """Return the explanation of one input and target.

    Args:
        origin: What made the map.
        prepared: The input.
        found: What was found.
        labels: Names of the classes, None where nothing says them.
    """
    layout, reduction = origin.catalog.input_layout, origin.catalog.reduction
    size = _spatial_size(prepared.tensor, layout, found.raw.ndim)
    upsampling = origin.upsampling if size is not None else "none"
    index, count = found.target, len(found.scores)
    names = labels if labels and len(labels) == count else None
    said = (*found.diagnosis, *_notes(reduction, labels, count))
    return Explanation(
        **_laid(origin, found.raw, size),
        raw_map=found.raw,
        signed_map=found.signed,
        scores=found.scores,
        target=index,
        label=names[index] if names and index >= 0 else None,
        probability=claimed(found.scores, index, reduction, names),
        feature_layer=" + ".join(dict.fromkeys(x.name for x in (origin.feature, *origin.others))),
        reduction_layer=reduction.name,
        method=origin.method.name,
        parameters={**found.parameters, "upsampling": upsampling},
        diagnosis=(*said, *_of_layer(origin, found, prepared.tensor, size)),
        source=prepared.source,
        preprocessing=prepared.recipe,
        picture=prepared.picture,
        box=prepared.box,
        tensor=prepared.tensor[0],
        layout=_unbatched(layout),
        unfolded=_unfolded(layout, prepared.tensor),
        model_sha256=_sha256(origin),
        provider=origin.provider.name,
        gradient=origin.gradient,
        labels=names,
        signed=origin.method.signed,
        quantity=found.quantity,
        value=found.value,
        standard_error=found.error,
        style=origin.method.style,
        relief=_in_colours(found.relief, prepared.spec if origin.method.on_input else None),
    )


def _in_colours(relief: Array | None, spec: InputSpec | None) -> Array | None:
    """Return the signed values of channels in the order red, green, blue."""
    reverse = relief is not None and spec is not None and spec.channels == "BGR"
    return relief[::-1] if reverse and relief is not None else relief


def _notes(reduction: Reduction, labels: tuple[str, ...] | None, count: int) -> list[str]:
    """Return what is to be known of the scores, in words, and of names that do not fit them."""
    said = [reduction.note] if reduction.note else []
    if labels and len(labels) != count:
        said.append(f"{len(labels)} names for {count} scores: they are not used")
    return said


def _sha256(origin: Origin) -> str:
    """Return the hash of the model, whose files nobody wrote to meanwhile."""
    origin.model.check_unchanged()
    return origin.model.sha256


def _laid(origin: Origin, raw: Array, size: tuple[int, ...] | None) -> dict[str, Any]:
    """Return the map at the input's size, and where it lies, in words."""
    said: dict[str, Any] = {"at_layer": not origin.method.on_input}
    if size is None:
        return {"map": upsample(raw, raw.shape, "none"), **said}
    area = (None if origin.others else origin.feature.area) or Area()  # each was laid for itself
    large = upsample(raw, size, origin.upsampling, area.spans(size))
    return {"map": large, "laid": area.described(size, raw.shape), **said}


def _of_layer(
    origin: Origin, found: Finding, tensor: Array, size: tuple[int, ...] | None
) -> tuple[str, ...]:
    """Return what the choice of the layer makes of the map, in words."""
    said = origin.catalog.warnings_of(origin.feature, *origin.others)
    said = (*said, *_unplaced(origin, tensor, size))
    if found.raw.size == 1:
        return (*said, "the map has a single position: it says nothing of where")
    return said


def _unplaced(origin: Origin, tensor: Array, size: tuple[int, ...] | None) -> list[str]:
    """Return that the map could not be laid over its input, whose axes nobody could read."""
    catalog = origin.catalog
    read = catalog.input_positions if catalog.input_layout is None else catalog.input_layout
    unread = tensor.ndim > 2 and (read is None or "?" in read.axes)
    if size is not None or origin.upsampling == "none" or not unread or tensor.dtype.kind != "f":
        return []
    return [
        f"the axes of the input {catalog.input!r}{'' if read is None else f' ({read.axes})'} could "
        "not be read: the map has the layer's own positions; say them with `input_format`"
    ]


def _spatial_size(tensor: Array, layout: Layout | None, rank: int) -> tuple[int, ...] | None:
    """Return the spatial size of the input that a map of this rank is laid over."""
    if layout is None or len(layout.axes) != tensor.ndim:
        return None
    size = layout.sizes(tensor.shape)
    return size if size is not None and len(size) == rank else None


def _unfolded(layout: Layout | None, tensor: Array) -> tuple[str, tuple[int, ...]] | None:
    """Return axes and shape, without the batch, of what an input is the flattened form of."""
    found = None if layout is None else layout.unfolded(tensor.shape)
    if found is None:
        return None
    return found[0][1:], tuple(d for d in found[1][1:] if isinstance(d, int))


def _unbatched(layout: Layout | None) -> str | None:
    return None if layout is None or "?" in layout.axes else layout.axes.replace("N", "")
