"""Operators without a rule whose specification is a function: its body is differentiated.

The body is written once more from the node's inputs, inside the gradient, and differentiated
there; its operators may in turn have bodies. The forward node stays what it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import onnx
import onnx.shape_inference
import onnx_graphsurgeon as gs
from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, TypeProto, helper

from onnxcam.autodiff.registry import NodeView
from onnxcam.autodiff.subgraphs import Differentiable
from onnxcam.emit import Emitter, Tensor, imported, node_proto, type_proto


def expanded(op: Emitter, node: NodeView, *dys: Tensor | None) -> list[Tensor | None]:
    """Differentiate the body of the function that an operator's specification is.

    A rule for every operator that :func:`is_expandable` holds for.
    """
    graph = _body(node)
    actual = [t for t in node.inputs[: node.explicit] if t is not None]
    known = {id(formal): x for formal, x in zip(graph.inputs, actual, strict=True)}
    body = Differentiable(node, op, graph, known)
    cotangents = [*dys, *[None] * len(body.outputs)][: len(body.outputs)]
    wanted = {id(x): i for i, x in reversed(list(enumerate(node.inputs))) if node.wants(i)}
    places = list(wanted.values())
    grads: list[Tensor | None] = [None] * len(node.inputs)
    found = body.vjp(cotangents, [node.inputs[i] for i in places])
    for i, dx in zip(places, found, strict=True):
        grads[i] = dx
    return grads


def is_expandable(node: NodeView) -> bool:
    """Tell whether the specification of a node's operator is a function, at the node's opset."""
    return _version(node) is not None


def _version(node: NodeView) -> int | None:
    """Return the newest opset, up to the node's, that the function is stated for."""
    schema: Any = node.schema  # onnx's stubs do not know its functions
    if schema is None:
        return None
    stated = [*schema.function_opset_versions, *schema.context_dependent_function_opset_versions]
    return max((v for v in stated if v <= node.opset or node.domain), default=None)


def _body(node: NodeView) -> gs.Graph:
    """Return the body of the function, with the node's attributes put in."""
    function = _function(node)
    tensors = [t for t in node.inputs[: node.explicit] if t is not None]
    given = [n for n, t in zip(function.input, node.inputs, strict=False) if t is not None]
    omitted = set(function.input) - set(given)
    nodes = _resolved(function.node, _attributes(node), omitted)
    graph = helper.make_graph(
        list(nodes),
        node.op_type,
        [helper.make_value_info(n, type_proto(t)) for n, t in zip(given, tensors, strict=True)],
        [helper.make_empty_tensor_value_info(n) for n in function.output],
    )
    body = helper.make_model(graph, opset_imports=function.opset_import)
    return imported(onnx.shape_inference.infer_shapes(body, data_prop=True))


def _function(node: NodeView) -> FunctionProto:
    """Return the function as ONNX states it, for these inputs where it depends on them."""
    schema: Any = node.schema
    version, function = _version(node), FunctionProto()
    assert version is not None, f"{node.op_type} is no function"
    if version in schema.function_opset_versions:
        function.ParseFromString(schema.get_function_with_opset_version(version))
        return function
    kinds = [TypeProto() if t is None else type_proto(t) for t in node.inputs[: node.explicit]]
    stated = schema.get_context_dependent_function_with_opset_version(
        version, node_proto(node.raw).SerializeToString(), [k.SerializeToString() for k in kinds]
    )
    function.ParseFromString(stated)
    return function


def _attributes(node: NodeView) -> dict[str, AttributeProto]:
    """Return the attributes of a node by name, defaults among them."""
    defaults = {} if node.schema is None else node.schema.attributes
    found = {name: a.default_value for name, a in defaults.items() if a.default_value.name}
    return found | {a.name: a for a in node_proto(node.raw).attribute}


def _resolved(
    nodes: Iterable[NodeProto], values: Mapping[str, AttributeProto], omitted: set[str]
) -> Iterator[NodeProto]:
    """Yield the nodes of a body without references to attributes and to omitted inputs."""
    for source in nodes:
        node = NodeProto()
        node.CopyFrom(source)
        node.input[:] = ["" if name in omitted else name for name in source.input]
        del node.attribute[:]
        for attribute in source.attribute:
            value = values.get(attribute.ref_attr_name) if attribute.ref_attr_name else attribute
            if value is None:
                continue  # an optional attribute that the node does not have
            made = node.attribute.add()
            made.CopyFrom(value)
            made.name = attribute.name
            if made.HasField("g"):
                _resolve_graph(made.g, values, omitted)
        yield node


def _resolve_graph(
    graph: GraphProto, values: Mapping[str, AttributeProto], omitted: set[str]
) -> None:
    nodes = list(_resolved(graph.node, values, omitted))
    del graph.node[:]
    graph.node.extend(nodes)
