"""An explanation as a record: what JSON and NPZ hold of it, by the schema in docs/."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from onnxcam.errors import json_text
from onnxcam.version import __version__

FORMAT = 1
"""Version of the schema: it rises when a key goes or changes its meaning, not when one comes."""

ARRAYS = ("map", "raw_map", "signed_map", "scores", "target")
MORE_ARRAYS = ("standard_error", "relief")  # where the method has them


def summary(e: Any) -> dict[str, Any]:
    """Return everything of an :class:`~onnxcam.output.explanation.Explanation` but its arrays."""
    order = np.argsort(e.scores)[::-1][:5]
    peak = np.unravel_index(int(np.argmax(e.map)), e.map.shape) if e.map.size else ()
    return {
        "format": FORMAT,
        "source": e.source,
        "target": e.target if e.target >= 0 else None,
        "label": e.label,
        "quantity": e.quantity,
        "score": _number(e.score),
        "probability": e.probability,
        "top": [
            {"class": int(i), "label": _label(e, int(i)), "score": _number(e.scores[i])}
            for i in order
        ],
        "method": e.method,
        "parameters": dict(e.parameters),
        "signed": e.signed,
        "style": e.style,
        "gradient": e.gradient,
        "feature_layer": e.feature_layer,
        "reduction_layer": e.reduction_layer,
        "map": {
            "shape": list(e.map.shape),
            "raw_shape": list(e.raw_map.shape),
            "min": _number(e.map.min()),
            "max": _number(e.map.max()),
            "peak": [int(i) for i in peak],
            "standard_error": _error(e),
            "laid": e.laid,
        },
        "box": e.box,
        "detection": e.detection and e.detection.as_dict(),
        "preprocessing": e.preprocessing or None,
        "diagnosis": list(e.diagnosis),
        "model_sha256": e.model_sha256,
        "provider": e.provider,
        "onnxcam": __version__,
    }


def npz(e: Any) -> bytes:
    """Return an .npz file with the arrays, and the summary as JSON in ``info``."""
    buffer = io.BytesIO()
    arrays = {name: getattr(e, name) for name in ARRAYS}
    more = {name: getattr(e, name) for name in MORE_ARRAYS if getattr(e, name) is not None}
    np.savez_compressed(buffer, **arrays, **more, info=json_text(summary(e), None))
    return buffer.getvalue()


def _error(e: Any) -> float | None:
    """Return the root mean square of the map's standard error, in its units."""
    if e.standard_error is None:
        return None
    return _number(np.sqrt(np.mean(np.square(e.standard_error, dtype=np.float64))))


def _label(e: Any, index: int) -> str | None:
    return e.labels[index] if e.labels and index < len(e.labels) else None


def _number(value: Any) -> float | None:
    """Return a float that JSON can hold: None where it is not finite."""
    return float(value) if np.isfinite(value) else None
