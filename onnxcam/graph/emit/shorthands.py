"""What rules and methods write often: shapes, casts, means, constants of zeros."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast, overload

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
    _one_hots: dict[int, Tensor]  # the index that rows were made of, by the rows' id

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

    def one_hot(self, index: Tensor, depth: int | Tensor, dtype: Any) -> Tensor:
        """Return rows [N, depth] that are 1 at ``index`` (int64 [N], in range) and 0 elsewhere.

        A rule that multiplies with them may pick rows instead, see :meth:`index_of`.
        """
        # A scalar: ONNX's reference evaluator takes no vector of one.
        size = self.const(depth, np.int64) if isinstance(depth, int) else self.scalar(depth)
        rows = self.OneHot(index, size, np.array([0, 1], dtype), axis=-1)
        self._one_hots[id(rows)] = index
        return rows

    def index_of(self, rows: Tensor) -> Tensor | None:
        """Return the index that :meth:`one_hot` made these rows of; None for any other tensor."""
        return self._one_hots.get(id(rows))

    def scalar(self, x: Tensor) -> Tensor:
        """Return a vector of one as a scalar."""
        return self.Reshape(x, np.zeros(0, np.int64))

    def mean(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        """Return the mean over axes, which stay as 1; free where ``x`` was expanded over them."""
        source = self.narrow(x, axes)
        return self.ReduceMean(x, axes=list(axes), keepdims=1) if source is x else source

    def narrow(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        """Return ``x`` with axes of 1 where it was expanded over just these; itself elsewhere."""
        source = _expanded(x, axes)
        return x if source is None else source

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


def _expanded(x: Tensor, axes: Sequence[int]) -> Tensor | None:
    """Return the tensor that ``x`` is the expansion of, over just these axes."""
    if not x.inputs or x.inputs[0].op != "Expand":
        return None
    source = x.inputs[0].inputs[0]
    large, small = shape_of(x), shape_of(source)
    if large is None or small is None or len(large) != len(small):
        return None
    same = all(
        s == 1 if i in axes else s == big and s is not None
        for i, (big, s) in enumerate(zip(large, small, strict=True))
    )
    return source if same else None
