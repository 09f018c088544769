"""What all models that onnxcam makes have in common: what they come from, and how they say so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from onnx import ModelProto

from onnxcam.autodiff.api import provenance
from onnxcam.compose.plan import Plan
from onnxcam.errors import UsageError
from onnxcam.model.draft import Draft
from onnxcam.model.model import Model
from onnxcam.names import GRADIENT
from onnxcam.version import __version__

_MARK = "onnxcam.method"


@dataclass(frozen=True)
class Made:
    """A model that was made of another one.

    Attributes:
        model: The model; it shares the weights of the one that it was made of.
        plan: What was asked for.
    """

    model: Model
    plan: Plan

    @property
    def gradient(self) -> str:
        """How true its gradient is: "exact" or "straight-through (operators)"."""
        return self.model.metadata[GRADIENT]

    @property
    def proto(self) -> ModelProto:
        """A full copy of the model, weights and all."""
        return self.model.proto


def origin(draft: Draft, model: Model, plan: Plan, method: str) -> dict[str, str]:
    """Return the entries of the metadata that say what a model was made of, and how."""
    reduction = plan.catalog.reduction
    return {
        "onnxcam.version": __version__,
        "onnxcam.source.sha256": model.sha256,
        "onnxcam.method": method,
        "onnxcam.reduction_layer": reduction.name,
        "onnxcam.builder": "native",
        "onnxcam.score": reduction.kind,
        "onnxcam.final": reduction.final or "none",
        "onnxcam.quantity": plan.target.described(None, plan.default[0]),
        GRADIENT: provenance(draft.op),
    }


def described(plan: Plan) -> dict[str, str]:
    """Return the entries of the metadata that say which maps a model returns."""
    layers = dict.fromkeys(m.feature.name for m in plan.maps)
    entries = {
        "onnxcam.feature_layer": ", ".join(layers),
        "onnxcam.upsampling": plan.upsampling,
        "onnxcam.normalize": plan.normalize,
        "onnxcam.fp16_safe": str(plan.single).lower(),
        "onnxcam.signed": str(all(m.method.signed for m in plan.maps)).lower(),
    }
    if len(plan.maps) > 1:
        records = [
            {
                "name": m.name,
                "method": m.method.name,
                "feature_layer": m.feature.name,
                "signed": m.method.signed,
            }
            for m in plan.maps
        ]
        entries["onnxcam.maps"] = json.dumps(records, ensure_ascii=False)
    return entries


def holds(model: Model) -> Mapping[str, str] | None:
    """Return the provenance of an explained model, None for any other."""
    found = {k: v for k, v in model.metadata.items() if k.startswith("onnxcam.")}
    return found if _MARK in found else None


def unexplained(model: Model) -> Model:
    """Return a model that is not explained already.

    Raises:
        UsageError: It is.
    """
    found = holds(model)
    if found is None:
        return model
    said = ", ".join(
        f"{key.removeprefix('onnxcam.')} {found[key]}"
        for key in (_MARK, "onnxcam.feature_layer", "onnxcam.wrt", "onnxcam.version")
        if key in found
    )
    raise UsageError(
        f"the model is explained already ({said})", "convert the original model instead"
    )
