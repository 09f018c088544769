"""Where numbers of tokens are looked up: the embedding that they stand for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import GraphProto

from onnxcam.model.model import Model, Port

_SAME = ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Clip", "Add", "Sub", "Where")


def token_input(model: Model) -> Port | None:
    """Return the input that holds numbers of tokens: integers [N, T] that an embedding is read by.

    Of several (segments, positions) it is the one with the largest table.
    """
    sizes = {port.name: _table(model.light.graph, port.name) for port in _integers(model)}
    best = max(_integers(model), key=lambda port: sizes[port.name][1], default=None)
    return best if best is not None and sizes[best.name][0] else None


def embedding(model: Model, name: str) -> str | None:
    """Return the name of the tensor that numbers of tokens become; None where none is found."""
    return _table(model.light.graph, name)[0] or None


def companions(model: Model, name: str, ids: np.ndarray) -> Mapping[str, np.ndarray]:
    """Return what the usual other inputs of a text are, by their names: mask, segments, positions.

    Args:
        model: The model.
        name: The input of the tokens.
        ids: Their numbers, [N, T].

    Returns:
        Ones for a mask, zeros for segments, 0, 1, 2 ... for positions; nothing for other inputs.
    """
    found = {}
    for port in model.inputs:
        words = port.name.lower()
        dtype = port.dtype or np.dtype(np.int64)
        if port.name == name or len(port.shape or ()) != ids.ndim:
            continue
        if "mask" in words:
            found[port.name] = np.ones(ids.shape, dtype)
        elif "type" in words or "segment" in words:
            found[port.name] = np.zeros(ids.shape, dtype)
        elif "position" in words:
            found[port.name] = np.broadcast_to(np.arange(ids.shape[1], dtype=dtype), ids.shape)
    return found


def _integers(model: Model) -> list[Port]:
    return [
        p
        for p in model.inputs
        if p.dtype is not None and p.dtype.kind in "iu" and len(p.shape or ()) == 2
    ]


def _table(graph: GraphProto, name: str) -> tuple[str, int]:
    """Return the output and the rows of the table that an input looks up; "" and 0 for none."""
    sizes = {t.name: t.dims[0] for t in graph.initializer if len(t.dims) == 2}
    numbers, best = {name}, ("", 0)
    for node in graph.node:  # in the order that they run
        moved = [i for i, each in enumerate(node.input) if each in numbers]
        if not moved:
            continue
        if node.op_type == "Gather" and moved == [1] and node.input[0] in sizes:
            best = max(best, (node.output[0], sizes[node.input[0]]), key=lambda pair: pair[1])
        elif node.op_type in _SAME:
            numbers.update(node.output)
    return best
