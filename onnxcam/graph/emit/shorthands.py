"""What rules and methods write often: shapes, casts, means, constants of zeros."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, cast, overload

import numpy as np
import onnx_graphsurgeon as gs
from onnx.defs import OpSchema
from onnx_graphsurgeon.ir.tensor import Tensor as _AnyTensor

from onnxcam.graph.emit.tensors import (
    Dim,
    Tensor,
    Value,
    dtype_of,
    elem_type,
    shape_of,
    static_shape,
)

_Kind = TypeVar("_Kind")


class Operation(Protocol):
    """Emits one node; several outputs, which ``_outputs`` asks for, come as a tuple."""

    @overload
    def __call__(
        self, *inputs: Value, _outputs: int, _domain: str = "", **named: Any
    ) -> tuple[Tensor, ...]: ...
    @overload
    def __call__(
        self, *inputs: Value, _outputs: None = None, _domain: str = "", **named: Any
    ) -> Tensor: ...


class Shorthands(ABC):
    """``op.Name(...)`` and the short ways to what takes several nodes.

    Where a shape is static they write constants, where it is dynamic they write nodes.
    """

    fresh: Callable[[str], str]
    _marks: dict[tuple[int, type], tuple[Tensor, Any]]  # the tensor too: its id is a key

    @abstractmethod
    def call(
        self,
        op_type: str,
        inputs: Sequence[Value],
        named: Mapping[str, Any],
        *,
        outputs: int | None = None,
        domain: str = "",
    ) -> Any:
        """Emit one node."""

    @abstractmethod
    def schema(self, op_type: str, domain: str = "") -> OpSchema:
        """Return the schema of an operator in the graph's opset."""

    @abstractmethod
    def const(self, value: Any, dtype: Any = None) -> Tensor:
        """Return a constant."""

    def __getattr__(self, op_type: str) -> Operation:
        """Return the function that emits a node of this operator type."""
        if op_type.startswith("_"):
            raise AttributeError(op_type)

        def emit(
            *inputs: Value, _outputs: int | None = None, _domain: str = "", **named: Any
        ) -> Any:
            return self.call(op_type, inputs, named, outputs=_outputs, domain=_domain)

        return cast(Operation, emit)

    def shape(self, x: Tensor) -> Tensor:
        """Return the shape of ``x`` as an int64 [rank] tensor: a constant where it is static."""
        static = static_shape(x)
        return self.Shape(x) if static is None else self.const(np.array(static, np.int64))

    def dim(self, x: Tensor, axis: int) -> int | Tensor:
        """Return one dimension of ``x``: an int where it is known, else an int64 [1] tensor."""
        shape = shape_of(x)
        if shape is not None and isinstance(shape[axis], int):
            return int(shape[axis])  # type: ignore[arg-type]
        end = axis + 1 or None
        if "start" in self.schema("Shape").attributes:
            return self.Shape(x, start=axis, end=end)
        last = np.iinfo(np.int64).max if end is None else end
        return self.Slice(self.Shape(x), starts=[axis], ends=[last], axes=[0])

    def dims(self, *parts: int | Tensor | Sequence[int]) -> Tensor:
        """Join ints, int lists and int64 [n] tensors into one int64 vector."""
        vectors: list[Any] = []
        for part in parts:
            if isinstance(part, _AnyTensor):
                vectors.append(part)
                continue
            numbers = list(np.atleast_1d(part))
            if vectors and isinstance(vectors[-1], list):
                vectors[-1] += numbers
            else:
                vectors.append(numbers)
        tensors = [self.const(np.array(v, np.int64)) if isinstance(v, list) else v for v in vectors]
        return tensors[0] if len(tensors) == 1 else self.Concat(*tensors, axis=0)

    def zeros_like(self, x: Tensor, dtype: Any = None) -> Tensor:
        """Return zeros of the shape of ``x`` and its dtype (or another)."""
        kind = np.dtype(dtype or dtype_of(x) or np.float32)
        static = static_shape(x)
        if static is not None and int(np.prod(static)) <= 256:
            return self.const(np.zeros(static, kind))
        value = gs.Constant("", np.zeros(1, kind))
        return self.ConstantOfShape(self.shape(x), value=value)

    def mark(self, tensor: Tensor, kind: object) -> Tensor:
        """Keep what is special about a tensor, and return the tensor; see :meth:`marked`."""
        self._marks[id(tensor), type(kind)] = tensor, kind
        return tensor

    def marked(self, tensor: Tensor, kind: type[_Kind]) -> _Kind | None:
        """Return what :meth:`mark` has kept of this type for a tensor; None where it has not."""
        found = self._marks.get((id(tensor), kind), (None, None))[1]
        return found if isinstance(found, kind) else None

    def scalar(self, x: Tensor) -> Tensor:
        """Return a vector of one as a scalar."""
        return self.Reshape(x, np.zeros(0, np.int64))

    def cast(self, x: Tensor, like: Tensor | np.dtype[Any] | type) -> Tensor:
        """Return ``x`` in the dtype of ``like`` (a tensor or a dtype); itself where it is so."""
        target = dtype_of(like) if isinstance(like, _AnyTensor) else np.dtype(like)
        if target is None or dtype_of(x) == target:
            return x
        return self.Cast(x, to=elem_type(target))

    def variable(
        self, name: str, dtype: Any, shape: Sequence[Dim] | None, *, sequence: bool = False
    ) -> Tensor:
        """Return a new tensor (or sequence) without a producer: a graph or subgraph input."""
        kind = "sequence_type" if sequence else "tensor_type"
        known = None if dtype is None else np.dtype(dtype)
        return gs.Variable(self.fresh(name), known, shape if shape is None else list(shape), kind)
