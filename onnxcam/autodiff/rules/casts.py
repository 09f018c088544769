"""Casts. To float8 and smaller they round as quantisation does: gradients go straight through."""

from __future__ import annotations

import numpy as np

from onnxcam.autodiff.registry import NodeView, vjp
from onnxcam.autodiff.rules._moves import alone
from onnxcam.autodiff.rules.quantized import limits
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, is_float, is_small_float


@vjp("Cast", "CastLike")
def cast(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """dx = dy in the input's dtype; no gradient flows through integers.

    0 where x is beyond what a float8 can hold; what it rounds counts as the identity.
    """
    x, y, stored = node.inputs[0], node.outputs[0], node.raw.outputs[0]
    if not is_float(x) or not is_float(y):
        return alone(node, None)
    if is_small_float(stored) and dtype_of(stored) != dtype_of(node.raw.inputs[0]):
        op.straight_through.add(node.op_type)
        _, top = limits(dtype_of(stored) or np.dtype(np.float32))
        dy = op.Mul(dy, op.cast(op.LessOrEqual(op.Abs(x), top), dy))
    return alone(node, op.cast(dy, x))
