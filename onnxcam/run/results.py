"""From a map to an :class:`Explanation`: enlarged, with what its reader needs to know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np

from onnxcam.analysis.layers import Candidate, Catalog
from onnxcam.analysis.layout import Layout
from onnxcam.inputs import Prepared
from onnxcam.methods import Method
from onnxcam.model.model import Model
from onnxcam.output.explanation import Explanation
from onnxcam.output.upsample import Method as Upsampling
from onnxcam.output.upsample import upsample
from onnxcam.run.scores import probability
from onnxcam.run.session import Provider

Array: TypeAlias = np.ndarray[Any, Any]


class Source(Protocol):
    """What made a map."""

    @property
    def model(self) -> Model:
        """The model."""

    @property
    def catalog(self) -> Catalog:
        """Its layers."""

    @property
    def method(self) -> Method:
        """The method."""

    @property
    def feature(self) -> Candidate:
        """The feature layer."""

    @property
    def upsampling(self) -> Upsampling:
        """How the map comes to the input's size."""

    @property
    def provider(self) -> Provider:
        """Where it ran and why."""

    @property
    def gradient(self) -> str:
        """How true the gradient is."""


def explanation(
    source: Source,
    prepared: Prepared,
    raw: Array,
    signed: Array,
    scores: Array,
    target: int,
    diagnosis: tuple[str, ...],
    labels: tuple[str, ...] | None,
    *,
    parameters: Mapping[str, Any] | None = None,
    error: Array | None = None,
) -> Explanation:
    """Return the explanation of one input and target.

    Args:
        source: What made the map.
        prepared: The input.
        raw: float32 [*space], the map.
        signed: float32 [*space], the map before its negative part was cut off.
        scores: float [C].
        target: Index of the class.
        diagnosis: What looks wrong, in words.
        labels: Names of the classes, None where nothing says them.
        parameters: Of the method, and what else it found.
        error: float32 [*space], the map's standard error; None for what is not random.
    """
    layout = source.catalog.input_layout
    size = _spatial_size(prepared.tensor, layout, raw.ndim)
    upsampling = source.upsampling if size is not None else "none"
    return Explanation(
        map=upsample(raw, size or raw.shape, upsampling),
        raw_map=raw,
        signed_map=signed,
        scores=scores,
        target=target,
        label=labels[target] if labels and target < len(labels) else None,
        probability=probability(scores, target, source.catalog.reduction),
        feature_layer=source.feature.name,
        reduction_layer=source.catalog.reduction.name,
        method=source.method.name,
        parameters={**(parameters or {}), "upsampling": upsampling},
        diagnosis=diagnosis,
        source=prepared.source,
        picture=prepared.picture,
        box=prepared.box,
        tensor=prepared.tensor[0],
        layout=_unbatched(layout),
        model_sha256=source.model.sha256,
        provider=source.provider.name,
        gradient=source.gradient,
        labels=labels,
        standard_error=error,
    )


def _spatial_size(tensor: Array, layout: Layout | None, rank: int) -> tuple[int, ...] | None:
    """Return the spatial size of the input that a map of this rank is laid over."""
    if layout is None or len(layout.space) != rank or len(layout.axes) != tensor.ndim:
        return None
    return tuple(tensor.shape[i] for i in layout.space)


def _unbatched(layout: Layout | None) -> str | None:
    return None if layout is None or "?" in layout.axes else layout.axes.replace("N", "")
