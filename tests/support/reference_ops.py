"""Operators that ONNX's reference evaluator computes in single precision, or not at all."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun

_erf = np.vectorize(math.erf, otypes=[np.float64])


class Erf(OpRun):
    op_domain = ""

    def _run(self, x: Any) -> tuple[Any]:
        return (_erf(x).astype(x.dtype),)


class Gelu(OpRun):
    op_domain = ""

    def _run(self, x: Any, approximate: str | None = None) -> tuple[Any]:
        if approximate == "tanh":
            inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
            return ((0.5 * x * (1 + np.tanh(inner))).astype(x.dtype),)
        return ((0.5 * x * (1 + _erf(x / np.sqrt(2)))).astype(x.dtype),)


class Pad(OpRun):
    """The evaluator's cannot take anything away: its pads must not be negative."""

    op_domain = ""

    def _run(self, x: Any, *inputs: Any, mode: Any = None, pads: Any = None, value: Any = 0) -> Any:
        pads, value, axes = (*inputs, *[None] * 3)[:3] if inputs else (pads, value, None)
        axes = range(x.ndim) if axes is None else [int(a) % x.ndim for a in axes]
        width, where = np.zeros((x.ndim, 2), int), [slice(None)] * x.ndim
        for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
            width[axis] = max(before, 0), max(after, 0)
            stop = None if after >= 0 else int(after)
            where[axis] = slice(max(-int(before), 0), stop)
        fill = {"constant_values": 0 if value is None else np.asarray(value).item()}
        kind = mode or "constant"
        return (np.pad(x, width, kind, **(fill if kind == "constant" else {}))[tuple(where)],)


class GatherElements(OpRun):
    """The evaluator's wants indices as large as the data in all other dimensions."""

    op_domain = ""

    def _run(self, x: Any, indices: Any, axis: int | None = None) -> tuple[Any]:
        axis = (axis or 0) % x.ndim
        part = [slice(None) if i == axis else slice(n) for i, n in enumerate(indices.shape)]
        return (np.take_along_axis(x[tuple(part)], indices, axis),)


class Scatter(OpRun):
    op_domain = ""

    def _run(self, data: Any, indices: Any, updates: Any, axis: int | None = None) -> tuple[Any]:
        out = data.copy()
        np.put_along_axis(out, indices, updates, axis=axis or 0)
        return (out,)


class LpNormalization(OpRun):
    """The evaluator's sums numbers, not their magnitudes, and takes axis 0 for the default."""

    op_domain = ""

    def _run(self, x: Any, axis: int | None = None, p: int | None = None) -> tuple[Any]:
        norm = np.linalg.norm(x, 2 if p is None else p, -1 if axis is None else axis, keepdims=True)
        return (np.where(norm == 0, 0, x / np.where(norm == 0, 1, norm)).astype(x.dtype),)


class MeanVarianceNormalization(OpRun):
    op_domain = ""

    def _run(self, x: Any, axes: Any = None) -> tuple[Any]:
        axes = (0, 2, 3) if axes is None else tuple(axes)
        return ((x - x.mean(axes, keepdims=True)) / (x.std(axes, keepdims=True) + 1e-9),)


BETTER_OPS = [Erf, GatherElements, Gelu, LpNormalization, MeanVarianceNormalization, Pad, Scatter]
