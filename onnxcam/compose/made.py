"""What all models that onnxcam makes have in common: what they come from, and how they say so."""

from __future__ import annotations

from dataclasses import dataclass

from onnx import ModelProto

from onnxcam.analysis.layers import Catalog
from onnxcam.autodiff.api import provenance
from onnxcam.compose.wish import Wish
from onnxcam.model.draft import Draft
from onnxcam.model.model import Model
from onnxcam.names import GRADIENT
from onnxcam.version import __version__


@dataclass(frozen=True)
class Made:
    """A model that was made of another one.

    Attributes:
        model: The model; it shares the weights of the one that it was made of.
        wish: What was asked for.
    """

    model: Model
    wish: Wish

    @property
    def gradient(self) -> str:
        """How true its gradient is: "exact" or "straight-through (operators)"."""
        return self.model.metadata[GRADIENT]

    @property
    def proto(self) -> ModelProto:
        """A full copy of the model, weights and all."""
        return self.model.proto


def origin(draft: Draft, model: Model, catalog: Catalog, method: str) -> dict[str, str]:
    """Return the entries of the metadata that say what a model was made of, and how."""
    return {
        "onnxcam.version": __version__,
        "onnxcam.source.sha256": model.sha256,
        "onnxcam.method": method,
        "onnxcam.reduction_layer": catalog.reduction.name,
        "onnxcam.builder": "native",
        "onnxcam.score": catalog.reduction.kind,
        "onnxcam.final": catalog.reduction.final or "none",
        GRADIENT: provenance(draft.op),
    }
