"""BatchNormalization: a fixed scale and shift at inference, statistics of the batch in training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxcam.autodiff.cotangents import scaled
from onnxcam.autodiff.registry import NodeView, limit, vjp
from onnxcam.autodiff.rules._moves import like
from onnxcam.autodiff.rules._windows import spatial_rank
from onnxcam.autodiff.rules.normalization import Grads, wide
from onnxcam.errors import UnsupportedOp
from onnxcam.graph.emit import Emitter, Tensor, dtype_of

limit("BatchNormalization", why="in the training mode of opsets before 14")


@vjp("BatchNormalization")
def batch_normalization(
    op: Emitter, node: NodeView, dy: Tensor | None, *dstatistics: Tensor | None
) -> Grads:
    """dx = dy k, k = scale r, r = 1 / sqrt(var + epsilon); constants where those are."""
    channels = _Channels(op, node)
    if _is_training(node):
        return _of_batch(op, node, channels, dy, dstatistics)
    assert dy is not None, "at inference there is one output"
    x, scale, _, mean, variance = node.inputs
    r = op.Reciprocal(op.Sqrt(op.Add(wide(op, variance), float(node.attr("epsilon")))))
    k = op.Mul(op.cast(scale, r), r)
    dx = scaled(op, dy, channels.spread(op.cast(k, dy))) if node.wants(0) else None
    if not any(node.wants(i) for i in range(1, 5)):
        return dx, None, None, None, None
    dbias = channels.total(op.cast(dy, r))
    difference = op.Sub(op.cast(x, r), channels.spread(op.cast(mean, r)))
    dscale = op.Mul(channels.total(op.Mul(op.cast(dy, r), difference)), r)
    dmean = op.Neg(op.Mul(dbias, k))
    dvariance = op.Mul(op.Mul(op.Mul(dscale, k), r), -0.5)
    sums = (dscale, dbias, dmean, dvariance)
    return dx, *(like(op, d, t) for d, t in zip(sums, node.inputs[1:], strict=True))


def _of_batch(
    op: Emitter,
    node: NodeView,
    channels: _Channels,
    dy: Tensor | None,
    dstatistics: tuple[Tensor | None, ...],
) -> Grads:
    """dx = scale r (dy - mean(dy) - xn mean(dy xn)), and what the running statistics add.

    running = input momentum + statistic of the batch (1 - momentum); the variance is that of the
    population.
    """
    x, scale, bias = node.inputs[:3]
    momentum, rest = float(node.attr("momentum")), 1 - float(node.attr("momentum"))
    dmean, dvariance = (*dstatistics, None, None)[:2]
    full = wide(op, x)
    dy = wide(op, op.zeros_like(x) if dy is None else dy)
    difference = op.Sub(full, channels.mean(full))
    variance = channels.mean(op.Mul(difference, difference))
    r = op.Reciprocal(op.Sqrt(op.Add(variance, float(node.attr("epsilon")))))
    xn = op.Mul(difference, r)
    t = op.Sub(dy, op.Mul(xn, channels.mean(op.Mul(dy, xn))))
    dx = op.Mul(op.Mul(op.cast(channels.spread(scale), r), r), op.Sub(t, channels.mean(t)))
    for d, moved in ((dmean, None), (dvariance, op.Mul(difference, 2))):
        if d is None:
            continue
        each = op.Div(op.Mul(op.cast(channels.spread(d), r), rest), channels.count(r))
        dx = op.Add(dx, each if moved is None else op.Mul(moved, each))
    dscale = like(op, channels.total(op.Mul(dy, xn)), scale)
    passed = [None if d is None else op.Mul(d, momentum) for d in (dmean, dvariance)]
    return dx, dscale, like(op, channels.total(dy), bias), *passed


def _is_training(node: NodeView) -> bool:
    """Tell whether statistics of the batch are used.

    Raises:
        UnsupportedOp: In the way of an opset below 14, which runtimes do not run.
    """
    if node.opset >= 14:
        return bool(node.attr("training_mode", 0))
    if node.opset < 7 and node.attr("is_test", 0):
        return False
    if node.opset < 7 or any(t is not None for t in node.outputs[1:]):
        raise UnsupportedOp(
            f"BatchNormalization node {node.name!r} is in the training mode of opset {node.opset}",
            "export the model for inference, or with opset 14 or newer",
        )
    return False


@dataclass(frozen=True)
class _Channels:
    """What each scale and shift belongs to: a channel, or (``spatial=0``) a single activation."""

    op: Emitter
    node: NodeView

    @property
    def axes(self) -> list[int]:
        """The axes that one of them is spread over."""
        rank = spatial_rank(self.node) + 2
        own = not self.node.attr("spatial", 1)
        return [0] if own else [0, *range(2, rank)]

    def spread(self, v: Tensor) -> Tensor:
        """Return [C] as [C, 1, ...], which broadcasts with x."""
        behind = [a - 1 for a in self.axes[1:]]
        return self.op.Unsqueeze(v, axes=behind) if behind else v

    def total(self, x: Tensor) -> Tensor:
        """Return the sum over batch and space, [C]."""
        return self.op.ReduceSum(x, axes=self.axes, keepdims=0)

    def mean(self, x: Tensor) -> Tensor:
        """Return the mean over batch and space, [1, C, 1, ...]."""
        return self.op.ReduceMean(x, axes=self.axes)

    def count(self, kind: Tensor) -> Tensor:
        """Return how many values a mean is over, as a scalar of the dtype of ``kind``."""
        op, sizes = self.op, [self.op.dim(self.node.inputs[0], a) for a in self.axes]
        static = [s for s in sizes if isinstance(s, int)]
        if len(static) == len(sizes):
            return op.const(np.asarray(np.prod(static), dtype_of(kind)))
        return op.cast(op.ReduceProd(op.dims(*sizes), axes=[0], keepdims=0), kind)
