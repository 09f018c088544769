"""Quantisation: the rounding counts as the identity inside the range (straight-through).

The cotangent of a quantised tensor is the derivative with respect to its integer value, in the
floating-point dtype of the scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np

from onnxcam.autodiff.broadcast import unbroadcast
from onnxcam.autodiff.cotangents import as_scaled, scaled
from onnxcam.autodiff.engine import vjp as differentiate
from onnxcam.autodiff.registry import MICROSOFT, NodeView, vjp
from onnxcam.graph import ir
from onnxcam.graph.emit import Emitter, Tensor, const_value, dtype_of, is_float, shape_of
from onnxcam.graph.ops import Trait, has


@vjp("QuantizeLinear", straight_through=True)
@vjp("QuantizeLinear", domain=MICROSOFT, straight_through=True)
def quantize_linear(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor | None, ...]:
    """dx = dy / scale, dscale = -dx x / scale, dzero = dy, where x is in range, else 0.

    In range is what rounds to a number that y can hold. Only where the range ends at 0 does it
    end there, 0 inside: that end stands for a ReLU. (Half a step below 0 let through so much in a
    MobileNetV2 that the input's gradient was 1.3 times as long as the float model's.)
    """
    x, scale = node.inputs[0], op.cast(_spread(op, node, 1), dy)
    inside = _in_range(op, node)
    mask = None if inside is None else op.cast(inside, dy)
    dx = _divided(op, dy, scale)
    dx = dx if mask is None else op.Mul(dx, mask)
    grads: list[Tensor | None] = [dx, None, None]
    if node.wants(1):
        grads[1] = _collected(op, node, 1, op.Neg(op.Div(op.Mul(dx, op.cast(x, dy)), scale)))
    if node.input(2) is not None and node.wants(2):
        grads[2] = _collected(op, node, 2, dy if mask is None else op.Mul(dy, mask))
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


def _in_range(op: Emitter, node: NodeView) -> Tensor | None:
    """Tell where x lies between the limits of y's dtype; None where it never leaves them.

    In single precision: 65535 is infinite as a float16.
    """
    x, ends = node.inputs[0], limits(dtype_of(node.raw.outputs[0]) or np.dtype(np.uint8))
    known = _constants(node.raw)
    if known is None:
        return _between(op, x, _computed_ends(op, node, ends))
    within = _reach(x)
    steps = [np.float32(end) - np.float32(known[1]) for end in ends]
    low, high = (known[0] * np.float32(end + np.sign(end) * 0.5) for end in steps)
    if within is not None and low <= within[0] and within[1] <= high:
        return None
    if dtype_of(x) in (np.float32, np.float64):  # a half may be compared before it is rounded
        return op.Equal(op.Clip(x, low, high), x)
    return _between(op, x, [op.const(end) for end in (low, high)])


def _between(op: Emitter, x: Tensor, ends: Sequence[Tensor]) -> Tensor:
    low, high = (op.cast(end, x) for end in ends)
    return op.Not(op.Or(op.Less(x, low), op.Greater(x, high)))


def _computed_ends(op: Emitter, node: NodeView, ends: Sequence[float]) -> list[Tensor]:
    """Return the limits in x's units, where scale or zero point are not one number each."""
    single = np.dtype(np.float32)
    scale, sides = op.cast(_spread(op, node, 1), single), list[Any](ends)
    if node.input(2) is not None:
        zero = op.cast(_spread(op, node, 2), single)
        sides = [op.Sub(end, zero) for end in sides]
        sides = [op.Add(end, op.Mul(op.Sign(end), 0.5)) for end in sides]
    else:
        sides = [end + 0.5 * float(np.sign(end)) for end in sides]
    return [op.Mul(scale, end) for end in sides]


def _constants(node: ir.Node) -> tuple[np.float32, float] | None:
    """Return scale and zero point where they are known, and the same for the whole tensor."""
    scale, *zeros = (const_value(t) for t in node.inputs[1:] if t.name)
    zero = zeros[0] if zeros else np.zeros((), np.float32)
    if scale is None or zero is None or scale.size != 1 or zero.size != 1:
        return None
    return np.float32(scale.item()), float(zero.item())


def _reach(x: Tensor) -> tuple[float, float] | None:
    """Return between which numbers all elements of a tensor lie that was dequantised before."""
    while x.inputs and (has(x.inputs[0], Trait.PICKS) or x.inputs[0].op == "Relu"):
        x = x.inputs[0].inputs[0]
    node = x.inputs[0] if x.inputs else None
    known = None if node is None or not has(node, Trait.DEQUANTISES) else _constants(node)
    dtype = None if node is None else dtype_of(node.inputs[0])
    if node is None or known is None or dtype is None or is_float(node.inputs[0]):
        return None
    low, high = (known[0] * np.float32(end - known[1]) for end in limits(dtype))
    return float(low), float(high)


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
