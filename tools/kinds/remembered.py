"""What methods make of a picture or a layer whatever is asked: computed once for all targets."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

_MOST = 64


def remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of arrays that remembers what it gave for the same ones."""
    found: dict[Any, Any] = {}

    @wraps(function)
    def once(*args: Any) -> Any:
        key = tuple((a.shape, a.tobytes()) if isinstance(a, np.ndarray) else a for a in args)
        if key not in found:
            if len(found) >= _MOST:
                found.clear()
            found[key] = function(*args)
        return found[key]

    return once


def remember() -> None:
    """Let the slowest parts of methods remember: regions by colour, factors of a layer."""
    from onnxcam.methods.cam import dff
    from onnxcam.methods.gradient import xrai
    from onnxcam.methods.perturb import regions

    for module, name in ((dff, "_factors"), (xrai, "segments"), (regions, "regions")):
        function = getattr(module, name)
        if not hasattr(function, "__wrapped__"):
            setattr(module, name, remembered(function))
