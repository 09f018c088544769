"""Normalisations: over the batch, over features, over groups of channels, over neighbours.

With xn = (x - mean) r and r = 1 / sqrt(var + epsilon), taken over what is normalised together,
the gradient of xn's input is r (g - mean(g) - xn mean(g xn)), or r (g - mean(g)) where r is taken
as fixed, which rules of relevance ask for (``fixed``). Half precision is widened: a mean of
thousands of bfloat16 values has hardly a digit left.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxcam.autodiff.broadcast import unbroadcast
from onnxcam.autodiff.registry import NodeView, vjp
from onnxcam.autodiff.rules._moves import like
from onnxcam.errors import UnsupportedOp
from onnxcam.graph import quirks
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, shape_of

Grads = tuple[Tensor | None, ...]


@vjp("LayerNormalization")
def layer_normalization(
    op: Emitter,
    node: NodeView,
    dy: Tensor | None,
    dmean: Tensor | None = None,
    dr: Tensor | None = None,
    *,
    fixed: bool = False,
) -> Grads:
    """dx = r (g - mean(g) - xn mean(g xn)), g = dy scale; mean and r may be outputs too."""
    x, scale, bias = node.inputs[0], node.inputs[1], node.input(2)
    axes, epsilon = _last_axes(node, x), float(node.attr("epsilon"))
    xn, r = _normalized_by_layer(op, node, wide(op, x), axes, epsilon)
    dy = wide(op, op.zeros_like(x) if dy is None else dy)
    g = op.Mul(dy, op.cast(scale, dy))
    t = g
    if not fixed:
        slope = op.ReduceMean(op.Mul(g, xn), axes=axes)
        if dr is not None:  # dr/dx = -r^2 xn / n
            slope = op.Add(slope, op.Mul(r, op.Div(op.cast(dr, r), _count(op, x, axes, r))))
        t = op.Sub(g, op.Mul(xn, slope))
    dx = op.Mul(r, centred(op, t, axes))
    if dmean is not None:
        dx = op.Add(dx, op.Div(op.cast(dmean, dx), _count(op, x, axes, r)))
    dscale = unbroadcast(op, op.Mul(dy, xn), scale) if node.wants(1) else None
    dbias = None if bias is None or not node.wants(2) else unbroadcast(op, dy, bias)
    return (dx, dscale, dbias)[: len(node.inputs)]


@vjp("RMSNormalization")
def rms_normalization(op: Emitter, node: NodeView, dy: Tensor, *, fixed: bool = False) -> Grads:
    """dx = r (g - xn mean(g xn)), g = dy scale, xn = x r, r = 1 / sqrt(mean(x^2) + epsilon)."""
    x, scale = wide(op, node.inputs[0]), node.inputs[1]
    axes = _last_axes(node, x)
    r = _per_root(op, op.ReduceMean(op.Mul(x, x), axes=axes), float(node.attr("epsilon")))
    xn, dy = op.Mul(x, r), op.cast(dy, x)
    g = op.Mul(dy, op.cast(scale, dy))
    t = g if fixed else op.Sub(g, op.Mul(xn, op.ReduceMean(op.Mul(g, xn), axes=axes)))
    dx = op.Mul(r, t)
    return dx, unbroadcast(op, op.Mul(dy, xn), scale) if node.wants(1) else None


@vjp("InstanceNormalization")
def instance_normalization(
    op: Emitter, node: NodeView, dy: Tensor, *, fixed: bool = False
) -> Grads:
    """dx = r (g - mean(g) - xn mean(g xn)) over each channel's space, g = dy scale."""
    scale = op.Reshape(node.inputs[1], [1, -1, 1, 1])
    return _normalized_groups(op, node, dy, scale, op.dims(0, 0, 1, -1), fixed)


@vjp("GroupNormalization")
def group_normalization(op: Emitter, node: NodeView, dy: Tensor, *, fixed: bool = False) -> Grads:
    """dx = r (g - mean(g) - xn mean(g xn)) over a group's channels and space, g = dy scale.

    Scale and bias are per group before opset 21, per channel since.
    """
    groups, channels = int(node.attr("num_groups")), op.dim(node.inputs[0], 1)
    each = channels // groups if isinstance(channels, int) else op.Div(channels, [groups])
    scale = op.Reshape(node.inputs[1], [1, groups, -1, 1])
    return _normalized_groups(op, node, dy, scale, op.dims(0, groups, each, -1), fixed)


