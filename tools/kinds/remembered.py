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
    """Let methods remember their slowest parts: sessions, regions by colour, factors of a layer."""
    from onnxcam.methods.cam import craft, dff
    from onnxcam.methods.gradient import xrai
    from onnxcam.methods.perturb import regions

    if hasattr(dff.factors, "__wrapped__"):
        return
    _sessions()
    dff.factors = craft.factors = remembered(dff.factors)  # type: ignore[attr-defined]
    for module, name in ((xrai, "segments"), (regions, "regions")):
        setattr(module, name, remembered(getattr(module, name)))


def _sessions() -> None:
    """Let methods that run a network many times share the parts that they run, and their sessions.

    What they need says which parts these are, not their names.
    """
    from onnxcam.methods.tunnel import Tunnelled
    from onnxcam.run import sampling

    parts, session = sampling.parts, sampling.Session
    made: dict[Any, Any] = {}
    opened: dict[int, tuple[Any, Any]] = {}

    def shared(
        model: Any, catalog: Any, method: Any, feature: Any, target: Any, detector: Any,
        settings: Any, **how: Any,
    ) -> Any:  # fmt: skip
        own = (method.name, repr(settings)) if isinstance(method, Tunnelled) else ()
        needed = (frozenset(method.needs), method.kind, feature.name, own)
        key = (id(model), id(catalog), needed, target, id(detector), repr(how))
        if key not in made:
            made[key] = (
                parts(model, catalog, method, feature, target, detector, settings, **how),
                model,
                catalog,
            )
        return made[key][0]

    def one(model: Any, **how: Any) -> Any:
        if id(model) not in opened:
            opened[id(model)] = (session(model, **how), model)
        return opened[id(model)][0]

    sampling.parts = shared  # type: ignore[attr-defined]
    sampling.Session = one  # type: ignore[misc,assignment]
