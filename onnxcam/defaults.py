"""Defaults that onnx's own shape inference overlooks, written out before it runs."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import GraphProto, ModelProto, NodeProto, helper


def spelled_out(proto: ModelProto) -> ModelProto:
    """State that an STFT is one-sided where it is so by default, in place.

    onnx infers the shape of a two-sided one there (1.23).

    Args:
        proto: A model.

    Returns:
        The same model.
    """
    for node in _nodes(proto.graph):
        if node.op_type == "STFT" and not any(a.name == "onesided" for a in node.attribute):
            node.attribute.append(helper.make_attribute("onesided", 1))
    return proto


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)
