"""Average and Lp pools: a convolution with equal weights, and what goes around it."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from onnxcam.autodiff.cotangents import repeated
from onnxcam.autodiff.registry import NodeView, vjp
from onnxcam.autodiff.rules._windows import (
    Ints,
    Window,
    pooled,
    settled,
    spatial,
    spatial_rank,
    vector,
    window,
)
from onnxcam.autodiff.rules.conv import input_gradient
from onnxcam.graph.emit import Emitter, Tensor, shape_of

_LARGE = 1024  # taps of a window: more are not written out as a weight


@vjp("AveragePool")
def average_pool(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = sum over the windows that hold x of dy / taps counted in the window."""
    x = node.inputs[0]
    win = window(op, node)
    count = _counts(op, node, win, x, dy)
    return window_sums(op, op.Div(dy, op.cast(count, dy)), settled(op, win, node), x)


@vjp("GlobalAveragePool")
def global_average_pool(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy / number of positions, at every position."""
    x = node.inputs[0]
    size = spatial(op, x, spatial_rank(node))
    if isinstance(size, tuple):
        return repeated(op, op.Mul(dy, 1 / max(int(np.prod(size)), 1)), op.shape(x))
    count = op.ReduceProd(size, axes=[0], keepdims=0)
    return repeated(op, op.Div(dy, op.cast(count, dy)), op.Shape(x))


@vjp("LpPool")
def lp_pool(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = x |x|^(p-2) sum over windows of dy y^(1-p); 0 where the whole window is 0."""
    x, p = node.inputs[0], float(node.attr("p", 2))
    win = settled(op, window(op, node), node)
    return op.Mul(_odd_power(op, x, p), window_sums(op, _per_norm(op, node, dy, p), win, x))


@vjp("GlobalLpPool")
def global_lp_pool(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = x |x|^(p-2) dy y^(1-p); 0 where y is 0."""
    p = float(node.attr("p", 2))
    return op.Mul(_odd_power(op, node.inputs[0], p), _per_norm(op, node, dy, p))


def window_sums(op: Emitter, dy: Tensor, win: Window, x: Tensor) -> Tensor:
    """Return at every position of x the sum of dy over the windows that hold it.

    Args:
        op: Emitter.
        dy: One value per window, [N, C, ...out].
        win: The windows, settled.
        x: The input, [N, C, ...in]; only its shape is used.
    """
    n, channels = len(win.strides), op.dim(x, 1) if shape_of(x) is not None else None
    if prod(win.kernel or ()) > _LARGE:
        return _sums_by_axis(op, dy, win, x)
    one = op.cast(op.const(np.ones((1, 1, *(win.kernel or ())), np.float32)), dy)
    if isinstance(channels, int):
        weight = op.Expand(one, [channels, 1, *[1] * n])
        return input_gradient(op, dy, weight, win, x, channels)
    single = op.Reshape(dy, [-1, 1, *[0] * n])  # channels as batch: `group` cannot be symbolic
    return op.Reshape(input_gradient(op, single, one, win, x, 1), op.shape(x))


def _sums_by_axis(op: Emitter, dy: Tensor, win: Window, x: Tensor) -> Tensor:
    """Return the same by one product an axis with a matrix that says which windows hold what.

    A window of 640 x 640 over a picture of 3 x 4 (a global pool in disguise) would else be a
    weight of its own size for every channel.
    """
    n = len(win.strides)
    sizes = vector(op, spatial(op, x, n)), vector(op, spatial(op, dy, n)), vector(op, win.begin)
    turn = [0, 1, n + 1, *range(2, n + 1)]  # the axis that is done goes before the others
    for i in reversed(range(n)):
        size, out, begin = (op.Squeeze(op.Slice(v, [i], [i + 1], [0]), axes=[0]) for v in sizes)
        zero, one = op.const(np.array(0)), op.const(np.array(1))
        places = op.Unsqueeze(op.Add(op.Range(zero, size, one), begin), axes=[0])
        starts = op.Mul(op.Range(zero, out, one), win.strides[i])
        behind = op.Sub(places, op.Unsqueeze(starts, axes=[1]))
        reach, step = (win.kernel or ())[i] * win.dilations[i], win.dilations[i]
        holds = op.And(op.Not(op.Less(behind, [0])), op.Less(behind, [reach]))
        if step > 1:
            holds = op.And(holds, op.Equal(op.Mod(behind, [step]), [0]))
        dy = op.Transpose(op.MatMul(dy, op.cast(holds, dy)), perm=turn)
    return dy


def _counts(op: Emitter, node: NodeView, win: Window, x: Tensor, dy: Tensor) -> Tensor:
    """Return the number of taps that each window counts, [...out] or a scalar."""
    n = len(win.strides)
    size, out = spatial(op, x, n), pooled(op, win, node)
    padded = bool(node.attr("count_include_pad", 0))
    if isinstance(size, tuple) and isinstance(out, tuple) and win.pads is not None:
        axes = [_axis_counts(win, i, size[i], out[i], padded) for i in range(n)]
        counts = np.array(1)
        for of_axis in axes:
            counts = np.multiply.outer(counts, of_axis)
        uniform = counts.size > 0 and (counts == counts.flat[0]).all()
        return op.const(counts.flat[0] if uniform else counts, np.float32)
    lengths = [op.Slice(vector(op, v), [i], [i + 1], [0]) for v in (size, out) for i in range(n)]
    total = op.const(1)
    for i in range(n):
        taps = _axis_counts_at_run_time(op, win, i, lengths[i], lengths[n + i], padded)
        total = op.Mul(total, op.Reshape(taps, [-1, *[1] * (n - 1 - i)]))
    return total


def _axis_counts(win: Window, i: int, size: int, out: int, padded: bool) -> NDArray[np.int64]:
    """Return how many taps of each window lie on the input (or its padding), int [out]."""
    (begin, end), kernel = _ends(win, i), (win.kernel or ())[i]
    first = np.arange(out)[:, None] * win.strides[i] - begin
    taps = first + np.arange(kernel) * win.dilations[i]
    low, high = (-begin, size + end) if padded else (0, size)
    inside: NDArray[np.int64] = ((taps >= low) & (taps < high)).sum(1)
    return inside.clip(1)


def _axis_counts_at_run_time(
    op: Emitter, win: Window, i: int, size: Tensor, out: Tensor, padded: bool
) -> Tensor:
    pads = [op.Slice(vector(op, v), [i], [i + 1], [0]) for v in (win.begin, win.end)]
    zero, one = op.const(np.array(0)), op.const(np.array(1))
    windows = op.Range(zero, op.Squeeze(out, axes=[0]), one)
    first = op.Sub(op.Mul(op.Unsqueeze(windows, axes=[1]), win.strides[i]), pads[0])
    taps = op.Add(first, np.arange((win.kernel or ())[i])[None] * win.dilations[i])
    low, high = (op.Neg(pads[0]), op.Add(size, pads[1])) if padded else (zero, size)
    inside = op.And(op.Not(op.Less(taps, low)), op.Less(taps, high))
    counted = op.ReduceSum(op.Cast(inside, to=7), axes=[1], keepdims=0)
    return op.Max(counted, [1])


def _ends(win: Window, i: int) -> Ints:
    pads = win.pads or []
    return pads[i], pads[len(win.strides) + i]


def _odd_power(op: Emitter, x: Tensor, p: float) -> Tensor:
    """Return x |x|^(p-2)."""
    if p == 2:
        return x
    sign = op.Sign(x)
    return sign if p == 1 else op.Mul(sign, op.Pow(op.Abs(x), op.cast(op.const(p - 1.0), x)))


def _per_norm(op: Emitter, node: NodeView, dy: Tensor, p: float) -> Tensor:
    """Return dy y^(1-p), and dy where y is 0 (it meets a factor 0 there)."""
    if p == 1:
        return dy
    y = node.outputs[0]
    safe = op.Add(y, op.cast(op.Not(op.Cast(y, to=9)), y))
    return op.Div(dy, safe if p == 2 else op.Pow(safe, op.cast(op.const(p - 1.0), y)))
