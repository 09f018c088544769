"""The part that is explained, in single precision: for models in half precision.

Half precision ends at 65504 and 6e-8. A gradient often leaves that range where the values do not:
the mean over 224 x 224 positions alone divides it by 50176.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto

from onnxcam.autodiff.engine import path
from onnxcam.errors import UnsupportedOp
from onnxcam.graph.bodies import bodies
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, elem_type, is_float

_SINGLE = np.dtype(np.float32)
_HALF = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_TYPES = ("to", "dtype", "output_dtype")  # attributes that name an element type


def in_single(op: Emitter, score: Tensor, wrt: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Compute a score once more, from these tensors on in float32.

    Args:
        op: Emitter of the graph.
        score: The score.
        wrt: What it is to be differentiated with respect to.

    Returns:
        The score and the tensors, in float32; themselves where nothing between them is in half
        precision.

    Raises:
        UnsupportedOp: An operator with a subgraph is on the way.
    """
    nodes, _ = path(op, [score], wrt)
    if not any(_is_half(t) for t in (score, *wrt, *(t for n in nodes for t in n.outputs))):
        return score, list(wrt)
    made = {id(t) for node in nodes for t in node.outputs}
    twins = {id(t): op.cast(t, _SINGLE) for t in wrt if id(t) not in made}
    for node in nodes:
        if bodies(node):
            raise UnsupportedOp(
                f"{node.op} (node {node.name!r}) cannot be computed in float32: it has a subgraph",
                "name a `feature_layer` behind it, or leave `fp16_safe` out",
            )
        with op.scope(f"single/{node.name or node.op}"):
            results = op.again(node, [_single(op, t, twins) for t in node.inputs], _types(node))
        twins.update((id(t), r) for t, r in zip(node.outputs, results, strict=True))
    return twins[id(score)], [twins[id(t)] for t in wrt]


def _single(op: Emitter, tensor: Tensor, twins: dict[int, Tensor]) -> Tensor | None:
    if not tensor.name:
        return None
    twin = twins.get(id(tensor), tensor)
    return op.cast(twin, _SINGLE) if _is_half(twin) else twin


def _types(node: Any) -> dict[str, Any]:
    """Return the attributes of a node, half precision replaced by single."""
    return {
        key: TensorProto.FLOAT if key in _TYPES and elem_type(value) in _HALF else value
        for key, value in node.attrs.items()
    }


def _is_half(tensor: Tensor) -> bool:
    kind = dtype_of(tensor) if is_float(tensor) else None
    return kind is not None and kind.itemsize < _SINGLE.itemsize
