"""Models in half precision, made of models in single precision."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, numpy_helper

_SINGLE, _HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def in_half(model: ModelProto) -> ModelProto:
    """Return the model with float replaced by float16, but for the scales of a Resize."""
    out = ModelProto()
    out.CopyFrom(model)
    for graph in _graphs(out.graph):
        _halve_graph(graph)
    return out


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)


def _halve_graph(graph: GraphProto) -> None:
    del graph.value_info[:]
    scales = {name for n in graph.node if n.op_type == "Resize" for name in n.input[1:3]}
    for info in [*graph.input, *graph.output]:
        if info.type.tensor_type.elem_type == _SINGLE:
            info.type.tensor_type.elem_type = _HALF
    for tensor in graph.initializer:
        if tensor.name not in scales:
            _halve(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype") and attribute.i == _SINGLE:
                attribute.i = _HALF
            if attribute.HasField("t") and not scales & set(node.output):
                _halve(attribute.t)


def _halve(tensor: TensorProto) -> None:
    if tensor.data_type == _SINGLE:
        value = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
