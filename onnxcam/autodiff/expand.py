"""Operators without a rule that ONNX itself defines by others: the definition is differentiated.

It is written once more from the node's inputs, inside the gradient, and differentiated there; its
operators may in turn have definitions. The forward node stays what it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import onnx.shape_inference
import onnx_graphsurgeon as gs
from onnx import AttributeProto, FunctionProto, NodeProto, TypeProto, helper

from onnxcam.autodiff.control.subgraphs import Differentiable
from onnxcam.autodiff.registry import NodeView, schema_of
from onnxcam.graph import quirks
from onnxcam.graph.bodies import captures
from onnxcam.graph.emit import Emitter, Tensor, imported, node_proto, type_proto


def expanded(op: Emitter, node: NodeView, *dys: Tensor | None) -> list[Tensor | None]:
    """Differentiate the definition of an operator: a rule where :func:`is_defined` holds."""
    body = Differentiable(node, op, *_definition(op, node))
    cotangents = [*dys, *[None] * len(body.outputs)][: len(body.outputs)]
    # One tensor may be several inputs (self-attention): its gradient is given once.
    places = {id(x): i for i, x in reversed(list(enumerate(node.inputs))) if node.wants(i)}
    found = body.vjp(cotangents, [node.inputs[i] for i in places.values()])
    grads: list[Tensor | None] = [None] * len(node.inputs)
    for i, dx in zip(places.values(), found, strict=True):
        grads[i] = dx
    return grads


def is_defined(node: NodeView) -> bool:
    """Tell whether ONNX defines a node's operator by others, at its opset and for its inputs."""
    return _version(node) is not None and len(_function(node).node) > 0


def has_definition(domain: str, op_type: str, opset: int) -> bool:
    """Tell whether ONNX defines an operator by others, for some inputs at least."""
    schema = schema_of(domain, op_type, opset)
    return schema is not None and _stated(schema, opset) is not None


def _version(node: NodeView) -> int | None:
    """Return the newest opset, up to the node's, that the definition is stated for."""
    return None if node.schema is None else _stated(node.schema, node.opset)


def _stated(schema: Any, opset: int) -> int | None:  # onnx's stubs do not know its functions
    stated = [*schema.function_opset_versions, *schema.context_dependent_function_opset_versions]
    return max((v for v in stated if v <= opset), default=None)


@quirks.works_around(quirks.INLINED_OMISSIONS)
def _definition(op: Emitter, node: NodeView) -> tuple[gs.Graph, dict[int, Tensor]]:
    """Return the definition with the node's attributes put in and shapes inferred.

    Also what stands for its inputs: tensors by the ids of the definition's own.
    """
    function = _function(node)
    explicit = node.inputs[: node.explicit]
    given = {n: t for n, t in zip(function.input, explicit, strict=False) if t is not None}
    omitted = set(function.input) - set(given)
    given |= {t.name: t for t in captures(node.raw)}
    graph = helper.make_graph(
        list(_resolved(function.node, _attributes(node), omitted)),
        node.op_type,
        [helper.make_value_info(name, type_proto(t)) for name, t in given.items()],
        [helper.make_empty_tensor_value_info(name) for name in function.output],
    )
    opsets = {"": op.opsets[""], **{o.domain: o.version for o in function.opset_import}}
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    model = helper.make_model(graph, opset_imports=imports)
    body = imported(onnx.shape_inference.infer_shapes(model, data_prop=True))
    return body, {id(formal): given[formal.name] for formal in body.inputs}


def _function(node: NodeView) -> FunctionProto:
    """Return the definition as ONNX states it, for these inputs where it depends on them."""
    schema: Any = node.schema
    version, function = _version(node), FunctionProto()
    assert version is not None, f"{node.op_type} has no definition"
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
    """Yield nodes without references to attributes and to inputs that are omitted."""
    for source in nodes:
        node = NodeProto()
        node.CopyFrom(source)
        node.input[:] = ["" if name in omitted else name for name in source.input]
        del node.attribute[:]
        for attribute in source.attribute:
            value = values.get(attribute.ref_attr_name) if attribute.ref_attr_name else attribute
            if value is None:
                continue  # optional, and not stated
            made = node.attribute.add()
            made.CopyFrom(value)
            made.name = attribute.name
            if made.HasField("g"):
                inner = list(_resolved(made.g.node, values, omitted))
                del made.g.node[:]
                made.g.node.extend(inner)
        yield node
