"""A map in a few numbers: where its peak lies, how it is spread, what of it lies where."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
_BORDER, _CORNER = 0.1, 0.25  # of an edge
_MOST = 64  # places along an axis of a map that is kept


def summary(
    map: Array, object_mask: Array | None = None, *, ordered: bool = True
) -> dict[str, Any]:
    """Return the columns of a record that say what a map looks like.

    All shares are of the positive part p = max(m, 0), as far as it is finite; where nothing is
    positive they are None.

    Args:
        map: float [*space], at the input's size.
        object_mask: bool of the same shape, where the object is; None where nothing says.
        ordered: Whether neighbours are neighbours: the features of a table have no border.
    """
    values = np.where(np.isfinite(map), map, 0)
    found: dict[str, Any] = {"object_area": None if object_mask is None else object_mask.mean()}
    if not values.size:
        return found
    place = np.unravel_index(int(np.argmax(values)), values.shape)
    y, x = _relative(place, values.shape)
    found |= {"peak_y": y, "peak_x": x, "peak_value": float(values[place])}
    p = np.maximum(values, 0).astype(np.float64)
    total = p.sum()
    if not total > 0:
        return found
    found["entropy"] = entropy(p / total)
    if object_mask is not None and object_mask.any():
        found["object_energy"] = float(p[object_mask].sum() / total)
        found["pointing_hit"] = bool(object_mask[place])
    if ordered and max(values.shape) >= 4:
        inner = tuple(slice(k, n - k) for n in values.shape for k in [_part(n, _BORDER)])
        found["border_share"] = float(1 - p[inner].sum() / total)
    if values.ndim == 2 and min(values.shape) >= 4:
        found["corner_share"] = float(max(c.sum() for c in corners(p)) / total)
    return found


def corners(map: Array) -> list[Array]:
    """Return the four corners of a map [H, W]: a quarter of each edge."""
    h, w = (_part(n, _CORNER) for n in map.shape)
    return [map[:h, :w], map[:h, -w:], map[-h:, :w], map[-h:, -w:]]


def entropy(share: Array) -> float:
    """H = -sum_i q_i log q_i / log n: 0 where all lies in one place, 1 where it is even."""
    q = share[share > 0]
    return float(-(q * np.log(q)).sum() / np.log(share.size)) if share.size > 1 else 0.0


def in_view(mask: Array, box: tuple[float, float, float, float], size: tuple[int, int]) -> Array:
    """Return the part of a mask that the model saw, at a map's size.

    Args:
        mask: bool [H, W] of the picture.
        box: x0, y0, x1, y1: the part of the picture that the model saw, in its pixels; what lies
            beyond the picture is no object.
        size: Height and width of the map.

    Returns:
        bool [height, width]: the mask at the centres of the map's places.
    """
    x0, y0, x1, y1 = box
    rows = np.floor(y0 + (np.arange(size[0]) + 0.5) / size[0] * (y1 - y0)).astype(int)
    columns = np.floor(x0 + (np.arange(size[1]) + 0.5) / size[1] * (x1 - x0)).astype(int)
    inside = ((rows >= 0) & (rows < mask.shape[0]))[:, None] & (
        (columns >= 0) & (columns < mask.shape[1])
    )
    found = mask[rows.clip(0, mask.shape[0] - 1)][:, columns.clip(0, mask.shape[1] - 1)]
    seen: Array = found & inside
    return seen


def kept(map: Array) -> Array:
    """Return a map as it is kept, float16: area means where an axis is longer than 64.

    Values beyond what half precision holds are scaled to fit, and so are those that are all so
    small that it would lose them; only the pattern is kept then.
    """
    values = np.nan_to_num(map.astype(np.float32), nan=0, posinf=0, neginf=0)
    for axis, length in enumerate(values.shape):
        values = reduced(values, axis, min(length, _MOST))
    most = float(np.abs(values).max(initial=0))
    if most and not 1e-3 <= most <= 6e4:
        values = values / most
    return values.astype(np.float16)


def reduced(values: Array, axis: int, length: int) -> Array:
    """Return an array with an axis shortened to area means (fractions of places count so)."""
    n = values.shape[axis]
    if n == length:
        return values
    edges = np.linspace(0, n, length + 1)
    weights = np.minimum(edges[1:, None], np.arange(1, n + 1)) - np.maximum(
        edges[:-1, None], np.arange(n)
    )
    weights = np.maximum(weights, 0) * (length / n)
    return np.moveaxis(np.tensordot(weights.astype(values.dtype), values, (1, axis)), 0, axis)


def _part(length: int, share: float) -> int:
    return max(1, round(length * share))


def _relative(place: Any, shape: tuple[int, ...]) -> tuple[float, float]:
    """Return the centre of a place as y and x, from 0 to 1; of a volume the last two axes."""
    found = [(int(i) + 0.5) / n for i, n in zip(place, shape, strict=True)]
    return (found[-2] if len(found) > 1 else 0.5), found[-1]
