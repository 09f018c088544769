"""Models made from models: one node, all in double, inputs frozen, dimensions forgotten."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    TensorProto,
    TypeProto,
    helper,
    numpy_helper,
)

SMALL_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
FLOATS = (*SMALL_FLOATS, TensorProto.DOUBLE)
_DTYPE_ATTRIBUTES = ("to", "dtype", "output_datatype", "output_dtype", "stash_type",
                     "softmax_precision")  # fmt: skip
_FLOAT_BY_DEFAULT = {"RandomNormal": "dtype", "RandomUniform": "dtype", "SequenceEmpty": "dtype"}


def node_model(
    op_type: str,
    feeds: Mapping[str, np.ndarray | None],
    outputs: Iterable[str] = ("y",),
    *,
    opset: int = 20,
    domain: str = "",
    domain_version: int = 1,
    **attributes: Any,
) -> ModelProto:
    """Return a model of one node; its inputs are the keys of ``feeds`` (None: omitted).

    Output types come from ONNX's shape inference; other domains get float without a shape.
    """
    node = helper.make_node(
        op_type, [k if v is not None else "" for k, v in feeds.items()], list(outputs),
        name="node", domain=domain, **attributes,
    )  # fmt: skip
    inputs = [
        helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for k, v in feeds.items()
        if v is not None
    ]
    model = graph_model([node], inputs, outputs, opset=opset, domains={domain: domain_version})
    if not all(o.type.tensor_type.HasField("shape") for o in model.graph.output):
        known = {k: v for k, v in feeds.items() if v is not None and v.dtype.kind in "iub"}
        fixed = onnx.shape_inference.infer_shapes(frozen(model, known, known), data_prop=True)
        for info, found in zip(model.graph.output, fixed.graph.output, strict=True):
            info.CopyFrom(found)
    return model


def graph_model(
    nodes: Iterable[onnx.NodeProto],
    inputs: Iterable[onnx.ValueInfoProto],
    outputs: Iterable[str],
    *,
    opset: int = 20,
    initializers: Mapping[str, np.ndarray] | None = None,
    domains: Mapping[str, int] | None = None,
) -> ModelProto:
    """Return a model of these nodes whose output types ONNX infers."""
    weights = [numpy_helper.from_array(v, k) for k, v in (initializers or {}).items()]
    names = [name for name in outputs if name]
    graph = helper.make_graph(list(nodes), "graph", list(inputs), [], weights)
    imports = [helper.make_opsetid("", opset)]
    imports += [helper.make_opsetid(d, v) for d, v in (domains or {}).items() if d]
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    for info in inferred.graph.output:
        if not info.HasField("type"):
            info.type.tensor_type.elem_type = TensorProto.FLOAT
    del inferred.graph.value_info[:]
    return inferred


def frozen(model: ModelProto, feeds: Mapping[str, Any], names: Collection[str]) -> ModelProto:
    """Return the model with these inputs as initializers."""
    out = _copy(model)
    out.ir_version = max(out.ir_version, 4)  # before it, initializers were inputs too
    kept = [v for v in out.graph.input if v.name not in names]
    del out.graph.input[:]
    out.graph.input.extend(kept)
    out.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(feeds[name]), name) for name in names
    )
    return out


def symbolic(model: ModelProto) -> ModelProto:
    """Return the model with every dimension of its float inputs and of its outputs unknown.

    The ranks stay; what shape inference had found is forgotten.
    """
    out = _copy(model)
    del out.graph.value_info[:]
    for info in out.graph.input:
        if _tensor_kind(info.type) in FLOATS:
            for i, dim in enumerate(info.type.tensor_type.shape.dim):
                dim.dim_param = f"{info.name}_{i}"
    for info in out.graph.output:
        for dim in info.type.tensor_type.shape.dim if _tensor_kind(info.type) else ():
            dim.Clear()
    return out


def in_double(model: ModelProto) -> ModelProto:
    """Return the model with float, float16 and bfloat16 replaced by double everywhere.

    For the reference evaluator: some operators' schemas do not admit double.
    """
    out = _copy(model)
    _graph_in_double(out.graph)
    for function in out.functions:
        for node in function.node:
            _node_in_double(node)
    return out


def array_in_double(value: Any) -> Any:
    """Return an array (or a list of arrays, or None) in double where it is floating point."""
    if isinstance(value, list):
        return [array_in_double(v) for v in value]
    if value is None:
        return None
    array = np.asarray(value)
    is_float = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
    return array.astype(np.float64) if is_float else array


def _graph_in_double(graph: GraphProto) -> None:
    for info in [*graph.input, *graph.output, *graph.value_info]:
        _type_in_double(info.type)
    for tensor in graph.initializer:
        _tensor_in_double(tensor)
    for node in graph.node:
        _node_in_double(node)


def _node_in_double(node: onnx.NodeProto) -> None:
    if node.op_type == "ConstantOfShape" and not node.attribute:
        node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(np.zeros(1))))
    missing = _FLOAT_BY_DEFAULT.get(node.op_type)
    if missing and not any(a.name == missing for a in node.attribute):
        node.attribute.append(helper.make_attribute(missing, TensorProto.DOUBLE))
    for attribute in node.attribute:
        _attribute_in_double(node, attribute)


def _attribute_in_double(node: onnx.NodeProto, attribute: AttributeProto) -> None:
    if attribute.name in _DTYPE_ATTRIBUTES and attribute.i in SMALL_FLOATS:
        attribute.i = TensorProto.DOUBLE
    if attribute.HasField("t"):
        _tensor_in_double(attribute.t)
    if attribute.HasField("tp"):
        _type_in_double(attribute.tp)
    if attribute.HasField("g"):
        _graph_in_double(attribute.g)
    if node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
        scalar = attribute.name == "value_float"
        value = np.float64(attribute.f) if scalar else np.array(attribute.floats, np.float64)
        attribute.CopyFrom(helper.make_attribute("value", numpy_helper.from_array(np.array(value))))


def _tensor_in_double(tensor: TensorProto) -> None:
    if tensor.data_type in SMALL_FLOATS:
        array = numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _type_in_double(kind: TypeProto) -> None:
    for tensor in _tensor_types(kind):
        if tensor.elem_type in SMALL_FLOATS:
            tensor.elem_type = TensorProto.DOUBLE


def _tensor_types(kind: TypeProto) -> Iterator[TypeProto.Tensor]:
    which = kind.WhichOneof("value")
    if which == "tensor_type":
        yield kind.tensor_type
    elif which in ("sequence_type", "optional_type"):
        yield from _tensor_types(getattr(kind, which).elem_type)


def _tensor_kind(kind: TypeProto) -> int:
    return kind.tensor_type.elem_type if kind.HasField("tensor_type") else TensorProto.UNDEFINED


def _copy(model: ModelProto) -> ModelProto:
    out = ModelProto()
    out.CopyFrom(model)
    return out
