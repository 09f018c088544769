"""Explain any ONNX model with nothing but ONNX Runtime."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from onnxcam.version import __version__

if TYPE_CHECKING:
    from onnxcam.conversion import convert
    from onnxcam.explain import Explainer
    from onnxcam.output.explanation import Explanation

__all__ = ["Explainer", "Explanation", "__version__", "convert"]

_HOMES = {
    "convert": "onnxcam.conversion",
    "Explainer": "onnxcam.explain",
    "Explanation": "onnxcam.output.explanation",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used: `import onnxcam` stays cheap."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'onnxcam' has no attribute {name!r}")
