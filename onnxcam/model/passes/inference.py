"""onnx's shape inference within bounds."""

from __future__ import annotations

import math

import onnx.shape_inference
from onnx import GraphProto, ModelProto

from onnxcam.graph.emit.walks import bodies_of
from onnxcam.model.passes.amounts import Known
from onnxcam.model.passes.budgets import inferred_within, is_asking

_MOST = 1 << 20  # numbers that are followed one by one: a microsecond and a hundred bytes each


def inferred(proto: ModelProto, *, strict: bool = False) -> ModelProto:
    """Return a model with the types that onnx infers.

    The numbers that shapes are computed with are followed through the graph, unless there are so
    many of them that they are no shapes: onnx would make an object of every one.

    Args:
        proto: The model.
        strict: Whether a contradiction is an error.

    Raises:
        onnx.shape_inference.InferenceError: The model contradicts itself.
        ModelError: Constants make more than the budget of what it computes.
    """
    few = _followed(proto.graph, None) <= _MOST
    found = onnx.shape_inference.infer_shapes(proto, strict_mode=strict, data_prop=few)
    inferred_within(found.graph)
    return found


def _followed(graph: GraphProto, outer: Known | None) -> int:
    if not is_asking(graph) and outer is None and _fed(graph) <= _MOST:
        return 0
    known = Known(graph, outer, fed=True)
    bodies = (body for node in graph.node for body in bodies_of(node))
    return known.followed + sum(_followed(body, known) for body in bodies)


def _fed(graph: GraphProto) -> int:
    """Return the elements of the largest input, as far as it declares them."""
    shapes = (info.type.tensor_type.shape.dim for info in graph.input)
    return max((math.prod(d.dim_value or 1 for d in dims) for dims in shapes), default=0)
