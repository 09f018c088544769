"""Arithmetic on shapes, done while the graph is written: what it yields tells further shapes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from onnx import NodeProto

from onnxcam.graph.emit import Emitter, Tensor, const_value, node_proto, static_shape
from onnxcam.graph.ops import Trait, has

_SMALL = 64  # elements: shapes, axes and pads have fewer


def folded(
    op: Emitter, node: gs.Node, inputs: Sequence[Tensor | None]
) -> tuple[Tensor, ...] | None:
    """Return the outputs of a node as constants, where it computes with known integers only.

    Args:
        op: Emitter.
        node: The node.
        inputs: What stands for its inputs.

    Returns:
        Its outputs, or None where it has to be written.
    """
    if node.domain not in (None, "", "ai.onnx"):
        return None
    if node.op == "Shape":
        shape = None if inputs[0] is None else static_shape(inputs[0])
        part = slice(node.attrs.get("start", 0), node.attrs.get("end"))
        return None if shape is None else (op.const(np.array(shape, np.int64)[part]),)
    if not has(node, Trait.SIZES) or any(not t.name for t in node.outputs):
        return None
    values = [None if t is None else const_value(t) for t in inputs]
    given = [v for v in values if v is not None]
    if not given or len(given) < sum(t is not None for t in inputs):
        return None
    if any(v.dtype.kind not in "iub" or v.size > _SMALL for v in given):
        return None
    if node.op == "Range" and not _is_short(given):
        return None
    proto = node_proto(node)
    proto.name = ""
    proto.input[:] = [str(i) if t is not None else "" for i, t in enumerate(inputs)]
    proto.output[:] = [f"y{i}" for i in range(len(node.outputs))]
    frozen = tuple(None if v is None else (v.dtype.str, v.shape, v.tobytes()) for v in values)
    results = _evaluated(proto.SerializeToString(), frozen, op.opsets.get("", 1))
    return None if results is None else tuple(op.const(y) for y in results)


def _is_short(given: Sequence[np.ndarray[Any, Any]]) -> bool:
    """Tell whether a Range has few numbers, before they are made."""
    if len(given) != 3 or any(v.size != 1 for v in given) or not given[2].item():
        return False
    start, end, step = (v.item() for v in given)
    return bool((end - start) / step <= _SMALL)


def known_value(op: Emitter, tensor: Tensor) -> np.ndarray[Any, Any] | None:
    """Return the value of a tensor that constants of integers determine, else None."""
    value = const_value(tensor)
    if value is not None or not tensor.inputs:
        return value
    node = tensor.inputs[0]
    if node.op != "Shape" and not has(node, Trait.SIZES):
        return None
    inputs: list[Tensor | None] = []
    for source in node.inputs:
        found = None if node.op == "Shape" or not source.name else known_value(op, source)
        inputs.append(source if found is None else op.const(found))
    made = folded(op, node, [t if t is not None and t.name else None for t in inputs])
    if made is None:
        return None
    index = next(i for i, t in enumerate(node.outputs) if t is tensor)
    return const_value(made[index])


@lru_cache(maxsize=4096)
def _evaluated(
    node: bytes, inputs: tuple[tuple[str, tuple[int, ...], bytes] | None, ...], opset: int
) -> tuple[np.ndarray[Any, Any], ...] | None:
    """Return what a node makes of small arrays of integers; None where it is not that."""
    from onnx.reference import ReferenceEvaluator

    proto = NodeProto.FromString(node)
    feeds = {
        str(i): np.frombuffer(given[2], given[0]).reshape(given[1])
        for i, given in enumerate(inputs)
        if given is not None
    }
    try:
        results = ReferenceEvaluator(proto, opsets={"": opset}).run(None, feeds)
    except (ValueError, IndexError, TypeError, RuntimeError):
        return None  # it does not fit its inputs, as in a branch that never runs
    arrays = tuple(np.asarray(y) for y in results)
    return None if any(y.dtype.kind not in "iub" or y.size > _SMALL for y in arrays) else arrays