@vjp("LRN")
def lrn(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy d^-beta - 2 alpha beta x M^T(dy x d^(-beta-1)), d = bias + alpha M x^2.

    M takes the mean over neighbouring channels; those beside the first and last are 0.
    """
    x, size = node.inputs[0], int(node.attr("size"))
    alpha, beta, bias = (float(node.attr(name)) for name in ("alpha", "beta", "bias"))
    before, after = (size - 1) // 2, size // 2
    d = op.Add(op.Mul(_neighbours(op, op.Mul(x, x), before, after), alpha), bias)
    scaled = op.Mul(dy, op.Pow(d, op.cast(op.const(-beta), x)))
    pulled = _neighbours(op, op.Div(op.Mul(scaled, x), d), after, before)
    return op.Sub(scaled, op.Mul(op.Mul(x, pulled), 2 * alpha * beta))


# ---- what they have in common


def wide(op: Emitter, x: Tensor) -> Tensor:
    """Return x in float32 where it has fewer bits."""
    kind = dtype_of(x)
    return x if kind is None or kind.itemsize >= 4 else op.cast(x, np.dtype(np.float32))


def centred(op: Emitter, x: Tensor, axes: Sequence[int]) -> Tensor:
    """Return x less its mean over the axes."""
    return op.Sub(x, op.ReduceMean(x, axes=list(axes)))


def _per_root(op: Emitter, variance: Tensor, epsilon: float) -> Tensor:
    return op.Reciprocal(op.Sqrt(op.Add(variance, epsilon)))


def _normalized(
    op: Emitter, x: Tensor, axes: Sequence[int], epsilon: float
) -> tuple[Tensor, Tensor]:
    """Return (xn, r) over the axes."""
    difference = centred(op, x, axes)
    r = _per_root(op, op.ReduceMean(op.Mul(difference, difference), axes=list(axes)), epsilon)
    return op.Mul(difference, r), r


@quirks.works_around(quirks.NORM_WITHOUT_BIAS)
def _normalized_by_layer(
    op: Emitter, node: NodeView, x: Tensor, axes: list[int], epsilon: float
) -> tuple[Tensor, Tensor]:
    """Return (xn, r) of a LayerNormalization: it computes both itself, but r in float32 only."""
    if dtype_of(x) == np.float64:
        return _normalized(op, x, axes, epsilon)
    sizes = [op.dim(x, a) for a in axes] if shape_of(x) is not None else []
    one = op.const(np.ones(1, np.float32))
    shape = op.dims(*sizes) if sizes else op.Slice(op.Shape(x), axes[:1], [2**31], [0])
    ones, zeros = op.Expand(one, shape), op.Expand(op.const(np.zeros(1, np.float32)), shape)
    xn, _, r = op.LayerNormalization(
        x, ones, zeros, axis=int(node.attr("axis")), epsilon=epsilon, _outputs=3
    )
    return xn, r


def _normalized_groups(
    op: Emitter, node: NodeView, dy: Tensor, scale: Tensor, shape: Tensor, fixed: bool
) -> Grads:
    """Return (dx, dscale, dbias) in the view [N, groups, channels of one, space]."""
    x, xn, dy = node.inputs[0], op.Reshape(wide(op, node.inputs[0]), shape), wide(op, dy)
    xn, r = _normalized(op, xn, [2, 3], float(node.attr("epsilon")))
    dy = op.Reshape(dy, shape)
    g = op.Mul(dy, op.cast(scale, dy))
    t = g if fixed else op.Sub(g, op.Mul(xn, op.ReduceMean(op.Mul(g, xn), axes=[2, 3])))
    dx = like(op, op.Mul(r, centred(op, t, [2, 3])), x)
    axes = [0, 2, 3] if node.op_type == "GroupNormalization" and node.opset < 21 else [0, 3]
    sums = [
        like(op, op.ReduceSum(d, axes=axes), node.inputs[i]) if node.wants(i) else None
        for i, d in ((1, op.Mul(dy, xn)), (2, dy))
    ]
    return dx, *sums


def _neighbours(op: Emitter, x: Tensor, before: int, after: int) -> Tensor:
    """Return the mean over this many channels before and after; beside the ends is 0."""
    channels = op.Reshape(op.Unsqueeze(x, axes=[1]), [0, 1, 0, -1])
    mean = op.AveragePool(
        channels,
        kernel_shape=[before + after + 1, 1],
        pads=[before, 0, after, 0],
        count_include_pad=1,
    )
    return op.Reshape(mean, op.shape(x))


def _last_axes(node: NodeView, x: Tensor) -> list[int]:
    """Return the normalised axes, counted from the end."""
    axis = int(node.attr("axis"))
    return list(range(axis if axis < 0 else axis - len(_shape(node)), 0))


def _count(op: Emitter, x: Tensor, axes: Sequence[int], like: Tensor) -> Tensor:
    """Return how many elements are normalised together, as a scalar of the dtype of ``like``."""
    sizes = [op.dim(x, a) for a in axes]
    return op.cast(op.ReduceProd(op.dims(*sizes), axes=[0], keepdims=0), like)


def _shape(node: NodeView) -> tuple[int | str | None, ...]:
    """Return the shape of the input.

    Raises:
        UnsupportedOp: Not even its rank is known.
    """
    for tensor in (node.inputs[0], node.outputs[0]):
        shape = None if tensor is None else shape_of(tensor)
        if shape is not None:
            return shape
    raise UnsupportedOp(
        f"the rank of the input of node {node.name!r} ({node.op_type}) is not known, but its "
        "gradient needs it",
        "give the model's inputs their shapes (symbolic dimensions are fine)",
    )
