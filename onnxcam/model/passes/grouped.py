"""GroupNormalization as opsets 18 to 20 had it: onnx took it back, ONNX Runtime runs it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from onnxcam.graph.emit.walks import STANDARD_DOMAINS, every_graph, standard_opset

_OPSETS = range(18, 21)


def regrouped(proto: ModelProto) -> bool:
    """Write every group as a channel of an InstanceNormalization, in place; tell whether any is.

    Scale and bias are of groups there, so that the result is the same.
    """
    if standard_opset(proto) not in _OPSETS:
        return False
    shapes: dict[int, str] = {}
    for graph in list(every_graph(proto.graph)):
        if not any(map(_is_grouped, graph.node)):
            continue
        nodes = [new for node in graph.node for new in _written(node, shapes)]
        del graph.node[:]
        graph.node.extend(nodes)
    for groups, name in shapes.items():
        shape = np.array([0, groups, -1], np.int64)
        proto.graph.initializer.append(numpy_helper.from_array(shape, name))
    return bool(shapes)


def _is_grouped(node: NodeProto) -> bool:
    return node.op_type == "GroupNormalization" and node.domain in STANDARD_DOMAINS


def _written(node: NodeProto, shapes: dict[int, str]) -> Iterator[NodeProto]:
    """Yield what a node is written as; ``shapes`` are the names of shapes by their groups."""
    said = {a.name: a for a in node.attribute}
    if not _is_grouped(node) or "num_groups" not in said:
        yield NodeProto.FromString(node.SerializeToString())
        return
    groups = said["num_groups"].i
    name = shapes.setdefault(groups, f"onnxcam/groups/{groups}")
    x, scale, bias = node.input[:3]
    size, cut, normal = (f"{node.output[0]}/onnxcam/{part}" for part in ("size", "cut", "normal"))
    epsilon = said["epsilon"].f if "epsilon" in said else 1e-5
    yield helper.make_node("Shape", [x], [size])
    yield helper.make_node("Reshape", [x, name], [cut])
    yield helper.make_node(
        "InstanceNormalization", [cut, scale, bias], [normal], node.name, epsilon=epsilon
    )
    yield helper.make_node("Reshape", [normal, size], list(node.output))
