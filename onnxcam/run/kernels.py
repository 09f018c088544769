"""Where the nodes of a model would run on a GPU that is not here: by a table of its kernels."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import onnx
from onnx import GraphProto, ModelProto, NodeProto

TABLE = Path(__file__).with_name("kernels.toml")
_OWN = ("", "ai.onnx")
_NO_KERNEL = ("Constant",)  # folded when the model is loaded


@cache
def kernels() -> dict[str, frozenset[str] | None]:
    """Return the operators with a CUDA kernel and the types that it takes; None for every type."""
    said = tomllib.loads(TABLE.read_text())
    groups, found = said["groups"], dict[str, frozenset[str] | None]()
    for types, names in said["kernels"].items():
        taken = [t for word in types.split() for t in groups.get(word, [word])]
        for name in names.split():
            found[name] = None if types == "all" else frozenset(taken)
    return found


@cache
def _places() -> dict[str, int]:
    return dict(tomllib.loads(TABLE.read_text())["inputs"])


def has_kernel(operator: str, domain: str, dtype: str | None) -> bool:
    """Tell whether CUDA has a kernel of an operator for a type; one that is not known passes."""
    if domain not in _OWN or operator in _NO_KERNEL:
        return True  # of other domains nothing is said
    types = kernels().get(operator, frozenset())
    return types is None or (dtype in types if dtype is not None else bool(types))


def on_cpu(model: ModelProto, prefix: str = "") -> dict[str, int]:
    """Return what CUDA has no kernel for, "ReduceProd of int64", and how many nodes that are.

    ONNX Runtime puts those on the CPU, and copies between. What only computes with shapes it keeps
    there anyway; that does not count.

    Args:
        model: A model, with the types of its tensors or not.
        prefix: Of the names of the nodes that count; "" for all.
    """
    try:
        known = onnx.shape_inference.infer_shapes(model)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        known = model  # types of what it declares are better than nothing
    found: Counter[str] = Counter()
    for node, dtype in _nodes(known.graph, {}):
        if node.name.startswith(prefix) and not has_kernel(node.op_type, node.domain, dtype):
            found[f"{node.op_type} of {dtype or 'any type'}"] += 1
    return dict(found)


def _nodes(graph: GraphProto, outer: dict[str, str]) -> Iterator[tuple[NodeProto, str | None]]:
    """Yield the nodes of a graph and its subgraphs with the type of the input that counts."""
    types, shapes = {**outer, **_types(graph)}, {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type in ("Shape", "Size", "Constant") or all(
            n in shapes for n in node.input if n
        ):
            shapes.update(node.output)
            continue
        place = _places().get(node.op_type, 0)
        name = node.input[place] if place < len(node.input) else ""
        yield node, types.get(name)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from _nodes(inner, types)


def _types(graph: GraphProto) -> dict[str, str]:
    """Return the types of a graph's tensors by their names, as the table names them."""
    kinds = {
        value.name: value.type.tensor_type.elem_type
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    kinds.update({tensor.name: tensor.data_type for tensor in graph.initializer})
    names = onnx.TensorProto.DataType
    spelt = {"FLOAT": "float32", "DOUBLE": "float64"}
    return {
        name: spelt.get(names.Name(kind), names.Name(kind).lower())
        for name, kind in kinds.items()
        if kind
    }
