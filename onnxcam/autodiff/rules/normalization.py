"""Normalisations over a batch, a layer, an instance, neighbouring channels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxcam.autodiff.engine import unbroadcast
from onnxcam.autodiff.registry import NodeView, vjp
from onnxcam.autodiff.rules.contrib import through
from onnxcam.emit import Emitter, Tensor, dtype_of, shape_of, static_shape


@vjp("BatchNormalization")
def batch_normalization(
    op: Emitter, node: NodeView, dy: Tensor | None, *more: Tensor | None
) -> list[Tensor | None]:
    """dx = dy f, f = scale / sqrt(var + eps); the statistics of training depend on x too."""
    if node.attr("training_mode", 0) or (node.opset < 14 and len(node.raw.outputs) > 1):
        return _training(op, node, dy, *more)
    assert dy is not None
    x, scale, _, mean, var = node.inputs
    rank = len(shape_of(x) or ())
    epsilon = node.attr("epsilon")
    inverse = op.Div(1, op.Sqrt(op.Add(var, epsilon)))
    dx = op.Mul(dy, _column(op, op.cast(op.Mul(op.cast(inverse, scale), scale), dy), rank))
    if not any(node.wants(i) for i in range(1, 5)):
        return [dx, None, None, None, None]
    others = [0, *range(2, rank)]
    centred = op.Sub(x, _column(op, op.cast(mean, x), rank))
    total = op.ReduceSum(dy, axes=others, keepdims=0)
    along = op.ReduceSum(op.Mul(dy, centred), axes=others, keepdims=0)
    factor = op.cast(op.Mul(op.cast(inverse, scale), scale), dy)
    inv = op.cast(inverse, dy)
    dvar = op.Mul(op.Mul(along, factor), op.Mul(op.Mul(inv, inv), -0.5))
    return [dx, op.Mul(along, inv), total, op.Neg(op.Mul(total, factor)), dvar]


def _training(
    op: Emitter, node: NodeView, dy: Tensor | None, *more: Tensor | None
) -> list[Tensor | None]:
    x, scale, bias, mean, var = node.inputs
    rank = len(shape_of(x) or ())
    others = [0, *range(2, rank)]
    mine = op.ReduceMean(x, axes=others, keepdims=1)
    centred = op.Sub(x, mine)
    spread = op.ReduceMean(op.Mul(centred, centred), axes=others, keepdims=1)
    scaled = op.Div(
        op.Mul(centred, _column(op, op.cast(scale, x), rank)),
        op.Sqrt(op.Add(spread, node.attr("epsilon"))),
    )
    y = op.Add(scaled, _column(op, op.cast(bias, x), rank))
    keep = node.attr("momentum")
    running = [
        op.Add(op.Mul(old, keep), op.cast(op.Mul(op.Reshape(new, [-1]), 1 - keep), old))
        for old, new in ((mean, mine), (var, spread))
    ]
    count = len(node.raw.outputs)
    return through(op, node, [y, *running, None, None][:count], [dy, *more])


def _column(op: Emitter, values: Tensor, rank: int) -> Tensor:
    """Return a value per channel as it broadcasts against [N, C, ...space]."""
    return values if rank == 1 else op.Reshape(values, [1, -1, *[1] * (rank - 2)])


@vjp("LayerNormalization")
def layer_normalization(
    op: Emitter,
    node: NodeView,
    dy: Tensor | None,
    dmean: Tensor | None = None,
    dinv: Tensor | None = None,
) -> list[Tensor | None]:
    """dx = inv (g - mean(g) - x^ mean(g x^)), with g = dy scale and x^ = (x - mean) inv."""
    x, scale = node.inputs[:2]
    rank = len(shape_of(x) or ())
    axes = list(range(int(node.attr("axis")) % rank, rank))
    hat, inv = _standardised(op, node, x, axes)
    parts = []
    dscale = dbias = None
    if dy is not None:
        parts.append(_centred_gradient(op, op.Mul(dy, scale), hat, inv, axes))
        dscale = unbroadcast(op, op.Mul(dy, hat), scale) if node.wants(1) else None
        bias = node.input(2)
        dbias = unbroadcast(op, dy, bias) if bias is not None and node.wants(2) else None
    if dmean is not None or dinv is not None:
        ones = op.Div(1, op.cast(_count(op, x, axes), x))
        if dmean is not None:
            parts.append(op.Expand(op.Mul(op.cast(dmean, x), ones), op.shape(x)))
        if dinv is not None:
            slope = op.Mul(op.Mul(op.cast(dinv, x), op.Neg(ones)), op.Mul(inv, inv))
            parts.append(op.Mul(slope, hat))
    dx = parts[0]
    for part in parts[1:]:
        dx = op.Add(dx, part)
    return [dx, dscale, dbias][: len(node.inputs)]


def _standardised(
    op: Emitter, node: NodeView, x: Tensor, axes: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Return x^ and 1 / standard deviation, [..., 1]; by the operator's own kernel where exact."""
    static = static_shape(x)
    double = dtype_of(x) == np.float64  # the kernel's own statistics are float32
    last = None if static is None else static[axes[0] :]
    shape = shape_of(x) or ()
    if last is None and all(isinstance(shape[a], int) for a in axes):
        last = tuple(int(shape[a]) for a in axes)  # type: ignore[arg-type]
    if last is not None and not double:
        ones = op.const(np.ones(last, dtype_of(x) or np.float32))
        hat, _, inv = op.LayerNormalization(
            x, ones, axis=axes[0], epsilon=node.attr("epsilon"), _outputs=3
        )
        return hat, op.cast(inv, x)
    return _by_hand(op, x, axes, node.attr("epsilon"))


