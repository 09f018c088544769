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
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto
from onnx.defs import OpSchema

from onnxcam.graph.emit.walks import STANDARD_DOMAINS, bodies_of, standard_opset
from onnxcam.model.passes import arithmetic_steps, form_steps, sampling_steps  # noqa: F401
from onnxcam.model.passes.disguise import DISGUISE
from onnxcam.model.passes.lift import constant_node
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
    _set_opset(out, opset)
    return out


def raised_functions(proto: ModelProto) -> ModelProto:
    """Return a model whose functions, and itself, are all at the newest opset that one of them has.

    Args:
        proto: The model.

    Raises:
        Unraisable: An operator has no newer form that computes the same.
    """
    top = max(map(_own_opset, (proto, *proto.functions)))
    out = raised(proto, top)
    for function in out.functions:
        site = Site(ModelProto(graph=GraphProto(node=function.node)))
        _raise_graph(function, _own_opset(function), top, site)
        made = GraphProto(node=(constant_node(t) for t in site.added))
        made.node.extend(function.node)
        del function.node[:]
        function.node.extend(made.node)
        _set_opset(function, top)
    return out


def has_other_opsets(proto: ModelProto) -> bool:
    """Tell whether a function of a model is at another opset than the model."""
    return any(_own_opset(f) not in (0, _own_opset(proto)) for f in proto.functions)


def _own_opset(part: ModelProto | FunctionProto) -> int:
    return next((o.version for o in part.opset_import if o.domain in STANDARD_DOMAINS), 0)


def _set_opset(part: ModelProto | FunctionProto, opset: int) -> None:
    for entry in part.opset_import:
        if entry.domain in STANDARD_DOMAINS:
            entry.version = opset


def _raise_graph(graph: GraphProto | FunctionProto, old: int, new: int, site: Site) -> None:
    """Raise the nodes of a graph and of the bodies in it, in place."""
    nodes: list[NodeProto] = []
    changed = False
    for node in graph.node:
        for body in bodies_of(node):
            _raise_graph(body, old, new, site)
        if node.domain not in STANDARD_DOMAINS:
            _raise_experiment(node, old, new, site)
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


def _raise_experiment(node: NodeProto, old: int, new: int, site: Site) -> None:
    """Change a node that was no standard one below an opset, in place, where that changed it."""
    step = step_of(node.op_type, 9) if node.domain == DISGUISE and old < 9 <= new else None
    if step is not None:
        step(node, site)


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
