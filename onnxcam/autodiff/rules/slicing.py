"""Slice and Pad: each is the other's gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxcam.autodiff.cotangents import between_zeros
from onnxcam.autodiff.registry import NodeView, vjp
from onnxcam.autodiff.rules._moves import Size, alone, put_back
from onnxcam.graph.emit import Emitter, Tensor, shape_of


@vjp("Slice")
def slice_(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """dx = dy with zeros around it (for steps of 1), or between."""
    margins = _margins(op, node, dy)
    if margins is None:
        return alone(node, put_back(op, node, dy, *node.inputs[1:], unique=True))
    rank = len(shape_of(node.inputs[0]) or ())
    before: list[Size] = [margins.get(axis, (0, 0))[0] for axis in range(rank)]
    after: list[Size] = [margins.get(axis, (0, 0))[1] for axis in range(rank)]
    return alone(node, between_zeros(op, dy, [*before, *after]))


@vjp("Pad")
def pad(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """dx = dy without the padding; what mirrors and copies took from x is added to it."""
    pads, value = node.setting("pads", 1), node.input(2)
    if node.attr("mode") != "constant":
        # The value is of no use here, and not of the positions' dtype.
        rest = [*node.inputs[1:2], None, *node.inputs[3:]]
        return alone(node, put_back(op, node, dy, *rest[: len(node.inputs) - 1]))
    dx = _cropped(op, dy, pads, node.input(3))
    grads = alone(node, dx)
    if value is not None and node.wants(2):
        inner = node.emit_forward(op, [dx, node.inputs[1], None, *node.inputs[3:]])
        grads[2] = op.Reshape(op.ReduceSum(op.Sub(dy, inner), keepdims=0), op.shape(value))
    return grads


def _cropped(op: Emitter, x: Tensor, pads: Any, axes: Tensor | None) -> Tensor:
    """Take what Pad added away, and give zeros for what it took away."""
    if not isinstance(pads, list | np.ndarray):
        before, after = (op.Gather(op.Reshape(pads, [2, -1]), i, axis=0) for i in range(2))
        size = op.Shape(x) if axes is None else op.Gather(op.Shape(x), axes, axis=0)
        ends = op.Sub(size, op.Max(after, 0))
        inner = op.Slice(x, starts=op.Max(before, 0), ends=ends, axes=axes)
        return op.Pad(inner, pads=op.Max(op.Neg(pads), 0), axes=axes)
    numbers = [int(p) for p in pads]
    half = len(numbers) // 2
    starts, cut = [max(p, 0) for p in numbers[:half]], [max(p, 0) for p in numbers[half:]]
    if any(starts + cut):
        end = np.iinfo(np.int64).max
        where = list(range(half)) if axes is None else axes
        x = op.Slice(x, starts=starts, ends=[-p or end for p in cut], axes=where)
    fill = [max(-p, 0) for p in numbers]
    if axes is None:
        return between_zeros(op, x, fill)
    return op.Pad(x, pads=fill, axes=axes) if any(fill) else x


def _margins(op: Emitter, node: NodeView, dy: Tensor) -> dict[int, tuple[Size, Size]] | None:
    """Return how much of each sliced axis lies before and after the slice.

    None where the slice has steps, or where its starts or axes are computed.
    """
    x = node.inputs[0]
    shape = shape_of(x)
    starts, axes = node.setting("starts", 1), node.setting("axes", 3)
    steps = node.setting("steps", 4)
    if shape is None or not _known(starts, axes, steps):
        return None
    if steps is not None and any(int(s) != 1 for s in steps):
        return None
    numbers = range(len(starts)) if axes is None else [int(a) % len(shape) for a in axes]
    return {
        axis: _margin(op, op.dim(x, axis), op.dim(dy, axis), int(start))
        for axis, start in zip(numbers, starts, strict=True)
    }


def _known(*settings: Any) -> bool:
    return all(s is None or isinstance(s, list | np.ndarray) for s in settings)


def _margin(op: Emitter, whole: Size, part: Size, start: int) -> tuple[Size, Size]:
    """Return what a slice leaves before and after it, with its start clamped as Slice does."""
    if isinstance(whole, int):
        before: Size = min(max(start + whole if start < 0 else start, 0), whole)
    elif start == 0:
        before = 0
    else:
        before = op.Max(op.Add(whole, start), 0) if start < 0 else op.Min(whole, start)
    if isinstance(whole, int) and isinstance(part, int) and isinstance(before, int):
        return before, whole - before - part
    sizes = [op.dims(size) for size in (whole, before, part)]
    return before, op.Sub(op.Sub(sizes[0], sizes[1]), sizes[2])
