"""Quantisation: the rounding counts as the identity inside the range (straight-through).

The cotangent of a quantised tensor is the derivative with respect to its integer value, in the
floating-point dtype of the scale.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from onnxcam.autodiff.broadcast import unbroadcast
from onnxcam.autodiff.cotangents import as_scaled, scaled
from onnxcam.autodiff.engine import vjp as differentiate
from onnxcam.autodiff.registry import MICROSOFT, NodeView, vjp
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, is_float, shape_of


@vjp("QuantizeLinear", straight_through=True)
@vjp("QuantizeLinear", domain=MICROSOFT, straight_through=True)
def quantize_linear(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor | None, ...]:
    """dx = dy / scale, dscale = -dx x / scale, dzero = dy, where x is in range, else 0.

    In range is what rounds to a number that y can hold. Only where the range ends at 0 does it
    end there, 0 inside: that end stands for a ReLU. (Half a step below 0 let through so much in a
    MobileNetV2 that the input's gradient was 1.3 times as long as the float model's.)
    """
    x, scale = node.inputs[0], op.cast(_spread(op, node, 1), dy)
    inside = op.cast(_in_range(op, node), dy)
    dx = op.Mul(_divided(op, dy, scale), inside)
    grads: list[Tensor | None] = [dx, None, None]
    if node.wants(1):
        grads[1] = _collected(op, node, 1, op.Neg(op.Div(op.Mul(dx, op.cast(x, dy)), scale)))
    if node.input(2) is not None and node.wants(2):
        grads[2] = _collected(op, node, 2, op.Mul(dy, inside))
    return tuple(grads[: len(node.inputs)])


@vjp("DequantizeLinear")
@vjp("DequantizeLinear", domain=MICROSOFT)
def dequantize_linear(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor | None, ...]:
    """dx = dy scale, dscale = dy (x - zero), dzero = -dx."""
    scale = op.cast(_spread(op, node, 1), dy)
    dx = scaled(op, dy, scale)
    grads: list[Tensor | None] = [dx, None, None]
    if node.wants(1):
        steps = op.Div(op.cast(node.outputs[0], dy), scale)
        grads[1] = _collected(op, node, 1, op.Mul(dy, steps))
    if node.input(2) is not None and node.wants(2):
        grads[2] = _collected(op, node, 2, op.Neg(dx))
    return tuple(grads[: len(node.inputs)])


@vjp("DynamicQuantizeLinear", straight_through=True)
def dynamic_quantize_linear(
    op: Emitter, node: NodeView, dy: Tensor, *_: Tensor | None
) -> Tensor | None:
    """dx = dy / scale; scale and zero point, which follow the range of x, count as constants."""
    return None if dy is None else op.Div(dy, node.raw.outputs[1])


def limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Return the smallest and the largest number of a dtype."""
    if dtype.name.startswith(("int", "uint")):
        whole = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]
        return int(whole.min), int(whole.max)
    top = float(ml_dtypes.finfo(dtype).max)  # type: ignore[no-untyped-call]
    return -top, top


def _in_range(op: Emitter, node: NodeView) -> Tensor:
    """Tell where x lies between the limits of y's dtype, which are brought into x's units.

    In single precision: 65535 is infinite as a float16.
    """
    x, single = node.inputs[0], np.dtype(np.float32)
    scale = op.cast(_spread(op, node, 1), single)
    ends: list[Any] = list(limits(dtype_of(node.raw.outputs[0]) or np.dtype(np.uint8)))
    if node.input(2) is not None:
        zero = op.cast(_spread(op, node, 2), single)
        ends = [op.Sub(end, zero) for end in ends]
        ends = [op.Add(end, op.Mul(op.Sign(end), 0.5)) for end in ends]
    else:
        ends = [end + 0.5 * float(np.sign(end)) for end in ends]
    low, high = (op.cast(op.Mul(scale, end), x) for end in ends)
    return op.Not(op.Or(op.Less(x, low), op.Greater(x, high)))


def _spread(op: Emitter, node: NodeView, index: int) -> Tensor:
    """Return a scale or zero point as floats in a shape that broadcasts against x.

    It is a scalar, a vector along ``axis``, or has one entry per block of ``block_size``.
    """
    x, p = node.raw.inputs[0], node.raw.inputs[index]
    p = p if is_float(p) else op.cast(p, node.raw.inputs[1])
    rank, block = len(shape_of(x) or ()), int(node.attr("block_size", 0) or 0)
    axis = int(node.attr("axis", 1)) % max(rank, 1)
    if block:
        length = op.dim(x, axis)
        if isinstance(length, int):
            return op.Gather(p, np.arange(length) // block, axis=axis)
        ends = op.Squeeze(length, axes=[0])
        steps = op.Range(op.const(np.int64(0)), ends, op.const(np.int64(1)))
        return op.Gather(p, op.Div(steps, block), axis=axis)
    if len(shape_of(p) or ()) != 1 or axis == rank - 1:
        return p
    return op.Unsqueeze(p, axes=list(range(1, rank - axis)))


def _collected(op: Emitter, node: NodeView, index: int, d: Tensor) -> Tensor | None:
    """Bring the gradient of a spread-out scale or zero point back to its own shape."""
    spread = _spread(op, node, index)
    return differentiate(op, [(spread, unbroadcast(op, d, spread))], [node.raw.inputs[index]])[0]


def _divided(op: Emitter, dy: Tensor, scale: Tensor) -> Tensor:
    """Return dy / scale; where dy is a product with the same scale, drop that instead.

    A QuantizeLinear is mostly followed by a DequantizeLinear of the same scale.
    """
    product = as_scaled(op, dy)
    same = product is not None and product.factor is scale
    return product.rest if product is not None and same else op.Div(dy, scale)
