"""Elementwise operators in NumPy, for :mod:`onnxcam.graph.curves`: what f is made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from onnxcam.graph import ir
from onnxcam.graph.emit import const_value

Array: TypeAlias = np.ndarray[Any, Any]
Function: TypeAlias = Callable[[ir.Node, Sequence[Any]], Any]

_erf = np.frompyfunc(math.erf, 1, 1)


def _of(function: Callable[..., Any]) -> Function:
    return lambda node, given: function(*given)


def _folded(function: Callable[[Any, Any], Any]) -> Function:
    def compute(node: ir.Node, given: Sequence[Any]) -> Any:
        result = given[0]
        for each in given[1:]:
            result = function(result, each)
        return result

    return compute


def _with(function: Callable[..., Any], **defaults: float) -> Function:
    """Return a function of attributes too."""
    return lambda node, given: function(
        *given, *(float(node.attrs.get(key, value)) for key, value in defaults.items())
    )


def _clip(node: ir.Node, given: Sequence[Any]) -> Any:
    low, high = (
        node.attrs.get(name, given[i] if len(given) > i else None)
        for i, name in ((1, "min"), (2, "max"))
    )
    y = given[0] if low is None else np.maximum(given[0], low)
    return y if high is None else np.minimum(y, high)


def _elu(x: Any, alpha: float) -> Any:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _leaky(x: Any, slope: Any) -> Any:
    return np.where(x < 0, slope * x, x)


def _sigmoid(x: Any, alpha: float = 1.0) -> Any:
    return 1 / (1 + np.exp(-alpha * x))


def _softplus(x: Any) -> Any:
    return np.logaddexp(0, x)


def _hard_sigmoid(x: Any, alpha: float, beta: float) -> Any:
    return np.clip(alpha * x + beta, 0, 1)


def _cast(node: ir.Node, given: Sequence[Any]) -> Any:
    """Pass reals on; what is true becomes 1."""
    return np.asarray(given[0]) * 1.0


def _error_function(x: Any) -> Any:
    return np.asarray(_erf(x), np.float64)


def _gelu(node: ir.Node, given: Sequence[Any]) -> Any:
    (x,) = given
    if node.attrs.get("approximate", "none") == "tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + _error_function(x / math.sqrt(2)))


def _thresholded(x: Any, alpha: float) -> Any:
    return np.where(x > alpha, x, 0.0)


# What only passes reals on; what a rounding loses is no matter of a curve's form.
PASSED = ("Cast", "CastLike", "DequantizeLinear", "Identity", "QuantizeLinear")
FUNCTIONS: dict[str, Function] = {
    **dict.fromkeys(PASSED, _cast),
    "Abs": _of(np.abs),
    "Add": _of(np.add),
    "And": _of(np.logical_and),
    "Clip": _clip,
    "Div": _of(np.divide),
    "Elu": _with(_elu, alpha=1.0),
    "Erf": _of(_error_function),
    "Exp": _of(np.exp),
    "Gelu": _gelu,
    "Greater": _of(np.greater),
    "GreaterOrEqual": _of(np.greater_equal),
    "HardSigmoid": _with(_hard_sigmoid, alpha=0.2, beta=0.5),
    "HardSwish": _of(lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    "LeakyRelu": _with(_leaky, alpha=0.01),
    "Less": _of(np.less),
    "LessOrEqual": _of(np.less_equal),
    "Log": _of(np.log),
    "Max": _folded(np.maximum),
    "Min": _folded(np.minimum),
    "Mish": _of(lambda x: x * np.tanh(_softplus(x))),
    "Mul": _of(np.multiply),
    "Neg": _of(np.negative),
    "Not": _of(np.logical_not),
    "Or": _of(np.logical_or),
    "PRelu": _of(_leaky),
    "Pow": _of(lambda x, y: np.power(np.asarray(x, np.float64), y)),
    "Reciprocal": _of(np.reciprocal),
    "Relu": _of(lambda x: np.maximum(x, 0)),
    "Sigmoid": _of(_sigmoid),
    "Sign": _of(np.sign),
    "Softplus": _of(_softplus),
    "Softsign": _of(lambda x: x / (1 + np.abs(x))),
    "Sqrt": _of(np.sqrt),
    "Sub": _of(np.subtract),
    "Sum": _folded(np.add),
    "Swish": _with(lambda x, alpha: x * _sigmoid(x, alpha), alpha=1.0),
    "Tanh": _of(np.tanh),
    "ThresholdedRelu": _with(_thresholded, alpha=1.0),
    "Where": _of(np.where),
}


def _reduction(function: Callable[[Array], Array]) -> Function:
    return lambda node, given: function(np.asarray(given[0], np.float64))


REDUCTIONS: dict[str, Function] = {
    "ReduceL2": _reduction(lambda x: np.sqrt((x * x).sum(-1, keepdims=True))),
    "ReduceMean": _reduction(lambda x: x.mean(-1, keepdims=True)),
    "ReduceSum": _reduction(lambda x: x.sum(-1, keepdims=True)),
    "ReduceSumSquare": _reduction(lambda x: (x * x).sum(-1, keepdims=True)),
}


def reduced_axes(node: ir.Node) -> list[int] | None:
    """Return the axes that a reduction names; None where they are not known, or all."""
    axes = node.attrs.get("axes")
    if axes is None and len(node.inputs) > 1:
        axes = const_value(node.inputs[1])
    return None if axes is None else [int(i) for i in np.ravel(axes)]
