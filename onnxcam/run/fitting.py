"""Whether a method's map fits the input that it is laid over, and is more than noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from onnxcam.analysis.layers import Candidate
from onnxcam.errors import UsageError
from onnxcam.methods import SampledMethod
from onnxcam.methods.needs import Activation, Input, Layer

Array: TypeAlias = np.ndarray[Any, Any]
_NOISY = 0.25  # a standard error of this part of the map's range


def check_places(
    method: SampledMethod, feature: Candidate, name: str, values: Sequence[Any]
) -> None:
    """Refuse to lay a feature layer over an input that its places do not fit.

    Args:
        method: The method.
        feature: The feature layer.
        name: The input.
        values: What the method needs, in its order.

    Raises:
        UsageError: The input has another rank, or the layer lies on a part of the windows of it.
    """
    given = dict(zip(method.needs, values, strict=True))
    if method.windows and feature.area is not None:
        raise UsageError(
            f"{feature.name!r} lies on a part of the input, and so it would of every window of it",
            "use `method='gradcam'`",
        )
    if Input not in given or Activation not in given or method.kind == "repeated":
        return
    ranks = given[Activation].ndim - 1, given[Input].ndim - 1
    if ranks[0] != ranks[1]:
        raise UsageError(
            f"{feature.name!r} has {ranks[0]} axes of space and cannot be laid over the "
            f"input {name!r}, which has {ranks[1]}",
            "choose another feature layer, or a method that does not hide the input",
        )


def misplaced(method: SampledMethod, feature: Candidate) -> tuple[str, ...]:
    """Return a warning where a layer that saw part of the input hides all of it."""
    hides = method.kind == "sampling" and {Input, Activation} <= {*method.needs}
    if not hides or feature.area is None:
        return ()
    return ("the layer lies on a part of the input, and its channels hid all of it evenly",)


def noise(signed: Array, error: Array | None) -> tuple[str, ...]:
    """Return a warning, in words, where a map is hardly more than noise."""
    if error is None or not np.isfinite(error).all():
        return ()
    typical, span = float(np.sqrt(np.mean(error**2))), float(signed.max() - signed.min())
    if typical <= _NOISY * span:
        return ()
    return (f"noisy: the standard error is {typical:.2g}, the map's range {span:.2g}; sample more",)


def channels(method: SampledMethod, values: Sequence[Any]) -> int | None:
    """Return how many channels the feature layer has, where the method needs it."""
    for need, value in zip(method.needs, values, strict=True):
        if need in (Activation, Layer):
            return len(value)
    return None
