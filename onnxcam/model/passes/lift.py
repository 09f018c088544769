"""Move the weights of subgraphs (the bodies of If, Loop, Scan) to the main graph.

A gradient needs a body once more and should share its weights with it: what lies in the main
graph is seen by every subgraph. It also makes such a weight a tensor that can be named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from onnxcam.graph.emit.walks import STANDARD_DOMAINS, bodies_of, every_node


def lift_weights(proto: ModelProto) -> int:
    """Move the initializers of all subgraphs to the main graph, in place.

    A name that several graphs use becomes a new one. A weight that is an output of its subgraph
    becomes a Constant node there: an outer tensor cannot be a subgraph's output.

    Args:
        proto: The model; it is changed.

    Returns:
        How many initializers left their subgraph.
    """
    graphs = list(_graphs(proto.graph))
    names = Counter(name for graph in graphs for name in set(_defined(graph)))
    moved = 0
    for graph in reversed(graphs[1:]):  # the innermost first: a graph's nodes are replaced below
        defaults = {v.name for v in graph.input}
        weights = [t for t in graph.initializer if t.name not in defaults]
        if not weights:
            continue
        results = {v.name for v in graph.output}
        renamed = {}
        for tensor in weights:
            if tensor.name not in results:
                renamed[tensor.name] = _unused(tensor.name, names)
                _add_weight(proto, tensor, renamed[tensor.name])
        nodes = [constant_node(t) for t in weights if t.name in results]
        _replace(graph, [*nodes, *graph.node], [t for t in graph.initializer if t.name in defaults])
        _rename(graph, renamed)
        moved += len(weights)
    return moved


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """Yield a graph and the bodies of control flow in it; others must not look outside."""
    yield graph
    for node in graph.node:
        for body in bodies_of(node) if node.domain in STANDARD_DOMAINS else ():
            yield from _graphs(body)


def _defined(graph: GraphProto) -> Iterator[str]:
    yield from (t.name for t in graph.initializer)
    yield from (v.name for v in graph.input)
    for node in graph.node:
        yield from node.output


def _unused(name: str, names: Counter[str]) -> str:
    """Return a name that no graph defines but the one it is taken from, and note it."""
    if names[name] == 1:
        return name
    number = 1
    while names[f"{name}_{number}"]:
        number += 1
    names[f"{name}_{number}"] += 1
    return f"{name}_{number}"


def _add_weight(proto: ModelProto, tensor: TensorProto, name: str) -> None:
    added = proto.graph.initializer.add()
    added.CopyFrom(tensor)
    added.name = name
    if proto.ir_version < 4:  # weights were inputs too
        proto.graph.input.append(helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))


def constant_node(tensor: TensorProto) -> NodeProto:
    """Return a Constant that has the name and value of a weight."""
    return helper.make_node("Constant", [], [tensor.name], value=tensor)


def _replace(graph: GraphProto, nodes: list[NodeProto], weights: list[TensorProto]) -> None:
    new = GraphProto()
    new.node.extend(nodes)
    new.initializer.extend(weights)
    del graph.node[:], graph.initializer[:]
    graph.node.extend(new.node)
    graph.initializer.extend(new.initializer)


def _rename(graph: GraphProto, names: Mapping[str, str]) -> None:
    for node in every_node(graph):
        node.input[:] = [names.get(name, name) for name in node.input]
