"""Operators that are written in standard ones on load: those that no newer opset has."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import onnx_graphsurgeon as gs
from onnx import ModelProto, NodeProto, numpy_helper

from onnxcam.graph.contrib.definitions import is_defined, lower
from onnxcam.graph.emit import Emitter, dtype_of, imported, node_proto, shape_of
from onnxcam.graph.emit.walks import STANDARD_DOMAINS
from onnxcam.model.weights import Weights


def spelled(
    proto: ModelProto, weights: Weights, wanted: Callable[[NodeProto], bool]
) -> tuple[ModelProto, list[str]]:
    """Return a model in which some operators are replaced by their definitions.

    Args:
        proto: A light model.
        weights: Its weights, for definitions that read one.
        wanted: Tells of a node of the main graph whether it shall be replaced.

    Returns:
        The model, and the operators that were replaced.

    Raises:
        UnsupportedOp: The definition does not cover what a node says.
    """
    chosen = [
        i
        for i, node in enumerate(proto.graph.node)
        if wanted(node) and is_defined(node.domain, node.op_type)
    ]
    if not chosen:
        return proto, []
    graph = imported(proto)
    weights.deferred(
        (t for n in graph.nodes for t in n.inputs if isinstance(t, gs.Constant)), proto
    )
    opsets = {
        "" if o.domain in STANDARD_DOMAINS else o.domain: o.version for o in proto.opset_import
    }
    op = Emitter(graph, opsets)
    out = ModelProto()
    out.CopyFrom(proto)
    del out.graph.node[:]
    constants: dict[str, gs.Constant] = {}
    for i, (node, source) in enumerate(zip(list(graph.nodes), proto.graph.node, strict=True)):
        if i not in chosen:
            _infer(op, node)
            out.graph.node.append(source)
            continue
        for made in _replaced(op, node):
            out.graph.node.append(node_proto(made))
            constants.update({t.name: t for t in made.inputs if isinstance(t, gs.Constant)})
    held = {t.name for t in proto.graph.initializer}
    for name, tensor in constants.items():
        if name not in held:
            out.graph.initializer.append(numpy_helper.from_array(tensor.values, name))
    return out, sorted({proto.graph.node[i].op_type for i in chosen})


def _infer(op: Emitter, node: gs.Node) -> None:
    """Stamp types on the outputs of a node that stays, where they are not known."""
    if any(shape_of(t) is None for t in node.outputs if t.name):
        try:
            op.infer(node)
        except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError):
            return


def _replaced(op: Emitter, node: gs.Node) -> list[gs.Node]:
    """Return the nodes that take the place of one; their outputs have its outputs' names."""
    first = len(op.nodes)
    with op.scope(node.name or node.outputs[0].name):
        made = lower(op, node)
    fresh = {id(t) for n in op.nodes[first:] for t in n.outputs}
    for old, new in zip(node.outputs, made, strict=True):
        if new is None or not old.name:
            continue
        old.dtype, old.shape = dtype_of(new), shape_of(new)
        if id(new) in fresh:
            fresh.remove(id(new))
            new.name = old.name
        else:  # an input, or written for another node
            op.named(new, old.name)
    return op.nodes[first:]
