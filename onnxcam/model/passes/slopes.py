"""PRelu with a slope that is larger than its input: onnx takes the output for one of its size."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping

import onnx.shape_inference
from onnx import GraphProto, ModelProto, NodeProto, helper

from onnxcam.graph import quirks
from onnxcam.graph.emit import Dim
from onnxcam.graph.emit.walks import STANDARD_DOMAINS, every_graph, every_node

_Shapes = Mapping[str, "list[Dim] | None"]


@quirks.works_around(quirks.LARGE_SLOPES)
def expand_inputs(
    proto: ModelProto, made: Callable[[ModelProto], dict[str, list[Dim] | None]]
) -> list[str]:
    """Expand the input of every PRelu whose slope may be larger than it.

    Args:
        proto: A model; it is changed. Its values stay.
        made: Returns the shapes that the operators of a model make, by the names of the tensors.

    Returns:
        The names of the outputs of the PRelus that were changed.
    """
    changed: list[str] = []
    if not any(_is_prelu(node) for node in every_node(proto.graph)):
        return changed
    fixed = {t.name: list[Dim](t.dims) for g in every_graph(proto.graph) for t in g.initializer}
    while True:  # the shapes behind one are wrong until its input is expanded
        try:
            shapes = {**made(proto), **fixed}
        except onnx.shape_inference.InferenceError:
            return changed
        found = _first(proto, shapes, changed)
        if found is None:
            return changed
        graph, index = found
        node = graph.node[index]
        name = f"{node.output[0]}/expanded"
        size = helper.make_node("Shape", [node.input[1]], [f"{name}/size"], f"{name}/size")
        large = helper.make_node("Expand", [node.input[0], f"{name}/size"], [name], name)
        node.input[0] = name
        changed.append(node.output[0])
        graph.node.insert(index, large)
        graph.node.insert(index, size)


def _first(
    proto: ModelProto, shapes: _Shapes, but: Container[str]
) -> tuple[GraphProto, int] | None:
    """Return the first PRelu to change: its graph, and where it stands there."""
    for graph in every_graph(proto.graph):
        for index, node in enumerate(graph.node):
            if _is_prelu(node) and node.output[0] not in but and _may_grow(node, shapes):
                return graph, index
    return None


def _is_prelu(node: NodeProto) -> bool:
    return node.op_type == "PRelu" and node.domain in STANDARD_DOMAINS


def _may_grow(node: NodeProto, shapes: _Shapes) -> bool:
    """Tell whether the slope may be larger than the input; a weight has the size that it needs.

    A slope of one number a channel is not, where the number of channels has a name only.
    """
    x, slope = (shapes.get(name) for name in node.input)
    if slope is None or x is None:
        return False
    behind = x[len(x) - len(slope) :] if len(slope) <= len(x) else None
    if behind is None:
        return True
    pairs = zip(behind, slope, strict=True)
    return any(s not in (1, d) and (d == 1 or not isinstance(s, int)) for d, s in pairs)
