"""Activations: on their own, and fused into a convolution or a matrix product."""

from __future__ import annotations

import math

import numpy as np

from onnxcam.errors import UnsupportedOp
from onnxcam.graph.contrib.definitions import define, rank_of
from onnxcam.graph.emit import Emitter, Tensor

# Activations that are ONNX operators of the same name, with the parameters that they take.
_PARAMETERS: dict[str, tuple[str, ...]] = {
    "Relu": (),
    "Sigmoid": (),
    "Tanh": (),
    "Softplus": (),
    "Softsign": (),
    "Elu": ("alpha",),
    "LeakyRelu": ("alpha",),
    "ThresholdedRelu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "Selu": ("alpha", "gamma"),
}


def activated(
    op: Emitter,
    x: Tensor,
    activation: str,
    alpha: float | None = None,
    beta: float | None = None,
    gamma: float | None = None,
) -> Tensor:
    """Return an activation of ``x`` by its name.

    Args:
        op: Emitter.
        x: Tensor.
        activation: Name of the activation as ONNX Runtime writes it, "" for none.
        alpha: First parameter (the lower limit of a Clip); None for the operator's default.
        beta: Second parameter (the upper limit of a Clip).
        gamma: Third parameter.

    Raises:
        UnsupportedOp: There is no activation of this name.
    """
    if not activation:
        return x
    if activation == "Clip":
        return op.Clip(x, alpha, beta)
    if activation == "HardSwish":
        return op.Mul(x, op.HardSigmoid(x, alpha=1 / 6, beta=0.5))
    if activation in ("Silu", "SiLU", "Swish"):
        return quick_gelu(op, x, alpha=1.0)
    if activation not in _PARAMETERS:
        raise UnsupportedOp(
            f"the fused activation {activation!r} is not known",
            "optimise the model again without fusing activations",
        )
    values = {"alpha": alpha, "beta": beta, "gamma": gamma}
    named = {name: values[name] for name in _PARAMETERS[activation]}
    y: Tensor = op.call(activation, [x], named)
    return y


@define("Gelu")
def gelu(op: Emitter, x: Tensor) -> Tensor:
    """y = x Phi(x)."""
    if op.opsets[""] >= 20:
        return op.Gelu(x, approximate="none")
    return op.Mul(op.Mul(x, 0.5), op.Add(op.Erf(op.Mul(x, math.sqrt(0.5))), 1))


@define("FastGelu")
def fast_gelu(op: Emitter, x: Tensor, bias: Tensor | None = None) -> Tensor:
    """y = z (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))) / 2 of z = x + bias."""
    z = x if bias is None else op.Add(x, bias)
    if op.opsets[""] >= 20:
        return op.Gelu(z, approximate="tanh")
    inner = op.Mul(z, op.Add(op.Mul(op.Mul(z, z), 0.044715), 1))
    t = op.Tanh(op.Mul(inner, math.sqrt(2 / math.pi)))
    return op.Mul(op.Mul(z, 0.5), op.Add(t, 1))


@define("QuickGelu")
def quick_gelu(op: Emitter, x: Tensor, *, alpha: float = 1.702) -> Tensor:
    """y = x sigmoid(alpha x)."""
    return op.Mul(x, op.Sigmoid(x if alpha == 1 else op.Mul(x, alpha)))


@define("BiasGelu")
def bias_gelu(op: Emitter, a: Tensor, b: Tensor) -> Tensor:
    """y = gelu(a + b)."""
    return gelu(op, op.Add(a, b))


@define("BiasSplitGelu")
def bias_split_gelu(op: Emitter, x: Tensor, bias: Tensor) -> Tensor:
    """y = l gelu(r), with the halves l, r of x + bias along the last axis."""
    both = op.Add(x, bias)
    half = _half(op, bias)
    left = op.Slice(both, starts=[0], ends=half, axes=[-1])
    right = op.Slice(both, starts=half, ends=[np.iinfo(np.int64).max], axes=[-1])
    return op.Mul(left, gelu(op, right))


def _half(op: Emitter, bias: Tensor) -> Tensor:
    """Return half the length of a vector as an int64 [1] tensor."""
    length = op.dim(bias, 0)
    return op.dims(length // 2) if isinstance(length, int) else op.Div(length, 2)


@define("BiasSoftmax")
def bias_softmax(
    op: Emitter, data: Tensor, bias: Tensor, *, is_inner_broadcast: int, axis: int = 1
) -> Tensor:
    """y = softmax(data + bias) over ``axis`` and all axes behind it, taken as one."""
    x = op.Add(data, bias)
    if axis in (-1, rank_of(x) - 1):
        return op.Softmax(x, axis=-1)
    return op.Reshape(op.Softmax(op.Flatten(x, axis=axis), axis=-1), op.shape(x))


@define("BiasAdd")
def bias_add(op: Emitter, x: Tensor, bias: Tensor, skip: Tensor) -> Tensor:
    """y = x + bias + skip."""
    return op.Add(op.Add(x, bias), skip)


@define("ScaledSiLU")
def scaled_silu(
    op: Emitter, x: Tensor, scale: Tensor | None = None, *, alpha: float = 1.0
) -> Tensor:
    """y = z sigmoid(z) of z = scale x."""
    return quick_gelu(op, op.Mul(x, alpha if scale is None else op.cast(scale, x)), alpha=1.0)


@define("GatedAdd")
def gated_add(op: Emitter, x: Tensor, y: Tensor, gate: Tensor) -> Tensor:
    """x + y gate."""
    return op.Add(x, op.Mul(y, gate))
