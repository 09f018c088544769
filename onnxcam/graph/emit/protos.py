"""Tensors, nodes and subgraphs as ONNX writes them."""

from __future__ import annotations

from typing import Any

import onnx
import onnx_graphsurgeon as gs
from onnx import GraphProto, ModelProto, TensorProto, TypeProto, helper, numpy_helper

from onnxcam.graph.emit.tensors import (
    Dim,
    Tensor,
    dtype_of,
    elem_type,
    is_sequence,
    np_dtype,
    shape_of,
)


def type_proto(tensor: Tensor) -> TypeProto:
    """Return the ONNX type of a tensor: element type and as much of the shape as is known."""
    dtype = dtype_of(tensor)
    number = TensorProto.UNDEFINED if dtype is None else elem_type(dtype)
    kind = helper.make_tensor_type_proto(number, shape_of(tensor))
    return helper.make_sequence_type_proto(kind) if is_sequence(tensor) else kind


def imported(proto: ModelProto) -> gs.Graph:
    """Return the graph of a model; it is read only, never exported through graphsurgeon."""
    graph = gs.import_onnx(proto)
    _stamp_sequences(graph, proto.graph)
    return graph


def _stamp_sequences(graph: gs.Graph, proto: GraphProto) -> None:
    """Give sequences their elements' dtype and shape, which graphsurgeon does not read.

    What is known of optional values is forgotten: the cotangent of one is that of its value.
    """
    kinds = {
        info.name: info.type
        for info in [*proto.input, *proto.output, *proto.value_info]
        if info.type.WhichOneof("value") in ("sequence_type", "optional_type")
    }
    for tensor in [*graph.inputs, *graph.outputs, *(t for n in graph.nodes for t in n.outputs)]:
        if tensor.name in kinds:
            tensor.dtype = tensor.shape = None
            stamp(tensor, kinds[tensor.name])
    for node, source in zip(graph.nodes, proto.node, strict=True):
        for attribute in source.attribute:
            if attribute.HasField("g"):
                _stamp_sequences(node.attrs[attribute.name], attribute.g)


def stamp(tensor: Tensor, kind: TypeProto) -> None:
    """Write an ONNX type on a tensor, where it is that of a tensor or of a sequence of tensors."""
    if kind.HasField("sequence_type"):
        tensor.type, kind = "sequence_type", kind.sequence_type.elem_type
    if kind.HasField("tensor_type") and kind.tensor_type.elem_type:
        tensor.dtype = np_dtype(kind.tensor_type.elem_type)
        tensor.shape = proto_shape(kind)


def proto_shape(kind: TypeProto) -> list[Dim] | None:
    """Return the shape in a tensor's TypeProto, None where it has none."""
    if not kind.tensor_type.HasField("shape"):
        return None
    dims: list[Dim] = []
    for dim in kind.tensor_type.shape.dim:
        if dim.HasField("dim_value"):
            dims.append(dim.dim_value)
        else:
            dims.append(dim.dim_param or None)
    return dims


def node_proto(node: gs.Node) -> onnx.NodeProto:
    """Return the NodeProto of a node; attributes keep their order."""
    return onnx.NodeProto(
        op_type=node.op,
        input=[t.name for t in node.inputs],
        output=[t.name for t in node.outputs],
        name=node.name or None,
        domain=node.domain,
        attribute=[_attribute(k, v) for k, v in node.attrs.items()],
    )


def graph_proto(graph: gs.Graph) -> onnx.GraphProto:
    """Return the GraphProto of an emitted subgraph. Its constants live in the main graph."""
    return helper.make_graph(
        [node_proto(n) for n in graph.nodes],
        graph.name,
        [value_info(t) for t in graph.inputs],
        [value_info(t) for t in graph.outputs],
    )


def value_info(tensor: Tensor) -> onnx.ValueInfoProto:
    """Return name, dtype and shape of a tensor as ONNX writes them; no type where none is known."""
    if dtype_of(tensor) is None:
        return helper.make_empty_tensor_value_info(tensor.name)
    return helper.make_value_info(tensor.name, type_proto(tensor))


def _attribute(name: str, value: Any) -> onnx.AttributeProto:
    if isinstance(value, gs.Constant):
        return helper.make_attribute(name, numpy_helper.from_array(value.values, value.name))
    if isinstance(value, gs.Graph):
        return helper.make_attribute(name, graph_proto(value))
    return helper.make_attribute(name, value)
