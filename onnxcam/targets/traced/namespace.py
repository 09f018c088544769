"""The namespace that traced arrays are of: the standard's names, each of which emits."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from onnxcam.targets.traced.arrays import TracedArray, refused
from onnxcam.targets.traced.base import FLOAT
from onnxcam.targets.traced.shaping import Shaping

_DTYPES = (
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16",
    "uint32", "uint64",
)  # fmt: skip
_KINDS = {
    "bool": "b", "signed integer": "i", "unsigned integer": "u", "integral": "iu",
    "real floating": "f", "complex floating": "c", "numeric": "iufc",
}  # fmt: skip


class Namespace(Shaping):
    """The functions of the array API standard over tensors of a graph.

    Beside them stand ``softmax``, ``log_softmax``, ``sigmoid`` and ``relu``, which the standard
    does not have.
    """

    __array_api_version__ = "2024.12"
    __name__ = "onnxcam.targets.traced"
    pi, e, inf, nan, newaxis = np.pi, np.e, np.inf, np.nan, None

    def __getattr__(self, name: str) -> Any:
        """Return a dtype, or a function that is one operator."""
        if name in self.tables:
            return self.of_table(name)
        if name in _DTYPES or name == "bool":
            return np.dtype(name)
        close = difflib.get_close_matches(name, self.names(), n=3, cutoff=0.5)
        listed = f": did you mean {', '.join(close)}?" if close else ""
        raise AttributeError(f"there is no {name!r} for tensors of a graph{listed}")

    def names(self) -> list[str]:
        """Return the names of all functions, sorted."""
        own = [n for n in dir(type(self)) if not n.startswith("_") and callable(getattr(self, n))]
        helpers = {"alike", "array", "axes", "axis", "cast", "floating", "names", "of_table",
                   "part", "truth", "wrap"}  # fmt: skip
        return sorted({*own, *self.tables} - helpers)

    @property
    def linalg(self) -> SimpleNamespace:
        """The standard's extension, as far as it goes here."""
        return SimpleNamespace(
            matmul=self.matmul,
            matrix_transpose=self.matrix_transpose,
            vecdot=self.vecdot,
            vector_norm=self.vector_norm,
        )

    # ---- creation

    def asarray(self, obj: Any, /, *, dtype: Any = None, **_: Any) -> TracedArray:
        """An array of numbers, or the one that is given."""
        found = self.array(obj)
        return found if dtype is None else self.cast(found, np.dtype(dtype))

    def zeros(self, shape: Any, *, dtype: Any = None, **_: Any) -> TracedArray:
        """Zeros."""
        return self.full(shape, 0, dtype=dtype or FLOAT)

    def ones(self, shape: Any, *, dtype: Any = None, **_: Any) -> TracedArray:
        """Ones."""
        return self.full(shape, 1, dtype=dtype or FLOAT)

    def full(self, shape: Any, fill_value: Any, *, dtype: Any = None, **_: Any) -> TracedArray:
        """One number everywhere."""
        sizes = [shape] if isinstance(shape, int | np.integer) else list(shape)
        if any(not isinstance(d, int | np.integer) for d in sizes):
            raise refused(f"an array of the shape {sizes}", "give whole numbers, or use full_like")
        return self.asarray(np.full(sizes, fill_value), dtype=dtype)

    def zeros_like(self, x: Any, /, *, dtype: Any = None, **_: Any) -> TracedArray:
        """Zeros in the shape of another array."""
        return self.full_like(x, 0, dtype=dtype)

    def ones_like(self, x: Any, /, *, dtype: Any = None, **_: Any) -> TracedArray:
        """Ones in the shape of another array."""
        return self.full_like(x, 1, dtype=dtype)

    def full_like(self, x: Any, /, fill_value: Any, *, dtype: Any = None, **_: Any) -> TracedArray:
        """One number in the shape of another array."""
        found = self.array(x)
        value = np.array(fill_value, dtype or found.dtype)
        return self.wrap(self.op.Expand(self.op.const(value), self.op.Shape(found.tensor)))

    def arange(self, *args: Any, dtype: Any = None, **_: Any) -> TracedArray:
        """Numbers at one distance."""
        return self._constant(np.arange, args, {}, dtype)

    def linspace(self, *args: Any, dtype: Any = None, **named: Any) -> TracedArray:
        """Numbers between two."""
        return self._constant(np.linspace, args, named, dtype)

    def eye(self, *args: Any, dtype: Any = None, **named: Any) -> TracedArray:
        """Ones on the diagonal."""
        return self._constant(np.eye, args, named, dtype)

    def _constant(
        self, make: Callable[..., Any], args: Sequence[Any], named: Any, dtype: Any
    ) -> TracedArray:
        if any(isinstance(a, TracedArray) or a is None for a in args):
            raise refused("the size of an array is to be computed", "give whole numbers")
        return self.asarray(make(*args, **named), dtype=dtype)

    # ---- dtypes

    def isdtype(self, dtype: Any, kind: Any, /) -> Any:
        """Whether a dtype is of a kind."""
        if isinstance(kind, tuple):
            return any(self.isdtype(dtype, each) for each in kind)
        if isinstance(kind, str):
            return np.dtype(dtype).kind in _KINDS[kind]
        return np.dtype(dtype) == np.dtype(kind)

    def finfo(self, dtype: Any, /) -> Any:
        """What reals of a dtype can be."""
        return np.finfo(getattr(dtype, "dtype", dtype))

    def iinfo(self, dtype: Any, /) -> Any:
        """What whole numbers of a dtype can be."""
        return np.iinfo(getattr(dtype, "dtype", dtype))
