"""What is known of a tensor of the graph: dtype, shape, value."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

import numpy as np
import onnx_graphsurgeon as gs
from onnx import helper
from onnx_graphsurgeon.logger import G_LOGGER

Tensor: TypeAlias = gs.Tensor
Dim: TypeAlias = "int | str | None"
Value: TypeAlias = Any  # a Tensor, a NumPy array, a Python number or a list of numbers

G_LOGGER.severity = G_LOGGER.ERROR


def is_tensor(value: object) -> bool:
    """Tell whether a value is a tensor of a graph."""
    return isinstance(value, gs.Tensor)


def np_dtype(elem_type: int) -> np.dtype[Any]:
    """Return the NumPy (or ml_dtypes) dtype of an ONNX element type."""
    return np.dtype(helper.tensor_dtype_to_np_dtype(elem_type))


def elem_type(dtype: Any) -> int:
    """Return the ONNX element type of a NumPy dtype; ONNX's own numbers pass through."""
    return dtype if isinstance(dtype, int) else helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def dtype_of(tensor: Tensor | np.ndarray[Any, Any]) -> np.dtype[Any] | None:
    """Return the dtype of a tensor (or array), or None where it is not known."""
    dtype: Any = tensor.dtype
    if dtype is None or dtype == 0:
        return None
    return np_dtype(dtype) if isinstance(dtype, int) else np.dtype(dtype)


def is_float(tensor: Tensor) -> bool:
    """Tell whether a tensor holds floating point (or complex) values; unknown counts as float.

    The formats of quantised values (float8 and smaller) count as integers.
    """
    dtype = dtype_of(tensor)
    return dtype is None or _is_wide(dtype)


def is_small_float(tensor: Tensor) -> bool:
    """Tell whether a tensor holds float8 or smaller: reals, rounded as quantised values are."""
    dtype = dtype_of(tensor)
    return dtype is not None and _is_narrow(dtype)


@cache
def _is_wide(dtype: np.dtype[Any]) -> bool:
    """Tell whether a dtype is of reals (or complex numbers) that gradients are made of."""
    return dtype.name == "bfloat16" or (dtype.kind in "fc" and not _is_narrow(dtype))


@cache
def _is_narrow(dtype: np.dtype[Any]) -> bool:
    return dtype.name.startswith(("float8", "float4"))


def shape_of(tensor: Tensor) -> tuple[Dim, ...] | None:
    """Return the shape with ints, symbol names and None, or None where the rank is unknown."""
    return None if tensor.shape is None else tuple(tensor.shape)


def static_shape(tensor: Tensor) -> tuple[int, ...] | None:
    """Return the shape when every dimension of it is known, else None."""
    shape = shape_of(tensor)
    if shape is None or not all(isinstance(d, int) for d in shape):
        return None
    return tuple(int(d) for d in shape)  # type: ignore[arg-type]


def const_value(tensor: Tensor | None) -> np.ndarray[Any, Any] | None:
    """Return the value of a tensor that is an initializer or a Constant node's output."""
    if tensor is None:
        return None
    if isinstance(tensor, gs.Constant):
        return np.asarray(tensor.values)
    if not tensor.inputs:
        return None
    node = tensor.inputs[0]
    if node.op == "Identity":
        return const_value(node.inputs[0])
    if node.op != "Constant":
        return None
    (name, value), *_ = node.attrs.items()
    if isinstance(value, gs.Constant):
        return np.asarray(value.values)
    kinds = {"value_float": np.float32, "value_floats": np.float32}
    return np.asarray(value, kinds.get(name, np.int64 if "int" in name else None))


def is_sequence(tensor: Tensor) -> bool:
    """Tell whether a value is a sequence of tensors; its dtype and shape are its elements'."""
    return isinstance(tensor, gs.Variable) and tensor.type == "sequence_type"
