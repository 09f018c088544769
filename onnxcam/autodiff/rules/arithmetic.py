"""Elementwise arithmetic."""

from __future__ import annotations

from onnxcam.autodiff.registry import NodeView, vjp
from onnxcam.emit import Emitter, Tensor


@vjp("Add", broadcasts=True)
def add(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor, ...]:
    """d(a + b) = da + db."""
    return dy, dy


@vjp("Sub", broadcasts=True)
def sub(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor, ...]:
    """d(a - b) = da - db."""
    return dy, op.Neg(dy)


@vjp("Mul", broadcasts=True)
def mul(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor, ...]:
    """d(a b) = b da + a db."""
    a, b = node.inputs
    return op.Mul(dy, b), op.Mul(dy, a)


@vjp("Div", broadcasts=True)
def div(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor, ...]:
    """d(a / b) = da / b - (y / b) db."""
    b, y = node.inputs[1], node.outputs[0]
    da = op.Div(dy, b)
    return da, op.Neg(op.Mul(da, y))


@vjp("Neg")
def neg(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """d(-x) = -dx."""
    return op.Neg(dy)
