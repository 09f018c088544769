"""The way down to an older opset, for older runtimes.

ONNX's converter knows few ways down. But most operators stayed what they were when they got a new
version: it takes more types, or has one more option. Where a node uses none of that it is the
older version's node as it stands. Those are taken along, the rest is left to the converter.
"""

from __future__ import annotations

import onnx.defs
import onnx.shape_inference
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.defs import OpSchema
from onnx.inliner import inline_selected_functions

from onnxcam.graph.emit.walks import STANDARD_DOMAINS, hide, unhide
from onnxcam.graph.ops import Trait, has
from onnxcam.model.passes.converter import at_opset

_HIDDEN = "onnxcam.taken_along"
_FIRST = 11  # before, operators changed more than their types
# Options with values that an older version takes for something else.
_OTHERWISE = {("AveragePool", "ceil_mode"): 1, ("LpPool", "ceil_mode"): 1, ("Pad", "mode"): b"wrap"}


def lowered(proto: ModelProto, opset: int) -> ModelProto:
    """Return a model at an older opset.

    Args:
        proto: The model; its large weights need not be in it.
        opset: The version of the standard operators.

    Raises:
        RuntimeError: ONNX's converter finds no way for a node.
        InferenceError: A type is too new for an older operator.
    """
    copy = _spelled_out(proto, opset)
    shapes = _shapes(copy.graph)
    nodes = [part for node in copy.graph.node for part in _parts(node, opset)]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    standard = [n for n in copy.graph.node if n.domain in STANDARD_DOMAINS]
    hide(copy, [n for n in standard if _is_older(n, opset, shapes)], _HIDDEN)
    converted = at_opset(copy, opset)
    unhide(converted, _HIDDEN)
    onnx.shape_inference.infer_shapes(converted, check_type=True)
    return converted


def _spelled_out(proto: ModelProto, opset: int) -> ModelProto:
    """Return a copy in which operators after the opset are replaced by ONNX's definitions.

    An operator without a definition stays.
    """
    copy = ModelProto()
    copy.CopyFrom(proto)
    weights = {t.name for t in copy.graph.initializer}
    for tensor in copy.graph.initializer:  # the inliner asks for their types
        info = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        copy.graph.value_info.append(info)
    done: set[str] = set()
    while young := {n.op_type for n in copy.graph.node if _is_young(n, opset)} - done:
        done |= young
        names = [("", name) for name in sorted(young)]
        copy = inline_selected_functions(copy, names, inline_schema_functions=True)
    kept = [v for v in copy.graph.value_info if v.name not in weights]
    del copy.graph.value_info[:]
    copy.graph.value_info.extend(kept)
    return copy


def _is_young(node: NodeProto, opset: int) -> bool:
    """Tell whether an operator came after the opset."""
    if node.domain not in STANDARD_DOMAINS:
        return False
    try:
        onnx.defs.get_schema(node.op_type, opset)
    except onnx.defs.SchemaError:
        return True
    return False


def _parts(node: NodeProto, opset: int) -> list[NodeProto]:
    """Return a node, a part of a shape (opset 15) as a slice of the whole one."""
    said = {a.name: a.i for a in node.attribute}
    if opset >= 15 or node.op_type != "Shape" or node.domain or not said.keys() & {"start", "end"}:
        return [node]
    name = node.output[0]
    ends = {"start": said.get("start", 0), "end": said.get("end", 2**63 - 1)}
    constants = [
        helper.make_node(
            "Constant", [], [f"{name}/{key}"],
            value=helper.make_tensor(key, TensorProto.INT64, [1], [value]),
        )
        for key, value in ends.items()
    ]  # fmt: skip
    whole = helper.make_node("Shape", node.input, [f"{name}/whole"], name=node.name)
    part = helper.make_node("Slice", [f"{name}/whole", f"{name}/start", f"{name}/end"], [name])
    return [*constants, whole, part]


def _shapes(graph: GraphProto) -> dict[str, list[int]]:
    """Return the constants that may be shapes, by the names of their tensors."""
    held = {t.name: t for t in graph.initializer}
    held.update(
        (node.output[0], attribute.t)
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    )
    return {
        name: numpy_helper.to_array(tensor).tolist()
        for name, tensor in held.items()
        if tensor.data_type == TensorProto.INT64 and len(tensor.dims) == 1 and tensor.dims[0] < 64
    }


def _is_older(node: NodeProto, opset: int, shapes: dict[str, list[int]]) -> bool:
    """Drop the options of a node that change nothing, and tell whether it is the older one."""
    try:
        new = onnx.defs.get_schema(node.op_type)
        old = onnx.defs.get_schema(node.op_type, opset)
    except onnx.defs.SchemaError:  # it is younger than the opset: the converter says so
        return False
    kept = [
        a
        for a in node.attribute
        if a.name in old.attributes or not (_is_default(a, new) or _is_idle(a, node, shapes))
    ]
    del node.attribute[:]
    node.attribute.extend(kept)
    return opset >= _FIRST and has(node, Trait.STEADY) and _takes(old, node)


def _is_idle(attribute: onnx.AttributeProto, node: NodeProto, shapes: dict[str, list[int]]) -> bool:
    """Tell whether an option makes no difference here."""
    match node.op_type, attribute.name:
        case "Split", "num_outputs":  # without it the parts are equal too, or it is an error
            return True
        case "Reshape", "allowzero":
            return 0 not in shapes.get(node.input[1], [0])
    return False


def _is_default(attribute: onnx.AttributeProto, schema: OpSchema) -> bool:
    known = schema.attributes.get(attribute.name)
    if known is None or not known.default_value.name:
        return False
    return bool(
        helper.get_attribute_value(attribute) == helper.get_attribute_value(known.default_value)
    )


def _takes(old: OpSchema, node: NodeProto) -> bool:
    """Tell whether an older operator has all that a node uses, and means the same by it."""
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if attribute.name not in old.attributes or attribute.HasField("g"):
            return False
        if _OTHERWISE.get((node.op_type, attribute.name)) == value:
            return False
    if not old.min_input <= len(node.input) <= old.max_input:
        return False
    if len(node.output) > old.max_output:
        return False
    single = OpSchema.FormalParameterOption.Single
    return all(
        name or formal.option != single
        for name, formal in zip(node.input, old.inputs, strict=False)
    )
