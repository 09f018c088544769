"""What is only there for training."""

from __future__ import annotations

from onnxcam.autodiff.registry import NodeView, limit, nondiff, vjp
from onnxcam.autodiff.rules._moves import alone
from onnxcam.errors import UnsupportedOp
from onnxcam.graph.emit import Emitter, Tensor, dtype_of

nondiff(
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
    "RandomUniformLike", why="the output is a random draw",
)  # fmt: skip


limit("Dropout", why="in training mode without the mask as its second output")


@vjp("Dropout")
def dropout(
    op: Emitter, node: NodeView, dy: Tensor, _: Tensor | None = None
) -> list[Tensor | None]:
    """dx = dy; in training mode dy mask / (1 - ratio), and dratio = sum(dy y) / (1 - ratio)."""
    switch, fixed = node.input(2), node.const(2)
    if switch is None or (fixed is not None and not fixed.any()):
        return alone(node, dy)
    mask = node.output(1)
    if mask is None:
        raise UnsupportedOp(
            f"no gradient for Dropout in training mode, node {node.name!r}: what it dropped is "
            "not an output",
            "export the model for inference, or with the mask as the second output of Dropout",
        )
    ratio = 0.5 if node.input(1) is None else op.cast(node.inputs[1], dy)
    scaled = op.Div(dy, op.Sub(op.const(1, dtype_of(dy)), ratio))
    dx, dratio = op.Mul(scaled, op.cast(mask, dy)), op.Mul(scaled, node.outputs[0])
    if fixed is None:
        dx, dratio = op.Where(switch, dx, dy), op.Where(switch, dratio, 0)
    grads = alone(node, dx)
    if node.wants(1):
        grads[1] = op.Reshape(op.ReduceSum(dratio, keepdims=0), op.shape(node.inputs[1]))
    return grads
