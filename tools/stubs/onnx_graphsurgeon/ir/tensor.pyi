from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto
from onnx_graphsurgeon.ir.node import Node

class Tensor:
    """A value of the graph. `dtype` is NumPy's, or ONNX's number where NumPy has none."""

    name: str
    inputs: list[Node]
    outputs: list[Node]
    dtype: Any
    shape: Sequence[int | str | None] | None
    type: str  # of variables: tensor_type, sequence_type ...
    def is_empty(self) -> bool: ...

class Variable(Tensor):
    def __init__(
        self,
        name: str,
        dtype: Any = None,
        shape: Sequence[int | str | None] | None = None,
        type: str = "tensor_type",
    ) -> None: ...
    @staticmethod
    def empty() -> Variable: ...

class LazyValues:
    tensor: TensorProto
    shape: tuple[int, ...]
    def __init__(self, tensor: TensorProto) -> None: ...
    def load(self) -> np.ndarray[Any, Any]: ...

class Constant(Tensor):
    values: Any
    data_location: int | None
    def __init__(
        self,
        name: str,
        values: np.ndarray[Any, Any] | LazyValues,
        data_location: int | None = None,
        export_dtype: Any = None,
    ) -> None: ...
