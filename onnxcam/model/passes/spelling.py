"""Operators that are written in standard ones on load: those that no newer opset has."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs
from onnx import GraphProto, ModelProto, NodeProto, numpy_helper

from onnxcam.graph.contrib.definitions import is_defined, lower
from onnxcam.graph.emit import Emitter, dtype_of, imported, node_proto, shape_of
from onnxcam.graph.emit.walks import STANDARD_DOMAINS, every_node
from onnxcam.model.mapping import Bytes
from onnxcam.model.passes.disguise import stamped
from onnxcam.model.weights import SMALL, Weights, lighten


def spelled(
    proto: ModelProto, weights: Weights, wanted: Callable[[NodeProto], bool]
) -> tuple[ModelProto, Weights, list[str]]:
    """Return a model in which some operators are replaced by their definitions.

    Args:
        proto: A light model.
        weights: Its weights, for definitions that read one.
        wanted: Tells of a node of the main graph whether it shall be replaced.

    Returns:
        The model, its weights, and the operators that were replaced.

    Raises:
        UnsupportedOp: The definition does not cover what a node says.
    """
    chosen = [
        i
        for i, node in enumerate(proto.graph.node)
        if wanted(node) and is_defined(node.domain, node.op_type)
    ]
    if not chosen:
        return proto, weights, []
    graph = imported(proto)
    weights.deferred(
        (t for n in graph.nodes for t in n.inputs if isinstance(t, gs.Constant)), proto
    )
    opsets = {
        "" if o.domain in STANDARD_DOMAINS else o.domain: o.version for o in proto.opset_import
    }
    op, scout = Emitter(graph, opsets), Emitter(graph, opsets)  # the scout's nodes are not kept
    out = ModelProto()
    out.CopyFrom(proto)
    del out.graph.node[:]
    constants: dict[str, gs.Constant] = {}
    for i, (node, source) in enumerate(zip(list(graph.nodes), proto.graph.node, strict=True)):
        if i not in chosen:
            if any(shape_of(t) is None for t in node.outputs if t.name):
                stamped(scout, node)
            out.graph.node.append(source)
            continue
        for made in _replaced(op, node):
            out.graph.node.append(node_proto(made))
            constants.update({t.name: t for t in made.inputs if isinstance(t, gs.Constant)})
    weights = _held(out, weights, constants)
    return out, weights, sorted({proto.graph.node[i].op_type for i in chosen})


def _held(proto: ModelProto, weights: Weights, constants: dict[str, gs.Constant]) -> Weights:
    """Add constants to a model, in place, without weights that nobody uses; return its weights."""
    used = {name for node in every_node(proto.graph) for name in node.input}
    used.update(v.name for v in proto.graph.output)
    kept = [t for t in proto.graph.initializer if t.name in used]
    names = {t.name for t in kept}
    fresh = [(name, t) for name, t in constants.items() if name not in names]
    copy = GraphProto()
    copy.initializer.extend(kept)
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(copy.initializer)
    large: dict[str, Bytes] = {}
    for tensor in (numpy_helper.from_array(t.values, name) for name, t in fresh):
        if len(tensor.raw_data) > SMALL:
            large[tensor.name] = np.frombuffer(tensor.raw_data, np.uint8)
            lighten(tensor)
        proto.graph.initializer.append(tensor)
    found = {name: weights[name] for name in weights if name in used}
    return Weights({**found, **large}, weights.external & used)


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
