"""Walks over models as ONNX writes them: graphs in graphs, versions, operators out of sight."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from onnx import GraphProto, ModelProto, NodeProto, helper

# Operators of onnxruntime-extensions, a custom operator library, for text, sound and pictures.
OP_LIBRARY_DOMAINS = ("ai.onnx.contrib", "com.microsoft.extensions")
STANDARD_DOMAINS = ("", "ai.onnx")


def bodies_of(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the subgraphs of a node."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def every_graph(graph: GraphProto) -> Iterator[GraphProto]:
    """Yield a graph and the subgraphs in it, the outer ones first."""
    yield graph
    for node in graph.node:
        for body in bodies_of(node):
            yield from every_graph(body)


def every_node(graph: GraphProto) -> Iterator[NodeProto]:
    """Yield the nodes of a graph and of the subgraphs in it."""
    return (node for part in every_graph(graph) for node in part.node)


def standard_opset(proto: ModelProto) -> int:
    """Return the version of the standard operator set that a model imports (1 if it doesn't)."""
    return next((o.version for o in proto.opset_import if o.domain in STANDARD_DOMAINS), 1)


def hide(proto: ModelProto, nodes: Iterable[NodeProto], domain: str) -> None:
    """Move standard operators to a domain that onnx knows nothing of and passes by, in place.

    Args:
        proto: The model.
        nodes: Some of its nodes.
        domain: A domain of its own for this purpose; ``unhide`` takes them back.
    """
    hidden = list(nodes)
    for node in hidden:
        node.domain = domain
    if hidden:
        proto.opset_import.append(helper.make_opsetid(domain, 1))


def unhide(proto: ModelProto, domain: str) -> None:
    """Undo ``hide``, in place."""
    for node in every_node(proto.graph):
        if node.domain == domain:
            node.domain = ""
    kept = [o for o in proto.opset_import if o.domain != domain]
    del proto.opset_import[:]
    proto.opset_import.extend(kept)
