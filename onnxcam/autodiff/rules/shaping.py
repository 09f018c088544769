"""Operators that only move values: reshapes, transpositions, casts."""

from __future__ import annotations

import numpy as np

from onnxcam.autodiff.registry import NodeView, nondiff, vjp
from onnxcam.emit import Emitter, Tensor, is_float, shape_of

nondiff("Shape", "Size", "Constant", "ConstantOfShape", why="the output does not depend on values")


@vjp("Identity")
def identity(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy."""
    return dy


@vjp("Cast")
def cast(op: Emitter, node: NodeView, dy: Tensor) -> Tensor | None:
    """dx = dy in the input's dtype; no gradient flows through integers."""
    x, y = node.inputs[0], node.outputs[0]
    return op.cast(dy, x) if is_float(x) and is_float(y) else None


@vjp("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor | None, ...]:
    """dx = dy in the shape of x."""
    dx = op.Reshape(dy, op.shape(node.inputs[0]), allowzero=_allow_zero(op, node))
    return (dx, *[None] * (len(node.inputs) - 1))


@vjp("Transpose")
def transpose(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy with the inverse permutation."""
    rank = len(shape_of(dy) or ())
    perm = node.attr("perm", list(range(rank))[::-1])
    return op.Transpose(dy, perm=[int(i) for i in np.argsort(perm)])


def _allow_zero(op: Emitter, node: NodeView) -> int | None:
    """An empty dimension must stay 0 and not be read as "copy"."""
    shape = shape_of(node.inputs[0])
    if shape is None or 0 in shape or not all(isinstance(d, int) for d in shape):
        return 1 if "allowzero" in op.schema("Reshape").attributes else None
    return None
