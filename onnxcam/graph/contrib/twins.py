"""Operators that have a twin among the standard ones, or had: ONNX's experiments of 2017."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxcam.errors import UnsupportedOp
from onnxcam.graph.contrib.definitions import define, rank_of
from onnxcam.graph.contrib.rotary import END, counted
from onnxcam.graph.emit import Emitter, Tensor


@define("Trilu")
def trilu(op: Emitter, x: Tensor, k: Tensor | None = None, *, upper: int = 1) -> Tensor:
    """The triangle above or below a diagonal."""
    return op.Trilu(x, k, upper=upper)


@define("Pad")
def pad(
    op: Emitter, x: Tensor, pads: Tensor, value: Tensor | None = None, *, mode: str = "constant"
) -> Tensor:
    """X with a margin; the pads may be a row and the value may be a vector of one."""
    value = None if value is None else op.Reshape(value, op.const(np.empty(0, np.int64)))
    return op.Pad(x, op.Reshape(pads, op.dims([-1])), value, mode=mode)


@define("GatherND")
def gather_nd(op: Emitter, data: Tensor, indices: Tensor) -> Tensor:
    """The slices of data at the indices."""
    return op.GatherND(data, op.Cast(indices, to=7))


@define("ExpandDims")
def expand_dims(op: Emitter, x: Tensor, axis: Tensor) -> Tensor:
    """X with one more axis of length 1."""
    axis = op.Cast(axis, to=7)
    return op.Unsqueeze(x, axis if rank_of(axis) else op.Unsqueeze(axis, axes=[0]))


@define("GridSample")
def grid_sample(
    op: Emitter, x: Tensor, grid: Tensor, *, mode: str = "bilinear", padding_mode: str = "zeros",
    align_corners: int = 0,
) -> Tensor:  # fmt: skip
    """X sampled at the points of a grid."""
    if op.opsets[""] >= 20:
        mode = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    return op.GridSample(x, grid, mode=mode, padding_mode=padding_mode, align_corners=align_corners)


@define("CDist")
def cdist(op: Emitter, a: Tensor, b: Tensor, *, metric: str = "sqeuclidean") -> Tensor:
    """y_mk = |a_m - b_k|^2, or its root."""
    if metric not in ("sqeuclidean", "euclidean"):
        raise UnsupportedOp(f"the distance {metric!r} of CDist has no definition")
    apart = op.Sub(op.Unsqueeze(a, axes=[1]), op.Unsqueeze(b, axes=[0]))
    squares = op.ReduceSum(op.Mul(apart, apart), axes=[2], keepdims=0)
    return op.Sqrt(squares) if metric == "euclidean" else squares


@define("UnfoldTensor")
def unfold_tensor(op: Emitter, x: Tensor, *, size: int, dim: int = -1, step: int = 1) -> Tensor:
    """Every window of an axis, with the places in the window as a new last axis."""
    rank = rank_of(x)
    axis, length = dim % rank, op.dim(x, dim % rank)
    if isinstance(length, int):
        count: int | Tensor = (length - size) // step + 1
    else:
        count = op.Add(op.Div(op.Sub(length, size), step), 1)
    starts = op.Mul(op.Unsqueeze(counted(op, count), axes=[1]), step)
    windows = op.Gather(x, op.Add(starts, op.const(np.arange(size))), axis=axis)
    order = [i for i in range(rank + 1) if i != axis + 1]
    return op.Transpose(windows, perm=[*order, axis + 1])


# ---- experiments that ONNX withdrew and ONNX Runtime still runs


@define("Affine", domain="")
def affine(op: Emitter, x: Tensor, *, alpha: float = 1.0, beta: float = 0.0) -> Tensor:
    """y = alpha x + beta."""
    return op.Add(op.Mul(x, alpha), beta)


@define("Scale", domain="")
def scaled(op: Emitter, x: Tensor, *, scale: float = 1.0) -> Tensor:
    """y = scale x."""
    return op.Mul(x, scale)


@define("ScaledTanh", domain="")
def scaled_tanh(op: Emitter, x: Tensor, *, alpha: float, beta: float) -> Tensor:
    """y = alpha tanh(beta x)."""
    return op.Mul(op.Tanh(op.Mul(x, beta)), alpha)


@define("ParametricSoftplus", domain="")
def parametric_softplus(op: Emitter, x: Tensor, *, alpha: float, beta: float) -> Tensor:
    """y = alpha log(1 + exp(beta x))."""
    return op.Mul(op.Softplus(op.Mul(x, beta)), alpha)


@define("ImageScaler", domain="")
def image_scaler(op: Emitter, x: Tensor, *, bias: Sequence[float], scale: float = 1.0) -> Tensor:
    """y = scale x + bias of each channel."""
    shift = op.const(np.array(bias, np.float32).reshape(-1, 1, 1))
    return op.Add(op.Mul(x, scale), op.cast(shift, x))


@define("Crop", domain="")
def crop(op: Emitter, x: Tensor, *, border: Sequence[int], scale: Sequence[int] = ()) -> Tensor:
    """The picture without left, top, right and bottom borders, or scale = height, width of it."""
    left, top, right, bottom = border
    ends = [top + scale[0], left + scale[1]] if scale else [-bottom or END, -right or END]
    return op.Slice(x, starts=[top, left], ends=ends, axes=[2, 3])


@define("DynamicSlice", domain="")
def dynamic_slice(
    op: Emitter, x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None
) -> Tensor:
    """X between starts and ends, which came as inputs before Slice took them so."""
    whole = [None if t is None else op.Cast(t, to=7) for t in (starts, ends, axes)]
    return op.Slice(x, *whole)
