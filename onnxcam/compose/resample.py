"""Maps at the input's size and normalised maps, in the graph.

The values are those of :mod:`onnxcam.output.upsample`, by matrix products; Resize only makes the
matrices, where a size is not known before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from onnxcam.graph import quirks
from onnxcam.graph.emit import Emitter, Tensor, shape_of

Kernel = Literal["bicubic", "linear", "nearest"]
Size = Sequence["int | Tensor"]
Array = np.ndarray[Any, Any]
_RESIZE: dict[str, dict[str, Any]] = {
    "bicubic": {"mode": "cubic", "cubic_coeff_a": -0.5},
    "linear": {"mode": "linear"},
    "nearest": {"mode": "nearest", "nearest_mode": "round_prefer_ceil"},
}


@quirks.works_around(quirks.SLOW_CUBIC)
def resampled(op: Emitter, map: Tensor, size: Size, kernel: Kernel = "bicubic") -> Tensor:
    """Return a map at another size: half-pixel centres, borders repeated, no antialiasing.

    Args:
        op: Emitter.
        map: float32 [N, K, ...space] with one to three axes of space.
        size: Extent of each axis of space of the result: int, or int64 [1] tensor.
        kernel: ``bicubic`` (Keys, a = -0.5), ``linear`` or ``nearest``.

    Returns:
        float32 [N, K, *size]. Where a map is not finite, its whole row and column may be NaN.
    """
    old = [op.dim(map, 2 + i) for i in range(len(size))]
    if _same(old, size):
        return map
    if kernel == "nearest":
        return _resize(op, map, size, kernel)
    if len(size) == 1:
        row = _resize(op, op.Unsqueeze(map, axes=[2]), [1, *size], kernel)
        return op.Squeeze(row, axes=[2])
    for axis, (few, many) in enumerate(zip(old, size, strict=True), start=2):
        if not _same([few], [many]):
            map = _along(op, map, axis, _weights(op, few, many, kernel))
    return map


def _same(old: Size, new: Size) -> bool:
    return all(
        isinstance(a, int) and isinstance(b, int) and a == b for a, b in zip(old, new, strict=True)
    )


def _resize(op: Emitter, map: Tensor, size: Size, kernel: Kernel) -> Tensor:
    sizes = op.dims(op.dim(map, 0), op.dim(map, 1), *size)
    resized: Tensor = op.Resize(map, None, None, sizes, **_RESIZE[kernel])
    return resized


def _along(op: Emitter, map: Tensor, axis: int, weights: Tensor) -> Tensor:
    """Multiply one axis with the weights [many, few]."""
    last = len(shape_of(map) or ()) - 1
    if axis == last:
        return op.MatMul(map, op.Transpose(weights, perm=[1, 0]))
    if axis == last - 1:
        return op.MatMul(weights, map)
    rows = op.MatMul(weights, op.Reshape(map, [0] * (axis + 1) + [-1]))
    rest = [op.dim(map, i) for i in range(axis + 1, last + 1)]
    return op.Reshape(rows, op.dims([0] * (axis + 1), *rest))


def _weights(op: Emitter, few: int | Tensor, many: int | Tensor, kernel: Kernel) -> Tensor:
    """Return float32 [many, few]: what each sample of an axis is made of."""
    if isinstance(few, int) and isinstance(many, int):
        return op.const(interpolation(few, many, kernel))
    square = op.ConstantOfShape(op.dims(few, few))
    ones = op.Unsqueeze(op.EyeLike(square, dtype=1), axes=[0, 1])
    return op.Squeeze(_resize(op, ones, [many, few], kernel), axes=[0, 1])


def interpolation(few: int, many: int, kernel: Kernel) -> Array:
    """Return the weights float32 [many, few] of a ``bicubic`` or ``linear`` interpolation."""
    centre = (np.arange(many) + 0.5) * few / many - 0.5
    reach = 2 if kernel == "bicubic" else 1
    first = np.floor(centre).astype(int) - reach + 1
    weights = np.zeros((many, few))
    for tap in range(2 * reach):
        at = first + tap
        near = np.clip(at, 0, few - 1)  # the border is repeated
        weights[np.arange(many), near] += _kernel(np.abs(centre - at), kernel)
    return weights.astype(np.float32)


def _kernel(distance: Array, kernel: Kernel) -> Array:
    d = distance
    if kernel == "linear":
        return 1 - d
    near, far = (1.5 * d - 2.5) * d * d + 1, ((2.5 - 0.5 * d) * d - 4) * d + 2
    return np.where(d <= 1, near, far)


def normalized(op: Emitter, map: Tensor, how: Literal["max", "minmax"]) -> Tensor:
    """Return every map [n, k] of [N, K, ...space] scaled.

    Args:
        op: Emitter.
        map: float32 [N, K, ...space].
        how: ``max`` divides by the largest value, where that is positive (else the map is 0);
            ``minmax`` brings the smallest value to 0 and the largest to 1 (a constant map to 0).
    """
    space = list(range(2, len(shape_of(map) or ())))
    if how == "minmax":
        map = op.Sub(map, op.ReduceMin(map, axes=space, keepdims=1))
    largest = op.ReduceMax(map, axes=space, keepdims=1)
    positive = op.Greater(largest, 0)
    return op.Mul(map, op.Where(positive, op.Reciprocal(op.Where(positive, largest, 1)), 0))
