"""The standard's elementwise functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from onnxcam.targets.traced.arrays import TracedArray
from onnxcam.targets.traced.base import BOOL, FLOAT, Base

# Of one array, by the operator that it is; of reals, and of numbers of any kind.
_OF_REALS = {
    "acos": "Acos", "acosh": "Acosh", "asin": "Asin", "asinh": "Asinh", "atan": "Atan",
    "atanh": "Atanh", "cos": "Cos", "cosh": "Cosh", "exp": "Exp", "log": "Log", "sin": "Sin",
    "sinh": "Sinh", "sqrt": "Sqrt", "tan": "Tan", "tanh": "Tanh", "isnan": "IsNaN",
    "isinf": "IsInf", "reciprocal": "Reciprocal", "ceil": "Ceil", "floor": "Floor",
    "round": "Round", "sigmoid": "Sigmoid", "relu": "Relu",
}  # fmt: skip
_OF_NUMBERS = {"abs": "Abs", "negative": "Neg", "sign": "Sign"}
_OF_TWO = {
    "add": "Add", "subtract": "Sub", "multiply": "Mul", "maximum": "Max", "minimum": "Min",
    "less": "Less", "less_equal": "LessOrEqual", "greater": "Greater",
    "greater_equal": "GreaterOrEqual", "equal": "Equal",
}  # fmt: skip
_OF_TRUTHS = {"logical_and": "And", "logical_or": "Or", "logical_xor": "Xor"}


class Elementwise(Base):
    """Functions that work on every value alike."""

    tables: Mapping[str, tuple[Mapping[str, str], str]] = {
        name: (table, how)
        for table, how in (
            (_OF_REALS, "_reals"), (_OF_NUMBERS, "_numbers"), (_OF_TWO, "_two"),
            (_OF_TRUTHS, "_truths"),
        )
        for name in table
    }  # fmt: skip

    def of_table(self, name: str) -> Callable[..., Any]:
        """Return the function of this name that is one operator."""
        table, how = self.tables[name]
        write = getattr(self, how)
        return lambda *args: write(table[name], *args)

    def _reals(self, operator: str, x: Any, /) -> TracedArray:
        return self.wrap(self.op.call(operator, [self.floating(x).tensor], {}))

    def _numbers(self, operator: str, x: Any, /) -> TracedArray:
        return self.wrap(self.op.call(operator, [self.array(x).tensor], {}))

    def _two(self, operator: str, x1: Any, x2: Any, /) -> TracedArray:
        return self.wrap(self.op.call(operator, self.alike(x1, x2), {}))

    def _truths(self, operator: str, x1: Any, x2: Any, /) -> TracedArray:
        both = [self.truth(x).tensor for x in (x1, x2)]
        return self.wrap(self.op.call(operator, both, {}))

    def truth(self, x: Any) -> TracedArray:
        """Return an array of truths: what is not 0."""
        return self.cast(self.array(x), BOOL)

    def not_equal(self, x1: Any, x2: Any, /) -> TracedArray:
        """x1 != x2."""
        return self.logical_not(self._two("Equal", x1, x2))

    def logical_not(self, x: Any, /) -> TracedArray:
        """Not x."""
        return self.wrap(self.op.Not(self.truth(x).tensor))

    def divide(self, x1: Any, x2: Any, /) -> TracedArray:
        """x1 / x2, of reals."""
        a, b = (self.wrap(t) for t in self.alike(x1, x2))
        return self._two("Div", self.floating(a), self.floating(b))

    def pow(self, x1: Any, x2: Any, /) -> TracedArray:
        """x1 to the power of x2."""
        return self._two("Pow", x1, x2)

    def floor_divide(self, x1: Any, x2: Any, /) -> TracedArray:
        """The largest whole number that is at most x1 / x2."""
        a, b = (self.wrap(t) for t in self.alike(x1, x2))
        if a.dtype.kind == "f":
            return self._reals("Floor", self._two("Div", a, b))
        return self._two("Div", self._two("Sub", a, self._two("Mod", a, b)), b)

    def remainder(self, x1: Any, x2: Any, /) -> TracedArray:
        """x1 - floor(x1 / x2) x2, with the sign of x2."""
        a, b = (self.wrap(t) for t in self.alike(x1, x2))
        if a.dtype.kind != "f":
            return self._two("Mod", a, b)
        return self._two("Sub", a, self._two("Mul", self.floor_divide(a, b), b))

    def positive(self, x: Any, /) -> TracedArray:
        """The array as it is."""
        return self.array(x)

    def square(self, x: Any, /) -> TracedArray:
        """The square."""
        return self._two("Mul", x, x)

    def expm1(self, x: Any, /) -> TracedArray:
        """e^x - 1."""
        return self._two("Sub", self._reals("Exp", x), 1.0)

    def log1p(self, x: Any, /) -> TracedArray:
        """log(1 + x)."""
        return self._reals("Log", self._two("Add", self.floating(x), 1.0))

    def log2(self, x: Any, /) -> TracedArray:
        """The logarithm to base 2."""
        return self._two("Div", self._reals("Log", x), float(np.log(2)))

    def log10(self, x: Any, /) -> TracedArray:
        """The logarithm to base 10."""
        return self._two("Div", self._reals("Log", x), float(np.log(10)))

    def hypot(self, x1: Any, x2: Any, /) -> TracedArray:
        """The length of the hypotenuse."""
        return self._reals("Sqrt", self._two("Add", self.square(x1), self.square(x2)))

    def logaddexp(self, x1: Any, x2: Any, /) -> TracedArray:
        """log(e^x1 + e^x2), without overflow."""
        high, low = self._two("Max", x1, x2), self._two("Min", x1, x2)
        rest = self._reals("Exp", self._two("Sub", low, high))
        return self._two("Add", high, self.log1p(rest))

    def isfinite(self, x: Any, /) -> TracedArray:
        """Whether values are neither infinite nor NaN."""
        bad = self._truths("Or", self._reals("IsNaN", x), self._reals("IsInf", x))
        return self.logical_not(bad)

    def trunc(self, x: Any, /) -> TracedArray:
        """The values without what is behind the point."""
        values = self.floating(x)
        size = self._reals("Floor", self._numbers("Abs", values))
        return self._two("Mul", self._numbers("Sign", values), size)

    def clip(self, x: Any, /, min: Any = None, max: Any = None) -> TracedArray:
        """The values, but not below one bound nor above another."""
        found = self.array(x)
        found = found if min is None else self._two("Max", found, min)
        return found if max is None else self._two("Min", found, max)

    def where(self, condition: Any, x1: Any, x2: Any, /) -> TracedArray:
        """x1 where the condition is true, else x2."""
        return self.wrap(self.op.Where(self.truth(condition).tensor, *self.alike(x1, x2)))

    def softmax(self, x: Any, /, *, axis: int = -1) -> TracedArray:
        """e^x over its sum along an axis; the standard has none."""
        found = self.floating(x)
        return self.wrap(self.op.Softmax(found.tensor, axis=self.axis(found, axis)))

    def log_softmax(self, x: Any, /, *, axis: int = -1) -> TracedArray:
        """The logarithm of the softmax."""
        found = self.floating(x)
        return self.wrap(self.op.LogSoftmax(found.tensor, axis=self.axis(found, axis)))

    def astype(self, x: Any, dtype: Any, /, *, copy: bool = True) -> TracedArray:
        """The array in another dtype."""
        return self.cast(self.array(x), np.dtype(dtype))

    def result_type(self, *values: Any) -> np.dtype[Any]:
        """The dtype that values become."""
        kinds = [v.dtype if isinstance(v, TracedArray) else np.result_type(v) for v in values]
        found: np.dtype[Any] = np.result_type(*kinds) if kinds else FLOAT
        return found
