"""The way up to a newer opset, node by node: each step that changes a node is a function.

onnx's converter goes through a graph of its own, which loses names, and its adapters miss or
change operators: a linear Upsample becomes another interpolation, a Hardmax another axis. Here a
node whose operator did not change stays as it is, byte for byte; what changed has a step
(:func:`onnxcam.model.passes.site.step`); and where there is neither the model is not raised.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import onnx.defs
from onnx import GraphProto, ModelProto, NodeProto
from onnx.defs import OpSchema

from onnxcam.graph.emit.walks import STANDARD_DOMAINS, bodies_of, standard_opset
from onnxcam.model.passes import arithmetic_steps, form_steps, sampling_steps  # noqa: F401
from onnxcam.model.passes.site import Site, Unraisable, pop, step_of

# Attributes that never made a difference to what is computed, and that newer versions lack.
_IDLE = ("consumed_inputs", "output_sequence")


def raised(proto: ModelProto, opset: int) -> ModelProto:
    """Return a model at a newer opset; its tensors keep their names.

    Args:
        proto: The model; its large weights need not be in it.
        opset: The version of the standard operators.

    Raises:
        Unraisable: An operator has no newer form that computes the same.
    """
    out = ModelProto()
    out.CopyFrom(proto)
    site = Site(proto)
    _raise_graph(out.graph, standard_opset(proto), opset, site)
    out.graph.initializer.extend(site.added)
    for entry in out.opset_import:
        if entry.domain in STANDARD_DOMAINS:
            entry.version = opset
    return out


def _raise_graph(graph: GraphProto, old: int, new: int, site: Site) -> None:
    """Raise the nodes of a graph and of the bodies in it, in place."""
    nodes: list[NodeProto] = []
    changed = False
    for node in graph.node:
        for body in bodies_of(node):
            _raise_graph(body, old, new, site)
        if node.domain not in STANDARD_DOMAINS:
            nodes.append(node)
            continue
        made = _raised_node(node, old, new, site)
        changed |= made != [node]
        nodes.extend(made)
    if changed:
        copy = GraphProto()
        copy.node.extend(nodes)
        del graph.node[:]
        graph.node.extend(copy.node)


def _raised_node(node: NodeProto, old: int, new: int, site: Site) -> list[NodeProto]:
    """Return what a node becomes: itself, perhaps changed in place, or others."""
    for version in _versions(node.op_type, old, new):
        for name in _IDLE:
            pop(node, name)
        step = step_of(node.op_type, version)
        if step is None:
            problem = _difference(node.op_type, version)
            if problem:
                raise Unraisable(f"{node.op_type} of opset {old} has no newer form: {problem}")
            continue
        try:
            made = step(node, site)
        except Unraisable as reason:
            raise Unraisable(f"{node.op_type} of opset {old}: {reason}") from None
        if made is not None:
            return [n for part in made for n in _raised_node(part, version, new, site)]
    return [node]


@cache
def _versions(op_type: str, old: int, new: int) -> tuple[int, ...]:
    """Return the opsets after one and up to another that changed an operator, in order."""
    return tuple(reversed(list(_versions_down(op_type, old, new))))


def _versions_down(op_type: str, old: int, new: int) -> Iterator[int]:
    version = new
    while version > old and onnx.defs.has(op_type, version, ""):
        version = onnx.defs.get_schema(op_type, version, "").since_version
        if version > old:
            yield version
        version -= 1


@cache
def _difference(op_type: str, version: int) -> str:
    """Return what an opset changed in the form of an operator, "" where nodes stay what they are.

    More types and more options, left out, make no difference.
    """
    new = onnx.defs.get_schema(op_type, version, "")
    if not onnx.defs.has(op_type, version - 1, ""):
        return ""
    old = onnx.defs.get_schema(op_type, version - 1, "")
    if new.deprecated:
        return f"opset {version} withdrew it"
    lost = [name for name in old.attributes if name not in new.attributes and name not in _IDLE]
    moved = [
        n
        for n, a in old.attributes.items()
        if n in new.attributes and _default(new, n) != _default(old, n)
    ]
    forced = [n for n, a in new.attributes.items() if a.required and n not in old.attributes]
    inputs = len(old.inputs) > len(new.inputs) or new.min_input > old.min_input
    outputs = len(old.outputs) > len(new.outputs)
    said = [*lost, *moved, *forced, *["its inputs"] * inputs, *["its outputs"] * outputs]
    return f"opset {version} changed {', '.join(said)}" if said else ""


def _default(schema: OpSchema, name: str) -> bytes:
    return bytes(schema.attributes[name].default_value.SerializeToString())
