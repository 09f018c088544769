"""What the rules of operators that only move values have in common."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import onnx_graphsurgeon as gs

from onnxcam.autodiff.registry import NodeView
from onnxcam.errors import UnsupportedOp
from onnxcam.graph import quirks
from onnxcam.graph.emit import Emitter, Tensor, const_value, dtype_of, shape_of, static_shape

Size: TypeAlias = "int | Tensor"  # of one dimension: known, or an int64 [1] tensor


def alone(node: NodeView, dx: Tensor | None) -> list[Tensor | None]:
    """Return the gradients of a node whose first input alone has one."""
    return [dx, *[None] * (len(node.inputs) - 1)]


def reshaped(op: Emitter, x: Tensor, shape: Tensor) -> Tensor:
    """Reshape to a whole shape without -1; an empty dimension stays empty."""
    allowzero = 1 if "allowzero" in op.schema("Reshape").attributes else None
    static = static_shape(x)
    if static is not None and 0 not in static:
        allowzero = None
    return op.Reshape(x, shape, allowzero=allowzero)


def like(op: Emitter, dy: Tensor, x: Tensor) -> Tensor:
    """Reshape to the shape of x."""
    return op.typed(reshaped(op, dy, op.shape(x)), x)


def flat(op: Emitter, x: Tensor) -> Tensor:
    """Return all elements of x in one dimension."""
    return op.Reshape(x, [-1])


@quirks.works_around(quirks.PACKED_KERNEL)
def refolded(op: Emitter, weight: Tensor) -> Tensor:
    """Return a constant as another constant of the same values, anything else as it is."""
    rank = len(shape_of(weight) or ())
    if rank == 0 or const_value(weight) is None:
        return weight
    first_second = op.Transpose(op.Unsqueeze(weight, axes=[0]), perm=[1, 0, *range(2, rank + 1)])
    return op.Squeeze(first_second, axes=[1])


def arange(op: Emitter, size: Size) -> Tensor:
    """Return 0, 1, ... size - 1 as int64."""
    limit = op.const(size, np.int64) if isinstance(size, int) else size
    return op.Range(0, op.Squeeze(limit) if shape_of(limit) != () else limit, 1)


@quirks.works_around(quirks.BFLOAT16_SIZE)
def count(op: Emitter, x: Tensor) -> int | Tensor:
    """Return how many elements x has: an int where it is known, else an int64 scalar."""
    static = static_shape(x)
    if static is not None:
        return int(np.prod(static))
    return op.ReduceProd(op.Shape(x), keepdims=0)


def zeros_of(op: Emitter, shape: Tensor, kind: Tensor) -> Tensor:
    """Return zeros of a shape, in the dtype of another tensor."""
    value = np.zeros(1, dtype_of(kind) or np.float32)
    return op.ConstantOfShape(shape, value=gs.Constant("", value))


@quirks.works_around(quirks.HALF_SCATTER)
def scatter_add(op: Emitter, op_type: str, zeros: Tensor, *where: Any, **named: Any) -> Tensor:
    """Add updates into zeros; half precision goes by float32.

    Args:
        op: Emitter.
        op_type: ScatterElements or ScatterND.
        zeros: What to add to; its dtype is that of the result.
        where: Indices and updates.
        named: Attributes.

    Raises:
        UnsupportedOp: The opset knows no scatter that adds (below 16).
    """
    if "reduction" not in op.schema(op_type).attributes:
        raise UnsupportedOp(
            f"opset {op.opsets.get('', 1)} has no {op_type} that adds, but the gradient needs it",
            "raise the model to opset 16 or newer with onnx.version_converter",
        )
    kind = dtype_of(zeros)
    indices, updates = where
    if kind is not None and kind.itemsize < 4:
        zeros, updates = (op.cast(t, np.dtype(np.float32)) for t in (zeros, updates))
    total = op.call(op_type, [zeros, indices, updates], {**named, "reduction": "add"})
    return total if kind is None else op.cast(total, kind)


def put_back(op: Emitter, node: NodeView, dy: Tensor, *rest: Any, unique: bool = False) -> Tensor:
    """Return dx of a node that only moves the elements of its first input, by moving positions.

    The node itself, fed with the position of each element instead of its value, tells where
    every element of the output came from.

    Args:
        op: Emitter.
        node: The node.
        dy: Gradient of its output.
        rest: Its other inputs.
        unique: No element is moved to two places.
    """
    x = node.inputs[0]
    positions = reshaped(op, arange(op, count(op, x)), op.shape(x))
    origin = flat(op, node.emit_forward(op, [positions, *rest]))
    zeros = flat(op, op.zeros_like(x, dtype_of(dy)))
    if unique:
        return like(op, op.ScatterElements(zeros, origin, flat(op, dy), axis=0), x)
    return like(op, scatter_add(op, "ScatterElements", zeros, origin, flat(op, dy), axis=0), x)
