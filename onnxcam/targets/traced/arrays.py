"""A tensor of the graph as an array of the Python array API standard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from onnxcam.errors import UsageError
from onnxcam.graph.emit import Tensor, dtype_of, shape_of

# What NumPy calls otherwise than the standard.
_NUMPY = {
    "absolute": "abs", "amax": "max", "amin": "min", "arccos": "acos", "arccosh": "acosh",
    "arcsin": "asin", "arcsinh": "asinh", "arctan": "atan", "arctanh": "atanh",
    "concatenate": "concat", "cumsum": "cumulative_sum", "power": "pow", "true_divide": "divide",
    "transpose": "permute_dims",
}  # fmt: skip
_METHODS = frozenset(
    {"all", "any", "argmax", "argmin", "astype", "clip", "max", "mean", "min", "prod", "reshape",
     "squeeze", "std", "sum", "var"}
)  # fmt: skip
_WHERE = "choose by value with where(condition, a, b), in the array's own namespace"


def refused(what: str, hint: str) -> UsageError:
    """Return the error for something that cannot be written into a graph."""
    return UsageError(f"the target's function cannot be traced: {what}", hint)


class TracedArray:
    """A tensor of the graph: what is done with it is written there.

    Args:
        tensor: The tensor.
        space: The namespace that its operators are of.

    Attributes:
        tensor: The tensor.
    """

    __hash__ = None  # type: ignore[assignment]  # as an array's

    def __init__(self, tensor: Tensor, space: Any) -> None:
        self.tensor, self._space = tensor, space

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        """Return the namespace of the standard's functions."""
        return self._space

    def __repr__(self) -> str:
        """Return shape and dtype: there is no value yet."""
        return f"<tensor {self.tensor.name!r} {self.dtype}{list(self.shape)}>"

    # ---- what is known of it

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The sizes; None where one is known only when the model runs.

        Raises:
            UsageError: Not even the number of axes is known.
        """
        shape = shape_of(self.tensor)
        if shape is None:
            raise refused(f"the rank of {self.tensor.name!r} is not known", "take another tensor")
        return tuple(d if isinstance(d, int) else None for d in shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype."""
        return dtype_of(self.tensor) or np.dtype(np.float32)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int | None:
        """The number of values, None where that is not known."""
        known = [d for d in self.shape if d is not None]
        return int(np.prod(known)) if len(known) == self.ndim else None

    @property
    def device(self) -> str:
        """Where it is: in the graph."""
        return "graph"

    @property
    def T(self) -> Any:  # noqa: N802 - the standard's name
        """The transpose of a matrix."""
        return self._space.permute_dims(self, tuple(reversed(range(self.ndim))))

    @property
    def mT(self) -> Any:  # noqa: N802 - the standard's name
        """The transpose of a stack of matrices."""
        return self._space.matrix_transpose(self)

    def __getattr__(self, name: str) -> Any:
        """Return a function of the namespace as a method, as NumPy's arrays have some."""
        if name not in _METHODS:
            raise AttributeError(f"an array of the standard has no attribute {name!r}")
        function = getattr(self._space, name)
        return lambda *args, **named: function(self, *args, **named)

    def __getitem__(self, key: Any) -> Any:
        """Return a part: by ints, slices, None and the ellipsis."""
        return self._space.part(self, key)

    def __iter__(self) -> Iterator[Any]:
        """Return the parts along the first axis, where its size is known."""
        return iter([self[i] for i in range(len(self))])

    def __len__(self) -> int:
        """Return the size of the first axis."""
        size = self.shape[0] if self.ndim else None
        if size is None:
            raise refused(
                f"the length of {self!r} is asked for, which is known only when the model runs",
                "work on the whole axis: sum(y, axis=0), y[:1]",
            )
        return size

    # ---- what would need a value

    def __setitem__(self, key: Any, value: Any) -> None:
        """Refuse: a tensor of a graph never changes."""
        raise refused(f"{self!r} is changed in place", _WHERE)

    def __array__(self, *args: Any, **named: Any) -> Any:
        """Refuse to become a NumPy array."""
        raise refused(
            f"{self!r} is turned into a NumPy array, and has no value yet",
            "use the functions of y.__array_namespace__()",
        )

    # ---- NumPy's functions, where the standard has them

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **named: Any) -> Any:
        """Write what a function of NumPy does elementwise."""
        if method != "__call__" or named:
            raise refused(f"NumPy's {ufunc.__name__}.{method}", "use the array's own namespace")
        return self._function(ufunc.__name__)(*inputs)

    def __array_function__(self, function: Any, types: Any, args: Any, named: Any) -> Any:
        """Write what another function of NumPy does."""
        return self._function(function.__name__)(*args, **named)

    def _function(self, name: str) -> Callable[..., Any]:
        found = getattr(self._space, _NUMPY.get(name, name), None)
        if found is None:
            raise refused(
                f"NumPy's {name} is called on {self!r}, which has no value yet",
                "use the functions of y.__array_namespace__()",
            )
        return found  # type: ignore[no-any-return]


def _operator(name: str, *, swapped: bool = False) -> Callable[[TracedArray, Any], Any]:
    def apply(self: TracedArray, other: Any) -> Any:
        function = getattr(self._space, name)
        return function(other, self) if swapped else function(self, other)

    apply.__name__ = apply.__qualname__ = name
    return apply


def _unary(name: str) -> Callable[[TracedArray], Any]:
    def apply(self: TracedArray) -> Any:
        return getattr(self._space, name)(self)

    apply.__name__ = apply.__qualname__ = name
    return apply


def _without_value(what: str) -> Callable[[TracedArray], Any]:
    def refuse(self: TracedArray) -> Any:
        raise refused(f"{what} of {self!r} is asked for, which has no value yet", _WHERE)

    refuse.__doc__ = "Refuse: nothing is computed yet."
    return refuse


_BINARY = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "pow",
    "floordiv": "floor_divide", "mod": "remainder", "matmul": "matmul", "and": "logical_and",
    "or": "logical_or", "xor": "logical_xor",
}  # fmt: skip
_COMPARED = {
    "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal",
    "ne": "not_equal",
}  # fmt: skip
for _name, _called in _BINARY.items():
    setattr(TracedArray, f"__{_name}__", _operator(_called))
    setattr(TracedArray, f"__r{_name}__", _operator(_called, swapped=True))
for _name, _called in _COMPARED.items():
    setattr(TracedArray, f"__{_name}__", _operator(_called))
for _name, _called in {
    "neg": "negative", "pos": "positive", "abs": "abs", "invert": "logical_not",
}.items():  # fmt: skip
    setattr(TracedArray, f"__{_name}__", _unary(_called))
for _name, _called in {
    "bool": "the truth, bool(),", "float": "the number, float(),", "int": "the number, int(),",
    "complex": "the number, complex(),", "index": "the number, as an index,",
}.items():  # fmt: skip
    setattr(TracedArray, f"__{_name}__", _without_value(_called))
