"""Pictures for a reader: what a model saw of a photograph, at the size of a page."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from onnxcam.audit.summary import reduced

Array: TypeAlias = np.ndarray[Any, Any]


def seen(picture: Array, box: tuple[float, float, float, float], size: int) -> Array:
    """Return the part of a picture that a model saw.

    Args:
        picture: uint8 [H, W, 3].
        box: x0, y0, x1, y1 of that part, in its pixels; beyond the picture it is black.
        size: Pixels along the longer edge of what is returned.

    Returns:
        uint8 [h, w, 3]: area means where that is smaller than the part, else the nearest pixels.
    """
    x0, y0, x1, y1 = (round(edge) for edge in box)
    height, width = max(y1 - y0, 1), max(x1 - x0, 1)
    part = np.zeros((height, width, 3), np.float32)
    top, left = max(y0, 0), max(x0, 0)
    inside = picture[top : max(min(y1, picture.shape[0]), top),
                     left : max(min(x1, picture.shape[1]), left)]  # fmt: skip
    part[top - y0 : top - y0 + inside.shape[0], left - x0 : left - x0 + inside.shape[1]] = inside
    return scaled(part, size)


def scaled(part: Array, size: int) -> Array:
    """Return pixels float [H, W, 3] from 0 to 255 with this longer edge, uint8."""
    height, width = part.shape[:2]
    scale = size / max(height, width)
    shape = [max(1, round(height * scale)), max(1, round(width * scale))]
    for axis, length in enumerate(shape):
        if length < part.shape[axis]:
            part = reduced(part, axis, length)
        elif length > part.shape[axis]:
            part = part.take((np.arange(length) * part.shape[axis]) // length, axis)
    return np.rint(part).clip(0, 255).astype(np.uint8)


def drawn(array: Array) -> Array | None:
    """Return an array as a picture float [H, W, 3] from 0 to 255; None of what looks like none."""
    values = np.asarray(array)
    while values.ndim > 2 and values.shape[0] == 1:
        values = values[0]
    if values.ndim == 3 and values.shape[0] == 3:
        values = np.moveaxis(values, 0, -1)
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim == 2 and min(values.shape) > 3:
        values = np.repeat(values[..., None], 3, 2)
    if values.ndim != 3 or values.shape[-1] != 3 or values.dtype.kind not in "fiu":
        return None
    values = np.where(np.isfinite(values), values, 0).astype(np.float32)
    low, high = float(values.min()), float(values.max())
    found: Array = (values - low) / ((high - low) or 1) * 255
    return found
