"""Maps at the input's size and normalised maps, in the graph.

The values are those of :mod:`onnxcam.output.upsample`, by matrix products: of a picture's rows and
columns, of the stretches of a long signal. Where a size is not known before, the graph works out
which steps a sample is made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from onnxcam.compose.laid import Edges, Size, inside, nearest, places
from onnxcam.graph import quirks
from onnxcam.graph.emit import Emitter, Tensor, shape_of
from onnxcam.output.spans import Span
from onnxcam.output.upsample import centres, covered

Kernel = Literal["bicubic", "linear", "nearest"]
Array = np.ndarray[Any, Any]
_MATRIX = 1 << 16  # entries of the matrix of a signal that is worth its memory
_RESIZE: dict[str, dict[str, Any]] = {
    "bicubic": {"mode": "cubic", "cubic_coeff_a": -0.5},
    "linear": {"mode": "linear"},
    "nearest": {"mode": "nearest", "nearest_mode": "round_prefer_ceil"},
}


@quirks.works_around(quirks.SLOW_CUBIC)
def resampled(
    op: Emitter,
    map: Tensor,
    size: Size,
    kernel: Kernel = "bicubic",
    spans: Sequence[Edges | None] = (),
) -> Tensor:
    """Return a map at another size: half-pixel centres, borders repeated, no antialiasing.

    Args:
        op: Emitter.
        map: float32 [N, K, ...space] with one to three axes of space.
        size: Extent of each axis of space of the result: int, or int64 [1] tensor.
        kernel: ``bicubic`` (Keys, a = -0.5), ``linear`` or ``nearest``.
        spans: Where the cells of each axis lie; none for even shares of the whole.

    Returns:
        float32 [N, K, *size]. Where a map is not finite, its whole row and column may be NaN.
    """
    old = [op.dim(map, 2 + i) for i in range(len(size))]
    where = list(spans) or [None] * len(size)
    if where == [None] * len(size):
        if _same(old, size):
            return map
        if kernel == "nearest":
            return _resize(op, map, size, kernel)
    for axis, (few, many, span) in enumerate(zip(old, size, where, strict=True), start=2):
        if span is None and _same([few], [many]):
            continue
        fixed = isinstance(few, int) and isinstance(many, int)
        if kernel == "nearest":
            map = nearest(op, map, axis, few, many, span)
        elif len(size) > 1 or (fixed and int(few) * int(many) <= _MATRIX):  # type: ignore[arg-type]
            map = _along(op, map, axis, _weights(op, few, many, kernel, span))
        elif isinstance(few, int) and isinstance(many, int):
            map = _by_stretches(op, map, interpolation(few, many, kernel, _fixed(span)))
        else:
            map = _by_samples(op, map, few, many, kernel, span)
    return map


def _fixed(span: Edges | None) -> Span | None:
    """Return the span of an axis of a known size."""
    return span if span is None else Span(*(e for e in span if isinstance(e, float)))


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


def _weights(
    op: Emitter, few: int | Tensor, many: int | Tensor, kernel: Kernel, span: Edges | None
) -> Tensor:
    """Return float32 [many, few]: what each sample of an axis is made of."""
    if isinstance(few, int) and isinstance(many, int):
        return op.const(interpolation(few, many, kernel, _fixed(span)))
    place, weights, taps = _taps(op, few, many, kernel, span)
    reach = len(taps) // 2
    steps = op.EyeLike(op.ConstantOfShape(op.dims(few, few)), dtype=1)
    edges = op.Pad(steps, op.const(np.array([reach, 0] * 2)), mode="edge")
    rows = op.Gather(edges, op.Add(op.Unsqueeze(place, axes=[1]), op.const(taps)), axis=0)
    made = op.Mul(rows, op.Unsqueeze(weights, axes=[2]))  # [many, taps, few]
    found = op.ReduceSum(made, axes=[1], keepdims=0)
    within = None if span is None else op.Unsqueeze(inside(op, many, span), axes=[1])
    return found if within is None else op.Where(within, found, 0)


def _by_stretches(op: Emitter, map: Tensor, weights: Array) -> Tensor:
    """Multiply the last axis with the weights [many, few], a stretch of samples at a time.

    A sample is made of few steps: the whole matrix of a long signal would be mostly zeros, and
    larger than its model.
    """
    many, few = weights.shape
    length = min(max(16, 8 * many // few), 512)
    starts = np.arange(0, many, length)
    used = [np.flatnonzero(weights[start : start + length].any(0)) for start in starts]
    used = [steps if len(steps) else np.zeros(1, int) for steps in used]
    reach = max(int(steps[-1] - steps[0]) + 1 for steps in used)
    steps = np.array([min(int(u[0]), few - reach) for u in used])[:, None] + np.arange(reach)
    parts = np.zeros((len(starts), reach, length), np.float32)
    for part, start, at in zip(parts, starts, steps, strict=True):
        rows = weights[start : start + length, at]
        part[:, : len(rows)] = rows.T
    near = op.Gather(map, op.const(steps[:, None, :]), axis=2)  # [N, K, stretches, 1, reach]
    made = op.Reshape(op.MatMul(near, op.const(parts)), [0, 0, -1])
    return op.Slice(made, starts=[0], ends=[many], axes=[2])


def _by_samples(
    op: Emitter,
    map: Tensor,
    few: int | Tensor,
    many: int | Tensor,
    kernel: Kernel,
    span: Edges | None,
) -> Tensor:
    """Resample the last axis of [N, K, few], each sample from the steps around it."""
    place, weights, taps = _taps(op, few, many, kernel, span)
    reach = len(taps) // 2
    edges = op.Pad(map, op.const(np.array([0, 0, reach] * 2)), mode="edge")
    runs = op.Squeeze(op.Add(op.dims(few), 1))
    steps = op.Range(op.const(np.int64(0)), runs, op.const(np.int64(1)))
    windows = op.Gather(edges, op.Add(op.Unsqueeze(steps, axes=[1]), op.const(taps)), axis=2)
    near = op.Gather(windows, place, axis=2)  # [N, K, many, taps]
    made = op.ReduceSum(op.Mul(near, weights), axes=[3], keepdims=0)
    return made if span is None else op.Where(inside(op, many, span), made, 0)


def _taps(
    op: Emitter, few: int | Tensor, many: int | Tensor, kernel: Kernel, span: Edges | None
) -> tuple[Tensor, Tensor, Array]:
    """Return for each sample the first step that it is made of, and the weights of its taps.

    The step is that of an axis with its border repeated ``len(taps) // 2`` times on both sides:
    int64 [many]; weights float32 [many, taps]; the taps count from 0.
    """
    place, part = places(op, few, many, span)
    reach = 2 if kernel == "bicubic" else 1
    taps = np.arange(2 * reach)
    offsets = op.const((taps - reach + 1).astype(np.float32))
    distance = op.Abs(op.Sub(op.Unsqueeze(part, axes=[1]), offsets))
    return place, _emitted(op, distance, kernel), taps


# Of the polynomials of the distance from each tap of a kernel, the highest power first.
_FAR, _NEAR = (-0.5, 2.5, -4.0, 2.0), (1.5, -2.5, 0.0, 1.0)
_FACTORS = {
    "bicubic": np.array([_FAR, _NEAR, _NEAR, _FAR], np.float32).T,
    "linear": np.array([(-1.0, 1.0)] * 2, np.float32).T,
}


def _emitted(op: Emitter, d: Tensor, kernel: Kernel) -> Tensor:
    """Return :func:`_kernel` of the distances [many, taps]."""
    first, *others = _FACTORS[kernel]
    value: Tensor = op.const(first)
    for factor in others:
        value = op.Add(op.Mul(value, d), op.const(factor))
    return value


def interpolation(few: int, many: int, kernel: Kernel, span: Span | None = None) -> Array:
    """Return the weights float32 [many, few] of a ``bicubic`` or ``linear`` interpolation."""
    index = np.arange(many)
    centre = (index + 0.5) * few / many - 0.5 if span is None else centres(index, few, span)
    reach = 2 if kernel == "bicubic" else 1
    first = np.floor(centre).astype(int) - reach + 1
    weights = np.zeros((many, few))
    for tap in range(2 * reach):
        at = first + tap
        near = np.clip(at, 0, few - 1)  # the border is repeated
        weights[np.arange(many), near] += _kernel(np.abs(centre - at), kernel)
    if span is not None:
        weights[~covered(index, span)] = 0
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
