"""What a map owes to its feature layer, and what to its gradient: which of them rounding has moved.

Grad-CAM is a sum of products, of the feature layer and the mean gradient of its channels. Made of
one file's feature layer and another one's gradient, it says where two maps part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
NEAR = 1e-3


@dataclass(frozen=True)
class Parts:
    """What Grad-CAM of a class is made of.

    Attributes:
        feature: The feature layer, [1, ...].
        gradient: The gradient of the class's score with respect to it, of the same shape.
    """

    feature: Array
    gradient: Array


def cam(feature: Array, gradient: Array, axis: int, shape: tuple[int, ...]) -> Array:
    """Return the map before its ReLU.

    Args:
        feature: [1, ...].
        gradient: Of the same shape.
        axis: That of the channels.
        shape: Of the map; what stands before its positions (class tokens) is left out.
    """
    cells = int(np.prod(shape))
    planes, slopes = (
        np.moveaxis(t[0].astype(np.float64), axis - 1, 0).reshape(t.shape[axis], -1)[:, -cells:]
        for t in (feature, gradient)
    )
    whole: Array = (planes * slopes.mean(1, keepdims=True)).sum(0).reshape(shape)
    return whole


def channel_axis(parts: Parts, signed: Array) -> int | None:
    """Return the axis whose sum is the map that onnxcam made; None where none is."""
    for axis in range(1, parts.feature.ndim):
        if parts.feature.size // parts.feature.shape[axis] < signed.size:
            continue
        found = cam(parts.feature, parts.gradient, axis, signed.shape)
        if np.linalg.norm(found - signed) <= NEAR * np.linalg.norm(signed):
            return axis
    return None


def contrast(signed: Array) -> float:
    """Return how much a map varies: its deviation over the mean of its size."""
    size = float(np.abs(signed).mean())
    return float(signed.std()) / size if size else 0.0
