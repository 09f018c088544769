"""What all functions of the namespace need: tensors of arguments, in one dtype."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.targets.traced.arrays import TracedArray, refused

FLOAT = np.dtype(np.float32)
INT = np.dtype(np.int64)
BOOL = np.dtype(np.bool_)


class Base:
    """Writes nodes through an emitter.

    Args:
        op: Emitter of the graph or of a subgraph.
    """

    def __init__(self, op: Emitter) -> None:
        self.op = op

    def wrap(self, tensor: Tensor) -> TracedArray:
        """Return a tensor of the graph as an array."""
        return TracedArray(tensor, self)

    def array(self, value: Any) -> TracedArray:
        """Return an argument as an array: numbers and NumPy's become constants."""
        if isinstance(value, TracedArray):
            return value
        if value is None:
            raise refused("None stands where an array should", "give an array")
        found = np.asarray(value)
        if found.dtype.kind not in "fiub":
            raise refused(f"{type(value).__name__} {value!r} is no array of numbers", "give one")
        return self.wrap(self.op.const(found.astype(_usual(value, found))))

    def alike(self, *values: Any) -> list[Tensor]:
        """Return arguments in one dtype, as the standard promotes them.

        Python's numbers and NumPy's arrays take the dtype of the tensors beside them.
        """
        kinds = [v.dtype for v in values if isinstance(v, TracedArray)]
        given = [np.asarray(v) for v in values if not isinstance(v, TracedArray)]
        kind = common(kinds) if kinds else common([_usual(v, np.asarray(v)) for v in values])
        if any(g.dtype.kind == "f" for g in given) and kind.kind in "iub":
            kind = FLOAT
        if kind == BOOL and any(g.dtype.kind in "iu" for g in given):
            kind = INT
        return [self.cast(self.array(v), kind).tensor for v in values]

    def cast(self, x: TracedArray, kind: np.dtype[Any]) -> TracedArray:
        """Return an array in another dtype; itself where it has that."""
        return x if x.dtype == kind else self.wrap(self.op.cast(x.tensor, kind))

    def floating(self, x: Any) -> TracedArray:
        """Return an array of reals."""
        found = self.array(x)
        return self.cast(found, FLOAT) if found.dtype.kind in "iub" else found

    def axis(self, x: TracedArray, axis: int, more: int = 0) -> int:
        """Return an axis, counted from the front.

        Args:
            x: The array.
            axis: The axis.
            more: How many axes the result has more than the array.

        Raises:
            UsageError: There is none.
        """
        rank = x.ndim + more
        if isinstance(axis, bool) or not isinstance(axis, int | np.integer):
            raise refused(f"an axis of type {type(axis).__name__}", "give a whole number")
        if not -rank <= axis < rank:
            raise refused(f"{x!r} has no axis {axis}", f"give one from {-rank} to {rank - 1}")
        return int(axis) % rank

    def axes(self, x: TracedArray, axis: int | Sequence[int] | None) -> list[int]:
        """Return axes, counted from the front; None for all."""
        if axis is None:
            return list(range(x.ndim))
        each = [axis] if isinstance(axis, int | np.integer) else list(axis)
        return [self.axis(x, a) for a in each]


def common(kinds: Sequence[np.dtype[Any]]) -> np.dtype[Any]:
    """Return the dtype that several become; of reals and others that of the reals."""
    floats = [k for k in kinds if k.kind == "f" or k.name == "bfloat16"]
    chosen = floats or list(kinds)
    if len(set(chosen)) == 1:
        return chosen[0]
    try:
        return np.result_type(*chosen)
    except TypeError:  # bfloat16 and float16
        return FLOAT


def _usual(value: Any, found: np.ndarray[Any, Any]) -> np.dtype[Any]:
    """Return the dtype of a constant: NumPy's float64 is what nobody chose."""
    if found.dtype.kind == "f":
        return FLOAT if found.dtype == np.float64 else found.dtype
    return INT if isinstance(value, int) and not isinstance(value, bool) else found.dtype
