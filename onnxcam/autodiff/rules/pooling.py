"""Pooling."""

from __future__ import annotations

from onnxcam.autodiff.registry import NodeView, vjp
from onnxcam.emit import Emitter, Tensor, shape_of, static_shape


@vjp("GlobalAveragePool")
def global_average_pool(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy / number of positions, at every position."""
    x = node.inputs[0]
    shape = static_shape(x) or shape_of(x) or ()
    space = [op.dim(x, i) for i in range(2, len(shape))]
    if all(isinstance(d, int) for d in space):
        count = 1
        for d in space:
            count *= d
        scaled = op.Mul(dy, 1 / count)
    else:
        product = op.ReduceProd(op.dims(*space), axes=[0], keepdims=0)
        scaled = op.Div(dy, op.cast(product, dy))
    return op.Expand(scaled, op.shape(x))
