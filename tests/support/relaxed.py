"""Quantised models without the rounding: what a straight-through gradient is the gradient of.

Integers become reals, quantisation becomes a division and a clip. Run by ONNX's reference
evaluator in double, with three operators replaced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
from onnx import ModelProto, TensorProto
from onnx.helper import tensor_dtype_to_np_dtype
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from support.variants import array_in_double, in_double

Array = np.ndarray


def limits(dtype: np.dtype) -> tuple[float, float]:
    """Return the smallest and the largest number of a dtype."""
    try:
        return float(ml_dtypes.iinfo(dtype).min), float(ml_dtypes.iinfo(dtype).max)
    except ValueError:
        return float(ml_dtypes.finfo(dtype).min), float(ml_dtypes.finfo(dtype).max)


def spread(p: Any, x: Array, axis: int | None, block: int | None) -> Array:
    """Return a scale or zero point in a shape that broadcasts against x."""
    p = np.asarray(p).astype(np.float64)
    axis = 1 if axis is None else axis
    if block:
        return np.take(np.repeat(p, block, axis), np.arange(x.shape[axis]), axis)
    if p.ndim == 1 and p.size > 1:
        return p.reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])
    return p.reshape(()) if p.size == 1 else p


def further(end: Array) -> Array:
    """Return an end of the range where what still rounds to it is inside; 0 stays 0."""
    return end + 0.5 * np.sign(end)


class QuantizeLinear(OpRun):
    """Divide, clip and shift."""

    def _run(self, x, scale, zero=None, axis=None, block_size=None, output_dtype=None, **_):
        number = output_dtype or TensorProto.UINT8
        dtype = np.dtype(tensor_dtype_to_np_dtype(number)) if zero is None else zero.dtype
        z = np.zeros(()) if zero is None else spread(zero, x, axis, block_size)
        low, high = (end - z for end in limits(dtype))
        y = np.clip(x / spread(scale, x, axis, block_size), further(low), further(high))
        return (y + z,)


class DequantizeLinear(OpRun):
    """Shift and multiply."""

    def _run(self, x, scale, zero=None, axis=None, block_size=None, **_):
        y = np.asarray(x).astype(np.float64)
        y = y if zero is None else y - spread(zero, y, axis, block_size)
        return (y * spread(scale, y, axis, block_size),)


class Cast(OpRun):
    """Any number is a real one."""

    def _run(self, x, to=None, **_):
        return (np.asarray(x).astype(np.float64),)


class Max(OpRun):
    """The larger of reals and integers."""

    def _run(self, *xs):
        return (np.maximum.reduce([np.asarray(x, np.float64) for x in np.broadcast_arrays(*xs)]),)


class Min(OpRun):
    """The smaller of reals and integers."""

    def _run(self, *xs):
        return (np.minimum.reduce([np.asarray(x, np.float64) for x in np.broadcast_arrays(*xs)]),)


def dynamic(scale: float, zero: Array) -> type[OpRun]:
    """Return DynamicQuantizeLinear with the scale and zero point that it had at one input."""

    class DynamicQuantizeLinear(OpRun):
        def _run(self, x):
            return x / scale + float(zero), np.float64(scale), zero

    return DynamicQuantizeLinear


class Relaxed:
    """A model of reals.

    Args:
        model: The model; its quantised inputs take reals too.
        outputs: What it returns.
        more: Further operators to replace.
    """

    def __init__(
        self, model: ModelProto, outputs: Sequence[str], more: Sequence[type[OpRun]] = ()
    ) -> None:
        ops = [QuantizeLinear, DequantizeLinear, *more]
        self.session = ReferenceEvaluator(in_double(model), new_ops=ops)
        self.outputs = list(outputs)

    def __call__(self, feeds: Mapping[str, Any]) -> list[Array]:
        given = {k: array_in_double(v) for k, v in feeds.items()}
        return [np.asarray(y, np.float64) for y in self.session.run(self.outputs, given)]

    def gradient(
        self, feeds: Mapping[str, Any], name: str, cotangents: Sequence[Array], step: float = 1e-4
    ) -> tuple[Array, Array]:
        """Return the derivative by central differences, and where the sides agree (no kink)."""
        x = np.asarray(feeds[name]).astype(np.float64)
        here = self._loss(feeds, name, x, cotangents)
        ahead, behind = np.zeros(x.size), np.zeros(x.size)
        for i in range(x.size):
            v = np.zeros(x.size)
            v[i] = step
            v = v.reshape(x.shape)
            ahead[i] = (self._loss(feeds, name, x + v, cotangents) - here) / step
            behind[i] = (here - self._loss(feeds, name, x - v, cotangents)) / step
        smooth = np.abs(ahead - behind) <= 1e-3 * np.maximum(1, np.abs(ahead))
        return ((ahead + behind) / 2).reshape(x.shape), smooth.reshape(x.shape)

    def _loss(
        self, feeds: Mapping[str, Any], name: str, x: Array, cotangents: Sequence[Array]
    ) -> float:
        ys = self({**feeds, name: x})
        return float(sum((c * y).sum() for c, y in zip(cotangents, ys, strict=True)))
