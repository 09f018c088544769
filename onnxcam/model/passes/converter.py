"""ONNX's version converter, with the names put right that it loses or gives twice."""

from __future__ import annotations

from collections.abc import Iterator

import onnx.version_converter
from onnx import GraphProto, ModelProto, ValueInfoProto

from onnxcam.graph import quirks
from onnxcam.graph.emit.walks import bodies_of, every_graph, every_node


@quirks.works_around(quirks.CONVERTED_NAMES, quirks.ADDED_NAMES)
def at_opset(proto: ModelProto, opset: int) -> ModelProto:
    """Return a model at another opset; its tensors keep their names, and no name comes twice.

    What the converter would name anew is an output of the graph for the time being: those it keeps.

    Args:
        proto: The model.
        opset: The version of the standard operators.

    Raises:
        RuntimeError: The converter finds no way for a node.
        ConvertError: The same.
        InferenceError: The model contradicts itself.
    """
    converted = onnx.version_converter.convert_version(proto, opset)
    known, kept = set(_defined(proto.graph)), set(_defined(converted.graph))
    lost = sorted((known - kept) & set(_used(proto.graph)))
    if lost:
        copy = ModelProto()
        copy.CopyFrom(proto)
        copy.graph.output.extend(ValueInfoProto(name=name) for name in lost)
        converted = onnx.version_converter.convert_version(copy, opset)
        del converted.graph.output[len(proto.graph.output) :]
    known.update(name for part in every_graph(proto.graph) for name in _defined(part))
    taken = set(_defined(converted.graph))
    for body in _bodies(converted.graph):
        _tell_apart(body, known, taken)
    return converted


def _tell_apart(graph: GraphProto, known: set[str], taken: set[str]) -> None:
    """Name what the converter added to a subgraph as nothing else is named, in place."""
    for body in _bodies(graph):
        _tell_apart(body, known, taken)
    names = {}
    for name in _defined(graph):
        if name in known or not name:
            continue
        number, names[name] = 0, name
        while names[name] in taken | known:
            number += 1
            names[name] = f"{name}_{number}"
        taken.add(names[name])
    _rename(graph, names)


def _rename(graph: GraphProto, names: dict[str, str]) -> None:
    for part in every_graph(graph):
        for item in (*part.initializer, *part.value_info):
            item.name = names.get(item.name, item.name)
        for node in part.node:
            node.input[:] = [names.get(n, n) for n in node.input]
            node.output[:] = [names.get(n, n) for n in node.output]


def _bodies(graph: GraphProto) -> Iterator[GraphProto]:
    return (body for node in graph.node for body in bodies_of(node))


def _defined(graph: GraphProto) -> Iterator[str]:
    yield from (t.name for t in graph.initializer)
    for node in graph.node:
        yield from node.output


def _used(graph: GraphProto) -> Iterator[str]:
    return (name for node in every_node(graph) for name in node.input)
