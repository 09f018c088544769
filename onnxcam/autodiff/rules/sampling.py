"""Operators that read a feature map at computed places.

Their rules write the operator once more in operators that have gradients, and differentiate that:
the places (grids, regions, offsets) get gradients too. At the edge between two pixels the
derivative is that of the pixel on the right.
"""

from __future__ import annotations

import numpy as np

from onnxcam.autodiff.registry import NodeView, vjp
from onnxcam.autodiff.rules._sampling import (
    keep_inside,
    reflected,
    sampled,
    size_of,
    taps,
)
from onnxcam.autodiff.rules.contrib import through
from onnxcam.graph import ir
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, shape_of

_MODES = {"bilinear": "linear", "bicubic": "cubic"}


@vjp("GridSample")
def grid_sample(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """y = sum of neighbours of x at grid, each with its weight."""
    x, grid = node.inputs
    space = len(shape_of(x) or ()) - 2
    mode = _MODES.get(node.attr("mode"), node.attr("mode"))
    padding, aligned = node.attr("padding_mode"), bool(node.attr("align_corners"))
    batch = op.dim(x, 0)
    axes = []
    for i in range(space):
        last = space - 1 - i  # the grid holds x, y, z: the last axis first
        g = op.Slice(grid, starts=[last], ends=[last + 1], axes=[-1])
        size = size_of(op, x, i + 2, grid)
        c = op.Reshape(_pixels(op, g, size, aligned=aligned), op.dims(batch, -1))
        if mode != "cubic":
            c = _folded(op, c, size, padding, aligned=aligned)
        outside = keep_inside(op, size, padding, aligned=aligned)
        axes.append(taps(op, c, size, mode, outside))
    y = sampled(op, x, axes, space)
    places = [op.dim(grid, i) for i in range(1, space + 1)]
    shaped = op.Reshape(y, op.dims(batch, op.dim(x, 1), *places))
    return through(op, node, [shaped], [dy])


def _pixels(op: Emitter, g: Tensor, size: Tensor, *, aligned: bool) -> Tensor:
    """Return pixel coordinates of grid values in [-1, 1]."""
    if aligned:
        return op.Mul(op.Add(g, 1), op.Div(op.Sub(size, 1), 2))
    return op.Div(op.Sub(op.Mul(op.Add(g, 1), size), 1), 2)


def _folded(op: Emitter, c: Tensor, size: Tensor, padding: str, *, aligned: bool) -> Tensor:
    kind = dtype_of(c)
    last = op.Sub(size, 1)
    if padding == "border":
        return op.Min(op.Max(c, op.const(0, kind)), last)
    if padding == "reflection":
        low = op.const(0 if aligned else -0.5, kind)
        return reflected(op, c, low, last if aligned else op.Sub(size, 0.5))
    return c


@vjp("DeformConv")
def deform_conv(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """y = W columns, with the columns read at the kernel's places moved by the offsets."""
    x, w, offset = node.inputs[:3]
    bias, mask = node.input(3), node.input(4)
    kernel = [int(k) for k in node.attr("kernel_shape") or (shape_of(w) or ())[2:]]  # type: ignore[arg-type]
    rank = len(kernel)
    strides = node.attr("strides") or [1] * rank
    dilations = node.attr("dilations") or [1] * rank
    pads = node.attr("pads") or [0] * (2 * rank)
    groups, parts = int(node.attr("group", 1)), int(node.attr("offset_group", 1))
    taps_of_kernel = int(np.prod(kernel))
    batch, channels = op.dim(x, 0), op.dim(x, 1)
    out = [op.dim(node.outputs[0] if i < 0 else offset, i + 2) for i in range(rank)]
    # [N, C, ...] as [N * parts, C / parts, ...]: every part has offsets of its own
    parted = op.Reshape(x, op.dims(-1, _divided(op, channels, parts), *_space(op, x)))
    moves = op.Reshape(offset, op.dims(-1, taps_of_kernel, rank, *out))
    axes = []
    for i in range(rank):
        places = _kernel_places(op, kernel, i, strides, dilations, pads, out, offset)
        move = op.Squeeze(op.Slice(moves, starts=[i], ends=[i + 1], axes=[2]), axes=[2])
        size = size_of(op, x, i + 2, offset)
        c = op.Reshape(op.Add(move, places), op.dims(op.dim(parted, 0), -1))
        outside = keep_inside(op, size, "zeros", aligned=False)
        axes.append(taps(op, c, size, "linear", outside))
    columns = sampled(op, parted, axes, rank)
    columns = op.Reshape(columns, op.dims(-1, _divided(op, channels, parts), taps_of_kernel, *out))
    if mask is not None:
        columns = op.Mul(columns, op.Reshape(mask, op.dims(-1, 1, taps_of_kernel, *out)))
    rows = op.Reshape(columns, op.dims(batch, groups, -1, _product(op, out)))
    filters = op.Reshape(w, op.dims(1, groups, _divided(op, op.dim(w, 0), groups), -1))
    y = op.Reshape(op.MatMul(filters, rows), op.dims(batch, op.dim(w, 0), *out))
    if bias is not None:
        y = op.Add(y, op.Reshape(bias, [1, -1, *[1] * rank]))
    return through(op, node, [y], [dy])


def _kernel_places(
    op: Emitter,
    kernel: list[int],
    axis: int,
    strides: list[int],
    dilations: list[int],
    pads: list[int],
    out: list[int | Tensor],
    like: Tensor,
) -> Tensor:
    """Return where the kernel's elements lie along an axis: [kernel, ...1, out, 1...]."""
    kind = dtype_of(like) or np.dtype(np.float32)
    rank = len(kernel)
    steps = np.meshgrid(*(np.arange(k) for k in kernel), indexing="ij")[axis].reshape(-1)
    offsets = steps * dilations[axis] - pads[axis]
    count = out[axis]
    end = op.const(count, np.int64) if isinstance(count, int) else op.Squeeze(count, axes=[0])
    starts = op.Mul(op.Range(np.int64(0), end, np.int64(1)), strides[axis])
    shape = [1] * rank
    shape[axis] = -1
    grid = op.Reshape(op.cast(starts, kind), [1, *shape])
    return op.Add(grid, op.const(offsets.reshape(-1, *[1] * rank), kind))


def _divided(op: Emitter, size: int | Tensor, parts: int) -> int | Tensor:
    if isinstance(size, int):
        return size // parts
    return size if parts == 1 else op.Div(size, parts)


def _space(op: Emitter, x: Tensor) -> list[int | Tensor]:
    return [op.dim(x, i) for i in range(2, len(shape_of(x) or ()))]


def _product(op: Emitter, sizes: list[int | Tensor]) -> int | Tensor:
    static = [s for s in sizes if isinstance(s, int)]
    if len(static) == len(sizes):
        return int(np.prod(static))
    return op.ReduceProd(op.dims(*sizes), axes=[0], keepdims=1)


@vjp("Col2Im")
def col2im(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor | None, ...]:
    """dx = the blocks of dy as columns: a convolution with one kernel per element."""
    x, block = node.inputs[0], node.inputs[2]
    count = op.ReduceProd(block, axes=[0], keepdims=1)
    blank = ir.Constant("", np.zeros(1, dtype_of(dy)))
    eye = op.EyeLike(op.ConstantOfShape(op.Concat(count, count, axis=0), value=blank))
    rank = len(shape_of(dy) or ()) - 2
    kernels = op.Reshape(eye, op.Concat(count, [1], block, axis=0))
    alone = op.Reshape(dy, op.dims(-1, 1, *_space(op, dy)))
    columns = op.Conv(
        alone,
        kernels,
        pads=node.attr("pads") or [0] * (2 * rank),
        strides=node.attr("strides") or [1] * rank,
        dilations=node.attr("dilations") or [1] * rank,
    )
    return op.Reshape(columns, op.shape(x)), None, None
