"""What is only there for training."""

from __future__ import annotations

from onnxcam.autodiff.registry import NodeView, nondiff, vjp
from onnxcam.autodiff.rules._moves import alone
from onnxcam.emit import Emitter, Tensor
from onnxcam.errors import UnsupportedOp

nondiff(
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
    "RandomUniformLike", why="the output is a random draw",
)  # fmt: skip


@vjp("Dropout")
def dropout(
    op: Emitter, node: NodeView, dy: Tensor, _: Tensor | None = None
) -> list[Tensor | None]:
    """dx = dy; in training mode dy mask / (1 - ratio)."""
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
    dropped = op.Div(op.Mul(dy, op.cast(mask, dy)), op.Sub(op.const(1, dy.dtype), ratio))
    return alone(node, dropped if fixed is not None else op.Where(switch, dropped, dy))
