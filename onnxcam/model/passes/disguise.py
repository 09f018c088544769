"""Shapes and dtypes of tensors behind operators that only ONNX Runtime knows."""

from __future__ import annotations

import onnx
import onnx.shape_inference
import onnx_graphsurgeon as gs
from onnx import ModelProto, NodeProto, TensorProto, helper

from onnxcam.errors import UnsupportedOp
from onnxcam.graph import quirks
from onnxcam.graph.bodies import infer
from onnxcam.graph.contrib.definitions import is_defined, lower
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, imported, shape_of, value_info
from onnxcam.graph.emit.walks import (
    STANDARD_DOMAINS,
    bodies_of,
    every_node,
    hide,
    standard_opset,
    unhide,
)
from onnxcam.graph.ops import Trait, data_inputs, has, traits_of

DISGUISE = "onnxcam.disguise"
# Experiments until these opsets; what changed then is a step of its own.
_BEFORE_ONNX = {"MeanVarianceNormalization": 9, "ThresholdedRelu": 10}


def disguised(proto: ModelProto) -> ModelProto:
    """Move operators of ONNX Runtime out of the standard domain, in place.

    onnx's checker and version converter stop at an unknown operator of the standard domain but
    pass by those of other domains.

    Args:
        proto: A model.

    Returns:
        The same model; ``restored`` undoes it.
    """
    opset = standard_opset(proto)
    strays = [
        n
        for n in every_node(proto.graph)
        if not n.domain and (has(n, Trait.OF_RUNTIME) or opset < _BEFORE_ONNX.get(n.op_type, 0))
    ]
    hide(proto, strays, DISGUISE)
    return proto


def withdrawn(proto: ModelProto) -> list[str]:
    """Return the operators of a disguised model that no newer opset has."""
    return sorted({n.op_type for n in every_node(proto.graph) if is_withdrawn(n)})


def is_withdrawn(node: NodeProto) -> bool:
    """Tell whether no newer opset has the operator of a node, disguised or not."""
    return node.domain in ("", DISGUISE) and Trait.WITHDRAWN in traits_of("", node.op_type)


def restored(proto: ModelProto) -> ModelProto:
    """Undo ``disguised``, in place."""
    unhide(proto, DISGUISE)
    return proto


def annotated(proto: ModelProto) -> ModelProto | None:
    """Return the model with the types of what onnx's shape inference leaves open.

    These are the outputs of ONNX Runtime's own operators, of control flow and of the few of its
    own operators that it infers nothing of.

    Args:
        proto: A model after onnx's shape inference; weights may be detached.

    Returns:
        A copy with more value_info, or None where nothing new was found.
    """
    infos = [*proto.graph.value_info, *proto.graph.output]
    known = {v.name for v in infos if v.type.tensor_type.HasField("shape")}
    nodes = proto.graph.node
    if known.issuperset(t for n in nodes for t in n.output if t) or not any(map(_is_open, nodes)):
        return None
    graph = imported(_with_weights_as_inputs(proto))
    op = Emitter(graph, {"" if o.domain == "ai.onnx" else o.domain: o.version
                         for o in proto.opset_import})  # fmt: skip
    outputs = {v.name for v in proto.graph.output}
    found: dict[str, Tensor] = {}
    for node in list(graph.nodes):
        missing = [t for t in node.outputs if t.name and shape_of(t) is None]
        if missing and stamped(op, node):
            found.update({t.name: t for t in missing if dtype_of(t) is not None})
    old = {v.name: v for v in proto.graph.value_info}
    new = {name: value_info(t) for name, t in found.items() if name not in outputs}
    if all(old.get(name) == info for name, info in new.items()):
        return None
    out = ModelProto()
    out.CopyFrom(proto)
    del out.graph.value_info[:]
    out.graph.value_info.extend({**old, **new}.values())
    return out


@quirks.works_around(quirks.OPEN_SHAPES)
def _is_open(node: NodeProto) -> bool:
    described = has(node, Trait.UNINFERRED) or _is_others(node)
    return described or is_defined(node.domain, node.op_type) or any(bodies_of(node))


def _is_others(node: NodeProto | gs.Node) -> bool:
    """Tell whether a node is elementwise by its description alone: onnx does not know it."""
    foreign = (node.domain or "") not in STANDARD_DOMAINS
    return foreign and has(node, Trait.KEEPS_SHAPE) and not has(node, Trait.SAME, Trait.COMPARES)


def _like(node: gs.Node) -> Tensor | None:
    """Return an input that the output of a node is as, by its description; None for no such."""
    data = data_inputs(node, node.inputs) if _is_others(node) else []
    return data[0] if len({shape_of(x) for x in data}) == 1 else None


def stamped(op: Emitter, node: gs.Node) -> bool:
    """Give the outputs of a node their dtypes and shapes; False where they are not known."""
    try:
        op.infer(node)
        infer(op, node)
        likes = lower(op, node) if is_defined(node.domain, node.op) else [_like(node)]
        for tensor, like in zip(node.outputs, likes, strict=False):
            if like is not None and shape_of(tensor) is None:
                tensor.dtype, tensor.shape = tensor.dtype or like.dtype, like.shape
    except (UnsupportedOp, onnx.shape_inference.InferenceError):
        return False
    return True


def _with_weights_as_inputs(proto: ModelProto) -> ModelProto:
    """Return the model with detached initializers as inputs, which need no bytes."""
    out = ModelProto()
    out.CopyFrom(proto)
    given = {v.name for v in out.graph.input}
    for tensor in list(out.graph.initializer):
        if tensor.data_location == TensorProto.EXTERNAL:
            out.graph.initializer.remove(tensor)
            if tensor.name not in given:
                info = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
                out.graph.input.append(info)
    return out
