"""Explain any ONNX model with nothing but ONNX Runtime."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from onnxcam.version import __version__

if TYPE_CHECKING:
    from onnxcam import methods
    from onnxcam.autodiff.api import vjp_model
    from onnxcam.conversion import convert
    from onnxcam.errors import (
        InputError,
        InternalError,
        ModelError,
        NoDescriptionError,
        OnnxcamError,
        UnsupportedOp,
        UsageError,
    )
    from onnxcam.explain import Explainer
    from onnxcam.matlab import d_rise, grad_cam, image_lime, occlusion_sensitivity
    from onnxcam.model.model import load
    from onnxcam.output.explanation import Explanation
    from onnxcam.output.panel import panel

__all__ = [
    "Explainer",
    "Explanation",
    "InputError",
    "InternalError",
    "ModelError",
    "NoDescriptionError",
    "OnnxcamError",
    "UnsupportedOp",
    "UsageError",
    "__version__",
    "convert",
    "d_rise",
    "grad_cam",
    "image_lime",
    "load",
    "methods",
    "occlusion_sensitivity",
    "panel",
    "vjp_model",
]

_HOMES = {
    "convert": "onnxcam.conversion",
    "Explainer": "onnxcam.explain",
    "Explanation": "onnxcam.output.explanation",
    "d_rise": "onnxcam.matlab",
    "grad_cam": "onnxcam.matlab",
    "image_lime": "onnxcam.matlab",
    "load": "onnxcam.model.model",
    "methods": "onnxcam.methods",
    "panel": "onnxcam.output.panel",
    "occlusion_sensitivity": "onnxcam.matlab",
    "vjp_model": "onnxcam.autodiff.api",
    **dict.fromkeys([name for name in __all__ if name.endswith("Error")], "onnxcam.errors"),
    "UnsupportedOp": "onnxcam.errors",
}

if not TYPE_CHECKING:  # a checker shall know what there is, and what is misspelt

    def __getattr__(name: str) -> object:
        """Import the public names when they are first used: `import onnxcam` stays cheap."""
        if name not in _HOMES:
            raise AttributeError(f"module 'onnxcam' has no attribute {name!r}")
        home = import_module(_HOMES[name])
        value = home if home.__name__ == f"{__name__}.{name}" else getattr(home, name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """Return all names, also those that nobody has used yet."""
    return sorted({*globals(), *__all__})
