"""onnx's shape inference, with what it gets wrong (1.23) put right."""

from __future__ import annotations

from collections.abc import Iterator

import onnx.shape_inference
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, helper

from onnxcam.emit import Dim, proto_shape

_UNKNOWN = "onnxcam.unknown"  # a domain whose operators onnx does not look into
_CONTRADICTION = "existing shape differ in"  # so onnx words it


def infer_shapes(proto: ModelProto) -> ModelProto:
    """Return a model with the types that onnx infers.

    It takes an STFT that says nothing for a two-sided one, though one-sided is the default; and
    it gives the output of an Attention without known hidden size a dimension of 0.

    Args:
        proto: A model; that its STFTs are one-sided is written out in it.

    Raises:
        onnx.shape_inference.InferenceError: The model contradicts itself.
    """
    for node in _nodes(proto.graph):
        if node.op_type == "STFT" and not any(a.name == "onesided" for a in node.attribute):
            node.attribute.append(helper.make_attribute("onesided", 1))
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    graph = inferred.graph
    known = {v.name: v for v in [*graph.value_info, *graph.output]}
    suspects = {
        name: known[name]
        for node in graph.node
        for name in node.output
        if node.op_type == "Attention" and name in known and _is_empty(known[name])
    }
    return _inferred_around(proto, suspects) if suspects else inferred


def drop_contradicted(proto: ModelProto) -> list[str]:
    """Drop, in place, the shapes that a model declares but its operators do not make.

    ONNX Runtime overrules them too, with a warning.

    Args:
        proto: A model.

    Returns:
        The names of the tensors whose declared shapes were dropped.
    """
    try:
        onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        if _CONTRADICTION in str(error):
            return _drop_contradicted(proto)
    return []


def _drop_contradicted(proto: ModelProto) -> list[str]:
    bare = ModelProto()
    bare.CopyFrom(proto)
    del bare.graph.value_info[:]
    for info in bare.graph.output:
        info.type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(bare, data_prop=True).graph
    made = {v.name: proto_shape(v.type) for v in [*graph.value_info, *graph.output]}
    wrong = []
    for info in [*proto.graph.value_info, *proto.graph.output]:
        if _contradict(proto_shape(info.type), made.get(info.name)):
            info.type.tensor_type.ClearField("shape")
            wrong.append(info.name)
    return wrong


def _contradict(declared: list[Dim] | None, made: list[Dim] | None) -> bool:
    if declared is None or made is None:
        return False
    pairs = zip(declared, made, strict=False)
    numbers = ((a, b) for a, b in pairs if isinstance(a, int) and isinstance(b, int))
    return len(declared) != len(made) or any(a != b for a, b in numbers)


def _inferred_around(proto: ModelProto, suspects: dict[str, ValueInfoProto]) -> ModelProto:
    """Infer again without a look into the makers of some tensors; their zeros become unknown."""
    hidden = ModelProto()
    hidden.CopyFrom(proto)
    hidden.opset_import.append(helper.make_opsetid(_UNKNOWN, 1))
    for node in hidden.graph.node:
        if any(name in suspects for name in node.output):
            node.domain = _UNKNOWN
    stated = {v.name for v in [*hidden.graph.value_info, *hidden.graph.output]}
    for name, info in suspects.items():
        if name not in stated:
            hidden.graph.value_info.append(_without_zeros(info))
    inferred = onnx.shape_inference.infer_shapes(hidden, data_prop=True)
    for node in inferred.graph.node:
        if node.domain == _UNKNOWN:
            node.domain = ""
    kept = [o for o in inferred.opset_import if o.domain != _UNKNOWN]
    del inferred.opset_import[:]
    inferred.opset_import.extend(kept)
    return inferred


def _is_empty(info: ValueInfoProto) -> bool:
    dims = info.type.tensor_type.shape.dim
    return any(d.HasField("dim_value") and d.dim_value == 0 for d in dims)


def _without_zeros(info: ValueInfoProto) -> ValueInfoProto:
    out = ValueInfoProto()
    out.CopyFrom(info)
    for dim in out.type.tensor_type.shape.dim:
        if dim.HasField("dim_value") and dim.dim_value == 0:
            dim.Clear()
    return out


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)
