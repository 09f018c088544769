"""Gradients of what was broadcast."""

from __future__ import annotations

import numpy as np

from onnxcam.graph import ir
from onnxcam.graph.emit import Emitter, Tensor, shape_of


def unbroadcast(op: Emitter, dx: Tensor, x: Tensor) -> Tensor:
    """Sum a gradient over the dimensions that broadcasting gave its input.

    Args:
        op: Emitter.
        dx: Gradient in the broadcast shape.
        x: The input before broadcasting.
    """
    big, small = shape_of(dx), shape_of(x)
    if big is None or small is None:
        return _unbroadcast_at_run_time(op, dx, x)
    extra = len(big) - len(small)
    pairs = list(zip(big[extra:], small, strict=True))
    if any(s != 1 and (b != s or s is None) and not isinstance(s, int) for b, s in pairs):
        return _unbroadcast_at_run_time(op, dx, x)
    axes = [*range(extra), *(extra + i for i, (b, s) in enumerate(pairs) if s == 1 and b != 1)]
    if not axes:
        return dx
    summed = op.ReduceSum(dx, axes=axes, keepdims=0 if axes == list(range(extra)) else 1)
    return op.Reshape(summed, op.shape(x)) if extra and len(axes) > extra else summed


def _unbroadcast_at_run_time(op: Emitter, dx: Tensor, x: Tensor) -> Tensor:
    """Sum where the input's dimension is 1 at run time (a no-op where the output's is 1 too)."""
    rank = op.Sub(op.Shape(op.Shape(dx)), op.Shape(op.Shape(x)))
    padded = op.Concat(
        op.ConstantOfShape(rank, value=ir.Constant("", np.ones(1, np.int64))), op.Shape(x), axis=0
    )
    axes = op.Squeeze(op.NonZero(op.Equal(padded, 1)), axes=[0])
    summed = op.ReduceSum(dx, axes=axes, keepdims=1, noop_with_empty_axes=1)
    allowzero = 1 if "allowzero" in op.schema("Reshape").attributes else None
    return op.Reshape(summed, op.Shape(x), allowzero=allowzero)