def _by_hand(op: Emitter, x: Tensor, axes: Sequence[int], epsilon: float) -> tuple[Tensor, Tensor]:
    centred = op.Sub(x, op.ReduceMean(x, axes=list(axes), keepdims=1))
    spread = op.ReduceMean(op.Mul(centred, centred), axes=list(axes), keepdims=1)
    inv = op.Div(1, op.Sqrt(op.Add(spread, epsilon)))
    return op.Mul(centred, inv), inv


def _centred_gradient(
    op: Emitter, g: Tensor, hat: Tensor, inv: Tensor, axes: Sequence[int]
) -> Tensor:
    mean = op.ReduceMean(g, axes=list(axes), keepdims=1)
    along = op.ReduceMean(op.Mul(g, hat), axes=list(axes), keepdims=1)
    return op.Mul(inv, op.Sub(op.Sub(g, mean), op.Mul(hat, along)))


def _count(op: Emitter, x: Tensor, axes: Sequence[int]) -> Tensor:
    sizes = [op.dim(x, a) for a in axes]
    return op.scalar(op.ReduceProd(op.dims(*sizes), axes=[0], keepdims=1))


@vjp("InstanceNormalization", since=6)
def instance_normalization(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """As LayerNormalization, over the space of every input and channel."""
    x, scale, _ = node.inputs
    rank = len(shape_of(x) or ())
    axes = list(range(2, rank))
    hat, inv = _by_hand(op, x, axes, node.attr("epsilon"))
    dx = _centred_gradient(op, op.Mul(dy, _column(op, scale, rank)), hat, inv, axes)
    others = [0, *axes]
    dscale = op.ReduceSum(op.Mul(dy, hat), axes=others, keepdims=0)
    return [dx, dscale, op.ReduceSum(dy, axes=others, keepdims=0)]


@vjp("LRN")
def lrn(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """y = x (bias + alpha mean of neighbouring squares)^-beta."""
    x, size = node.inputs[0], int(node.attr("size"))
    # The channels as the rows of a picture: a pool over them is the mean of the neighbours.
    rows = op.Reshape(op.Mul(x, x), op.dims(op.dim(x, 0), 1, op.dim(x, 1), -1))
    before = (size - 1) // 2
    pads = [before, 0, size - 1 - before, 0]
    mean = op.AveragePool(rows, kernel_shape=[size, 1], pads=pads, count_include_pad=1)
    level = op.Add(op.Mul(op.Reshape(mean, op.shape(x)), node.attr("alpha")), node.attr("bias"))
    y = op.Mul(x, op.Pow(level, -node.attr("beta")))
    return through(op, node, [y], [dy])
