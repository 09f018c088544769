"""Operators on quantised tensors: dequantise, compute in float, quantise again."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxcam.graph import quirks
from onnxcam.graph.contrib.conv import to_channels_first, to_channels_last
from onnxcam.graph.contrib.definitions import define, rank_of
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, shape_of

_Maybe = Tensor | None


@quirks.works_around(quirks.SIGNED_WITHOUT_ZERO)
def real(op: Emitter, x: Tensor, scale: Tensor, zero: _Maybe = None, axis: int = 0) -> Tensor:
    """Return (x - zero) scale; scale and zero are scalars or vectors along ``axis``."""
    zero = op.const(0, dtype_of(x) or np.uint8) if zero is None else zero
    if shape_of(zero) != shape_of(scale):
        zero = op.Expand(zero, op.shape(scale))
    return op.DequantizeLinear(x, scale, zero, axis=_axis(op, axis))


def integer(op: Emitter, y: Tensor, scale: Tensor, zero: _Maybe, like: Tensor) -> Tensor:
    """Return round(y / scale) + zero in the range of the dtype of ``zero``, else of ``like``."""
    zero = op.const(0, dtype_of(like) or np.uint8) if zero is None else zero
    return op.QuantizeLinear(y, scale, zero)


def _axis(op: Emitter, axis: int) -> int | None:
    """Before opset 13 there is one scale a tensor and no axis."""
    return axis if op.opsets[""] >= 13 else None


def _ones_like(op: Emitter, zero: Tensor) -> Tensor:
    return op.typed(op.Add(op.Mul(op.Cast(zero, to=1), 0.0), 1.0), zero)


def _values(op: Emitter, x: Tensor, zero: _Maybe, axis: int) -> Tensor:
    """Return x - zero as floats."""
    if zero is None or rank_of(zero) > 1:
        y = op.Cast(x, to=1)
        return y if zero is None else op.Sub(y, op.Cast(zero, to=1))
    return real(op, x, _ones_like(op, zero), zero, axis)


# ---- products


@define("QLinearConv", domain="", rounds=True)
@define("QLinearConv", rounds=True)
def qlinear_conv(
    op: Emitter, x: Tensor, x_scale: Tensor, x_zero: Tensor, w: Tensor, w_scale: Tensor,
    w_zero: Tensor, y_scale: Tensor, y_zero: Tensor, b: _Maybe = None, *,
    channels_last: int = 0, **conv: Any,
) -> Tensor:  # fmt: skip
    """y = conv(x, w) + b x_scale w_scale, quantised."""
    rank = rank_of(w)
    image = real(op, x, x_scale, x_zero)
    image = to_channels_first(op, image) if channels_last else image
    bias = None if b is None else op.Mul(op.Cast(b, to=1), op.Mul(x_scale, w_scale))
    y = op.Conv(image, real(op, w, w_scale, w_zero), bias, **conv)
    y = to_channels_last(op, y, rank) if channels_last else y
    return integer(op, y, y_scale, y_zero, x)


@define("QLinearMatMul", domain="", rounds=True)
def qlinear_matmul(
    op: Emitter, a: Tensor, a_scale: Tensor, a_zero: Tensor, b: Tensor, b_scale: Tensor,
    b_zero: Tensor, y_scale: Tensor, y_zero: Tensor,
) -> Tensor:  # fmt: skip
    """y = a b, quantised; a by rows, b by columns."""
    left, right = real(op, a, a_scale, a_zero, -2), real(op, b, b_scale, b_zero, -1)
    return integer(op, op.MatMul(left, right), y_scale, y_zero, a)


@define("ConvInteger", domain="")
def conv_integer(
    op: Emitter, x: Tensor, w: Tensor, x_zero: _Maybe = None, w_zero: _Maybe = None, **conv: Any
) -> Tensor:
    """y = conv(x - x_zero, w - w_zero), as floats."""
    y: Tensor = op.Conv(_values(op, x, x_zero, 0), _values(op, w, w_zero, 0), **conv)
    return y


@define("MatMulInteger", domain="")
def matmul_integer(
    op: Emitter, a: Tensor, b: Tensor, a_zero: _Maybe = None, b_zero: _Maybe = None
) -> Tensor:
    """y = (a - a_zero) (b - b_zero), as floats."""
    return op.MatMul(_values(op, a, a_zero, -2), _values(op, b, b_zero, -1))


@define("MatMulIntegerToFloat")
def matmul_integer_to_float(
    op: Emitter, a: Tensor, b: Tensor, a_scale: Tensor, b_scale: Tensor, a_zero: _Maybe = None,
    b_zero: _Maybe = None, bias: _Maybe = None,
) -> Tensor:  # fmt: skip
    """y = a b + bias."""
    y = op.MatMul(real(op, a, a_scale, a_zero, -2), real(op, b, b_scale, b_zero, -1))
    return y if bias is None else op.Add(y, bias)


@define("DynamicQuantizeMatMul", rounds=True)
def dynamic_quantize_matmul(
    op: Emitter, a: Tensor, b: Tensor, b_scale: Tensor, b_zero: _Maybe = None, bias: _Maybe = None
) -> Tensor:
    """y = q(a) b + bias, with a quantised over its own range."""
    quantised, scale, zero = op.DynamicQuantizeLinear(a, _outputs=3)
    return matmul_integer_to_float(op, quantised, b, scale, b_scale, zero, b_zero, bias)


@define("QGemm", rounds=True)
def qgemm(
    op: Emitter, a: Tensor, a_scale: Tensor, a_zero: Tensor, b: Tensor, b_scale: Tensor,
    b_zero: Tensor, c: _Maybe = None, y_scale: _Maybe = None, y_zero: _Maybe = None, *,
    alpha: float = 1.0, trans_a: int = 0, trans_b: int = 0,
) -> Tensor:  # fmt: skip
    """y = alpha a' b' + c alpha a_scale b_scale, quantised where it has a scale."""
    left = real(op, a, a_scale, a_zero)
    right = real(op, b, b_scale, b_zero, 0 if trans_b else 1)
    bias = None
    if c is not None:
        unit = op.Mul(a_scale, b_scale)
        bias = op.Mul(op.Cast(c, to=1), unit if alpha == 1 else op.Mul(unit, alpha))
    y = op.Gemm(left, right, bias, alpha=alpha, transA=trans_a, transB=trans_b)
    return y if y_scale is None else integer(op, y, y_scale, y_zero, a)


# ---- everything else


@define("QLinearAdd", rounds=True)
def qlinear_add(
    op: Emitter, a: Tensor, a_scale: Tensor, a_zero: _Maybe, b: Tensor, b_scale: Tensor,
    b_zero: _Maybe, y_scale: Tensor, y_zero: _Maybe = None,
) -> Tensor:  # fmt: skip
    """y = a + b, quantised."""
    y = op.Add(real(op, a, a_scale, a_zero), real(op, b, b_scale, b_zero))
    return integer(op, y, y_scale, y_zero, a)


@define("QLinearMul", rounds=True)
def qlinear_mul(
    op: Emitter, a: Tensor, a_scale: Tensor, a_zero: _Maybe, b: Tensor, b_scale: Tensor,
    b_zero: _Maybe, y_scale: Tensor, y_zero: _Maybe = None,
) -> Tensor:  # fmt: skip
    """y = a b, quantised."""
    y = op.Mul(real(op, a, a_scale, a_zero), real(op, b, b_scale, b_zero))
    return integer(op, y, y_scale, y_zero, a)


@define("QLinearSigmoid", rounds=True)
def qlinear_sigmoid(
    op: Emitter, x: Tensor, x_scale: Tensor, x_zero: _Maybe, y_scale: Tensor,
    y_zero: _Maybe = None,
) -> Tensor:  # fmt: skip
    """y = sigmoid(x), quantised."""
    return integer(op, op.Sigmoid(real(op, x, x_scale, x_zero)), y_scale, y_zero, x)


@define("QLinearLeakyRelu", rounds=True)
def qlinear_leaky_relu(
    op: Emitter, x: Tensor, x_scale: Tensor, x_zero: _Maybe, y_scale: Tensor,
    y_zero: _Maybe = None, *, alpha: float = 0.01,
) -> Tensor:  # fmt: skip
    """y = x or alpha x below 0, quantised."""
    y = op.LeakyRelu(real(op, x, x_scale, x_zero), alpha=alpha)
    return integer(op, y, y_scale, y_zero, x)


@define("QLinearSoftmax", rounds=True)
def qlinear_softmax(
    op: Emitter, x: Tensor, x_scale: Tensor, x_zero: _Maybe, y_scale: Tensor, y_zero: Tensor, *,
    opset: int, axis: int = -1,
) -> Tensor:  # fmt: skip
    """y = softmax(x), quantised; before opset 13 over all axes from ``axis``, taken as one."""
    values = real(op, x, x_scale, x_zero)
    rank = rank_of(x)
    if opset >= 13 or axis in (-1, rank - 1):
        y = op.Softmax(values, axis=axis)
    else:
        y = op.Reshape(op.Softmax(op.Flatten(values, axis=axis), axis=-1), op.shape(x))
    return integer(op, y, y_scale, y_zero, x)


@define("QLinearAveragePool", rounds=True)
def qlinear_average_pool(
    op: Emitter, x: Tensor, x_scale: Tensor, x_zero: _Maybe, y_scale: Tensor,
    y_zero: _Maybe = None, *, channels_last: int = 0, **pool: Any,
) -> Tensor:  # fmt: skip
    """The mean of each window, quantised."""
    values = real(op, x, x_scale, x_zero)
    if not channels_last:
        return integer(op, op.AveragePool(values, **pool), y_scale, y_zero, x)
    y = op.AveragePool(to_channels_first(op, values), **pool)
    return integer(op, to_channels_last(op, y, rank_of(x)), y_scale, y_zero, x)


@define("QLinearGlobalAveragePool", rounds=True)
def qlinear_global_average_pool(
    op: Emitter, x: Tensor, x_scale: Tensor, x_zero: Tensor, y_scale: Tensor, y_zero: Tensor, *,
    channels_last: int = 0,
) -> Tensor:  # fmt: skip
    """The mean over space, quantised."""
    rank = rank_of(x)
    axes = list(range(1, rank - 1)) if channels_last else list(range(2, rank))
    y = op.ReduceMean(real(op, x, x_scale, x_zero), axes=axes, keepdims=1)
    return integer(op, y, y_scale, y_zero, x)


@define("QLinearReduceMean", rounds=True)
def qlinear_reduce_mean(
    op: Emitter, x: Tensor, x_scale: Tensor, x_zero: _Maybe, y_scale: Tensor,
    y_zero: _Maybe = None, *, axes: list[int], keepdims: int,
) -> Tensor:  # fmt: skip
    """The mean over some axes, quantised."""
    y = op.ReduceMean(real(op, x, x_scale, x_zero), axes=list(axes), keepdims=keepdims)
    return integer(op, y, y_scale, y_zero, x)


@define("QLinearConcat", rounds=True)
def qlinear_concat(
    op: Emitter, y_scale: Tensor, y_zero: Tensor, *parts: Tensor, axis: int
) -> Tensor:
    """The pieces (x, scale, zero, x, scale, zero, ...) side by side, quantised."""
    triples = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    y = op.Concat(*[real(op, *triple) for triple in triples], axis=axis)
    return integer(op, y, y_scale, y_zero, parts[0])


@define("QLinearWhere", rounds=True)
def qlinear_where(
    op: Emitter, condition: Tensor, a: Tensor, a_scale: Tensor, a_zero: Tensor, b: Tensor,
    b_scale: Tensor, b_zero: Tensor, y_scale: Tensor, y_zero: Tensor,
) -> Tensor:  # fmt: skip
    """y = a where the condition holds, else b, quantised."""
    y = op.Where(condition, real(op, a, a_scale, a_zero), real(op, b, b_scale, b_zero))
    return integer(op, y, y_scale, y_zero, a)


# ---- the conversions themselves: shapes only, their gradients are rules


@define("DequantizeLinear")
def dequantize_linear(
    op: Emitter, x: Tensor, scale: Tensor, zero: _Maybe = None, *, axis: int | None = None
) -> Tensor:
    """y = (x - zero) scale; here without zero and scale."""
    return op.cast(x, scale)


@define("QuantizeLinear", rounds=True)
def quantize_linear(
    op: Emitter, x: Tensor, scale: Tensor, zero: _Maybe = None, *, axis: int | None = None
) -> Tensor:
    """y = round(x / scale) + zero; here without zero and scale."""
    return op.Cast(x, to=2) if zero is None else op.cast(x, zero)
