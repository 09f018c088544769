"""The standard's reductions, searches and products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxcam.graph.emit import Tensor
from onnxcam.targets.traced.arrays import TracedArray, refused
from onnxcam.targets.traced.base import BOOL, INT
from onnxcam.targets.traced.elementwise import Elementwise

_Axis = int | Sequence[int] | None


class Reductions(Elementwise):
    """Functions that make fewer values of an array."""

    def _reduced(self, operator: str, x: TracedArray, axis: _Axis, keepdims: bool) -> TracedArray:
        axes = self.axes(x, axis)
        if not axes:
            return x
        how = {"axes": axes, "keepdims": int(keepdims)}
        return self.wrap(self.op.call(operator, [x.tensor], how))

    def sum(
        self, x: Any, /, *, axis: _Axis = None, dtype: Any = None, keepdims: bool = False
    ) -> TracedArray:
        """The sum."""
        found = self.array(x)
        found = self.cast(found, INT) if found.dtype == BOOL else found
        found = found if dtype is None else self.cast(found, np.dtype(dtype))
        return self._reduced("ReduceSum", found, axis, keepdims)

    def prod(
        self, x: Any, /, *, axis: _Axis = None, dtype: Any = None, keepdims: bool = False
    ) -> TracedArray:
        """The product."""
        found = self.array(x)
        found = found if dtype is None else self.cast(found, np.dtype(dtype))
        return self._reduced("ReduceProd", found, axis, keepdims)

    def mean(self, x: Any, /, *, axis: _Axis = None, keepdims: bool = False) -> TracedArray:
        """The mean."""
        return self._reduced("ReduceMean", self.floating(x), axis, keepdims)

    def max(self, x: Any, /, *, axis: _Axis = None, keepdims: bool = False) -> TracedArray:
        """The highest value."""
        return self._reduced("ReduceMax", self.array(x), axis, keepdims)

    def min(self, x: Any, /, *, axis: _Axis = None, keepdims: bool = False) -> TracedArray:
        """The lowest value."""
        return self._reduced("ReduceMin", self.array(x), axis, keepdims)

    def var(
        self, x: Any, /, *, axis: _Axis = None, correction: float = 0.0, keepdims: bool = False
    ) -> TracedArray:
        """The variance."""
        found = self.floating(x)
        apart = self.square(self._two("Sub", found, self.mean(found, axis=axis, keepdims=True)))
        if not correction:
            return self.mean(apart, axis=axis, keepdims=keepdims)
        sizes = [found.shape[a] for a in self.axes(found, axis)]
        known = [d for d in sizes if d is not None]
        if len(known) != len(sizes):
            raise refused("a corrected variance over an axis of unknown size", "leave it out")
        total = self.sum(apart, axis=axis, keepdims=keepdims)
        return self.divide(total, float(np.prod(known) - correction))

    def std(
        self, x: Any, /, *, axis: _Axis = None, correction: float = 0.0, keepdims: bool = False
    ) -> TracedArray:
        """The standard deviation."""
        found = self.var(x, axis=axis, correction=correction, keepdims=keepdims)
        return self._reals("Sqrt", found)

    def all(self, x: Any, /, *, axis: _Axis = None, keepdims: bool = False) -> TracedArray:
        """Whether all are true."""
        counts = self.cast(self.truth(x), INT)
        return self.truth(self._reduced("ReduceMin", counts, axis, keepdims))

    def any(self, x: Any, /, *, axis: _Axis = None, keepdims: bool = False) -> TracedArray:
        """Whether one is true."""
        counts = self.cast(self.truth(x), INT)
        return self.truth(self._reduced("ReduceMax", counts, axis, keepdims))

    def argmax(self, x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> TracedArray:
        """The place of the highest value, the first of several."""
        return self._place("ArgMax", self.array(x), axis, keepdims)

    def argmin(self, x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> TracedArray:
        """The place of the lowest value, the first of several."""
        return self._place("ArgMin", self.array(x), axis, keepdims)

    def _place(
        self, operator: str, x: TracedArray, axis: int | None, keepdims: bool
    ) -> TracedArray:
        if axis is None:
            flat = self.op.Reshape(x.tensor, [-1])
            return self.wrap(self.op.call(operator, [flat], {"axis": 0, "keepdims": 0}))
        how = {"axis": self.axis(x, axis), "keepdims": int(keepdims)}
        return self.wrap(self.op.call(operator, [x.tensor], how))

    def sort(
        self, x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True
    ) -> TracedArray:
        """The values in order."""
        return self.wrap(self._sorted(self.array(x), axis, descending)[0])

    def argsort(
        self, x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True
    ) -> TracedArray:
        """The places of the values in their order."""
        return self.wrap(self._sorted(self.array(x), axis, descending)[1])

    def _sorted(self, x: TracedArray, axis: int, descending: bool) -> tuple[Tensor, Tensor]:
        at = self.axis(x, axis)
        size = self.op.Slice(self.op.Shape(x.tensor), starts=[at], ends=[at + 1], axes=[0])
        values, places = self.op.TopK(
            x.tensor, size, axis=at, largest=int(descending), sorted=1, _outputs=2
        )
        for made in (values, places):
            made.shape = x.tensor.shape
        return values, places

    def cumulative_sum(self, x: Any, /, *, axis: int | None = None) -> TracedArray:
        """The sums of all values up to each."""
        found = self.array(x)
        if axis is None and found.ndim != 1:
            raise refused("a cumulative sum over no axis", "name it: axis=1")
        at = self.axis(found, axis or 0)
        return self.wrap(self.op.CumSum(found.tensor, np.int64(at)))

    def matmul(self, x1: Any, x2: Any, /) -> TracedArray:
        """The matrix product."""
        return self.wrap(self.op.MatMul(*self.alike(x1, x2)))

    def vecdot(self, x1: Any, x2: Any, /, *, axis: int = -1) -> TracedArray:
        """The dot product along an axis."""
        return self.sum(self._two("Mul", x1, x2), axis=axis)

    def vector_norm(
        self, x: Any, /, *, axis: _Axis = None, keepdims: bool = False, ord: float = 2
    ) -> TracedArray:
        """The length; of order 1, 2 or infinity."""
        size = self._numbers("Abs", self.floating(x))
        if ord == np.inf:
            return self.max(size, axis=axis, keepdims=keepdims)
        if ord == 1:
            return self.sum(size, axis=axis, keepdims=keepdims)
        if ord != 2:
            raise refused(f"a norm of order {ord}", "take 1, 2 or inf")
        return self._reduced("ReduceL2", size, axis, keepdims)
