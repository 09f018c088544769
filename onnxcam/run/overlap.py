"""How much boxes overlap."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]


def overlap(boxes: Array, box: Array) -> Array:
    """Return the intersection over union of boxes [R, 4] with one, float [R]."""
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    shared = np.clip(high - low, 0, None).prod(1)
    areas = [np.clip(b[..., 2:] - b[..., :2], 0, None).prod(-1) for b in (boxes, np.asarray(box))]
    whole = areas[0] + areas[1] - shared
    share: Array = np.divide(shared, whole, out=np.zeros(len(boxes)), where=whole > 0)
    return share
