"""Activation functions. At a kink the derivative is the one of the side that is flat."""

from __future__ import annotations

from onnxcam.autodiff.registry import NodeView, vjp
from onnxcam.emit import Emitter, Tensor


@vjp("Relu")
def relu(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy where y > 0, else 0 (also at 0)."""
    y = node.outputs[0]
    return op.Mul(dy, op.cast(op.Cast(y, to=9), dy))


@vjp("Sigmoid")
def sigmoid(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy y (1 - y)."""
    y = node.outputs[0]
    return op.Mul(dy, op.Mul(y, op.Sub(1, y)))


@vjp("Tanh")
def tanh(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy (1 - y^2)."""
    y = node.outputs[0]
    return op.Mul(dy, op.Sub(1, op.Mul(y, y)))


@vjp("Softmax", since=13)
def softmax(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = a - y sum(a), with a = dy y."""
    y, axis = node.outputs[0], node.attr("axis")
    a = op.Mul(dy, y)
    return op.Sub(a, op.Mul(y, op.ReduceSum(a, axes=[axis], keepdims=1)))
