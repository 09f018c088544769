"""Pooling over regions of interest.

A bilinear sample is a product of two sparse rows, one per axis: y = My x Mx^T per region. The rows
are written from one-hot vectors times weights, so that the regions get gradients too.
"""

from __future__ import annotations

import numpy as np

from onnxcam.autodiff.registry import NodeView, vjp
from onnxcam.autodiff.rules._sampling import size_of
from onnxcam.autodiff.rules.contrib import through
from onnxcam.graph.emit import Emitter, Tensor, dtype_of


@vjp("RoiAlign")
def roi_align(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """y = mean (or max) over bilinear samples of every bin; at a tie of the max, all share."""
    x, _, owner = node.inputs
    bins = int(node.attr("output_height")), int(node.attr("output_width"))
    own = op.Gather(x, owner, axis=0)  # [R, C, H, W]
    maximum = node.attr("mode") == "max"
    sides = [_side(op, node, axis, bins[axis], keep_samples=maximum) for axis in (0, 1)]
    rows, columns = (op.Unsqueeze(m, axes=[1]) for m, _ in sides)
    read = op.MatMul(op.MatMul(rows, own), op.Transpose(columns, perm=[0, 1, 3, 2]))
    if not maximum:
        return through(op, node, [read], [dy])
    # Regions with fewer samples than others have places without one: those are never the max.
    valid = op.And(
        *(op.Unsqueeze(v, axes=a) for (_, v), a in zip(sides, ([1, 3], [1, 2]), strict=True))
    )
    lowest = op.const(np.finfo(np.float32).min, dtype_of(read))
    corners = op.Reshape(
        op.Where(valid, read, lowest),
        op.dims(
            op.dim(own, 0), op.dim(own, 1), bins[0], -1, bins[1], _samples(op, columns, bins[1])
        ),
    )
    return through(op, node, [op.ReduceMax(corners, axes=[3, 5], keepdims=0)], [dy])


def _samples(op: Emitter, columns: Tensor, bins: int) -> Tensor | int:
    total = op.dim(columns, 2)
    return total // bins if isinstance(total, int) else op.Div(total, bins)


def _side(
    op: Emitter, node: NodeView, axis: int, bins: int, *, keep_samples: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the rows [R, bins, size] of one axis.

    For the max: one row per sample and neighbour, and which of them there are, [R, rows].
    """
    x, rois = node.inputs[:2]
    kind = dtype_of(rois) or np.dtype(np.float32)
    start, extent = _extent(op, node, axis)
    count = _count(op, node, extent, bins)  # [R, 1, 1]
    size = size_of(op, x, axis + 2, rois)
    most = op.Squeeze(op.Cast(op.ReduceMax(count, axes=[0], keepdims=0), to=7), axes=[0, 1])
    steps = op.Reshape(op.cast(op.Range(np.int64(0), most, np.int64(1)), kind), [1, 1, -1])
    first = op.const(np.arange(bins).reshape(1, -1, 1), kind)
    width = op.Div(extent, bins)
    place = op.Add(
        op.Add(start, op.Mul(first, width)), op.Div(op.Mul(op.Add(steps, 0.5), width), count)
    )
    used = op.And(
        op.And(op.GreaterOrEqual(place, -1), op.LessOrEqual(place, size)), op.Less(steps, count)
    )
    c = op.Min(op.Max(place, op.const(0, kind)), op.Sub(size, 1))
    low = op.Floor(c)
    part = op.Sub(c, low)
    weights = op.Mul(
        op.Concat(*(op.Unsqueeze(w, axes=[3]) for w in (op.Sub(1, part), part)), axis=3),
        op.Unsqueeze(op.cast(used, kind), axes=[3]),
    )  # [R, bins, samples, 2]
    high = op.Min(op.Add(low, 1), op.Sub(size, 1))
    index = op.Concat(*(op.Unsqueeze(i, axes=[3]) for i in (low, high)), axis=3)
    depth = op.dim(x, axis + 2)
    count_of_pixels = op.const(depth, np.int64) if isinstance(depth, int) else op.scalar(depth)
    kinds = np.array([0, 1], dtype_of(x) or kind)
    hot = op.OneHot(op.Cast(index, to=7), count_of_pixels, kinds, axis=-1)
    rows = op.Mul(hot, op.cast(op.Unsqueeze(weights, axes=[4]), hot))
    if keep_samples:
        there = op.Expand(op.Unsqueeze(op.Less(steps, count), axes=[3]), op.Shape(weights))
        shape = op.dims(op.dim(rois, 0), -1)
        return op.Reshape(rows, op.dims(op.dim(rois, 0), -1, depth)), op.Reshape(there, shape)
    return op.Div(op.ReduceSum(rows, axes=[2, 3], keepdims=0), op.cast(count, rows)), None


def _extent(op: Emitter, node: NodeView, axis: int) -> tuple[Tensor, Tensor]:
    """Return start and length of the regions along an axis in pixels, [R, 1, 1] each."""
    rois, scale = node.inputs[1], node.attr("spatial_scale")
    first = 1 - axis  # a region is x1, y1, x2, y2
    half = node.attr("coordinate_transformation_mode", "output_half_pixel") == "half_pixel"
    ends = []
    for column in (first, first + 2):
        edge = op.Slice(rois, starts=[column], ends=[column + 1], axes=[1])
        moved = op.Mul(op.Unsqueeze(edge, axes=[2]), scale)
        ends.append(op.Sub(moved, 0.5) if half else moved)
    extent = op.Sub(ends[1], ends[0])
    if not half:
        extent = op.Max(extent, op.const(1, dtype_of(rois)))
    return ends[0], extent


def _count(op: Emitter, node: NodeView, extent: Tensor, bins: int) -> Tensor:
    """Return how many samples a bin has along an axis, as float [R, 1, 1]."""
    ratio = int(node.attr("sampling_ratio"))
    kind = dtype_of(extent) or np.dtype(np.float32)
    if ratio > 0:
        return op.Expand(op.const(ratio, kind), op.shape(extent))
    return op.Max(op.Ceil(op.Div(extent, bins)), op.const(1, kind))


@vjp("MaxRoiPool")
def max_roi_pool(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """dx = dy at the largest pixel of every bin; the regions are rounded and get no gradient."""
    x, rois = node.inputs
    bins = [int(b) for b in node.attr("pooled_shape")]
    column = op.Slice(rois, starts=[0], ends=[1], axes=[1])
    owner = op.Cast(op.Squeeze(column, axes=[1]), to=7)
    own = op.Unsqueeze(op.Gather(x, owner, axis=0), axes=[2, 3])  # [R, C, 1, 1, H, W]
    rows = _members(op, node, 0, bins[0])  # [R, bins, H]
    columns = _members(op, node, 1, bins[1])
    inside = op.And(op.Unsqueeze(rows, axes=[1, 3, 5]), op.Unsqueeze(columns, axes=[1, 2, 4]))
    lowest = np.finfo(dtype_of(x) or np.float32).min
    best = op.ReduceMax(
        op.Where(inside, own, op.const(lowest, dtype_of(x))), axes=[4, 5], keepdims=0
    )
    empty = op.LessOrEqual(best, op.const(lowest, dtype_of(x)))
    return through(op, node, [op.Where(empty, op.const(0, dtype_of(x)), best)], [dy])


def _members(op: Emitter, node: NodeView, axis: int, bins: int) -> Tensor:
    """Tell which pixels of an axis belong to which bin: bool [R, bins, size]."""
    x, rois = node.inputs
    kind = dtype_of(rois) or np.dtype(np.float32)
    ends = []
    for place in (2 - axis, 4 - axis):  # a region is batch, x1, y1, x2, y2
        edge = op.Slice(rois, starts=[place], ends=[place + 1], axes=[1])
        scaled = op.Mul(op.Unsqueeze(edge, axes=[2]), node.attr("spatial_scale"))
        ends.append(op.Floor(op.Add(scaled, 0.5)))
    start = ends[0]
    width = op.Div(op.Max(op.Add(op.Sub(ends[1], start), 1), op.const(1, kind)), bins)
    first = op.const(np.arange(bins).reshape(1, -1, 1), kind)
    low = op.Add(op.Floor(op.Mul(first, width)), start)
    high = op.Add(op.Ceil(op.Mul(op.Add(first, 1), width)), start)
    size = op.dim(x, axis + 2)
    end = op.const(size, np.int64) if isinstance(size, int) else op.Squeeze(size, axes=[0])
    pixels = op.Reshape(op.cast(op.Range(np.int64(0), end, np.int64(1)), kind), [1, 1, -1])
    return op.And(op.GreaterOrEqual(pixels, low), op.Less(pixels, high))
