"""Names and texts that are no UTF-8, written so that Python and JSON can hold them.

protobuf's C++ runtimes, and with them ONNX Runtime, take any bytes for a name; Python hands such a
name on as bytes, which no other name is equal to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from onnx import ModelProto

from onnxcam.errors import ModelError


def utf8(proto: ModelProto) -> bool:
    """Write texts that are no UTF-8 with the numbers of their bytes, in place.

    Returns:
        Whether there were any.

    Raises:
        ModelError: An input or output of the model has such a name: nobody could feed or read it.
    """
    if not any(isinstance(text, bytes) for text in _quick(proto)):
        return False
    for port in (*proto.graph.input, *proto.graph.output):
        if isinstance(port.name, bytes):
            raise ModelError(
                f"the name of an input or output is no UTF-8 ({port.name!r})",
                "rename it: it cannot be fed or read from Python",
            )
    for entry in proto.metadata_props:
        if isinstance(entry.key, bytes) and entry.key.startswith(b"onnxcam."):
            raise ModelError(
                f"the name of an entry of the metadata is no UTF-8 ({entry.key!r})",
                "write it again",
            )
    _write(proto)
    return True


def _quick(proto: ModelProto) -> Iterator[Any]:
    """Yield the texts that are read: names, not descriptions of them."""
    for entry in proto.metadata_props:
        yield from (entry.key, entry.value)
    yield from (o.domain for o in proto.opset_import)
    for function in proto.functions:
        yield from (function.name, function.domain, *function.input, *function.output)
        yield from _of_nodes(function.node)
    yield from _of_graph(proto.graph)


def _of_graph(graph: Any) -> Iterator[Any]:
    yield from (graph.name, graph.doc_string)
    yield from (t.name for t in graph.initializer)
    for info in (*graph.input, *graph.output, *graph.value_info):
        yield info.name
        yield from (d.dim_param for d in info.type.tensor_type.shape.dim)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        yield from (node.name, node.op_type, node.domain, node.doc_string)
        yield from node.input
        yield from node.output
        for attribute in node.attribute:
            yield attribute.name
            if attribute.HasField("g"):
                yield from _of_graph(attribute.g)


def _write(message: Any) -> None:
    """Write every text of a message and of those in it, in place."""
    for field, value in message.ListFields():
        several = not hasattr(value, "ListFields") and not isinstance(
            value, str | bytes | int | float
        )
        if field.message_type is not None:
            for part in value if several else [value]:
                _write(part)
        elif field.type == field.TYPE_STRING:
            if several:
                value[:] = [_text(v) for v in value]
            elif isinstance(value, bytes):
                setattr(message, field.name, _text(value))


def _text(value: str | bytes) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value
