"""The bodies of control flow: what they use from outside, their types, and writing them again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from onnxcam.graph.emit import Dim, Emitter, Tensor, dtype_of, is_sequence, shape_of
from onnxcam.graph.folding import folded
from onnxcam.graph.scans import ScanLayout


@dataclass(frozen=True)
class Kind:
    """What is known of a value before it exists.

    Attributes:
        dtype: Its dtype; for a sequence that of its elements.
        shape: Its shape, None where the rank is unknown; for a sequence that of every element.
        sequence: Whether it is a sequence of tensors.
    """

    dtype: np.dtype[Any] | None
    shape: tuple[Dim, ...] | None
    sequence: bool = False


def kind_of(tensor: Tensor | None) -> Kind:
    """Return what is known of a tensor or sequence; an omitted one has no value."""
    assert tensor is not None, "an input that a body has is given"
    return Kind(dtype_of(tensor), shape_of(tensor), is_sequence(tensor))


def variable(op: Emitter, kind: Kind, name: str = "in") -> Tensor:
    """Return a new tensor or sequence without a producer: an input of a subgraph."""
    return op.variable(name, kind.dtype, kind.shape, sequence=kind.sequence)


def stamp(tensor: Tensor, kind: Kind) -> Tensor:
    """Write on a tensor what is known of it, and return it."""
    tensor.dtype, tensor.shape = kind.dtype, None if kind.shape is None else list(kind.shape)
    tensor.type = "sequence_type" if kind.sequence else "tensor_type"
    return tensor


# ---- what a subgraph uses


def bodies(node: gs.Node) -> dict[str, gs.Graph]:
    """Return the subgraphs of a node by the names of their attributes."""
    return {k: v for k, v in node.attrs.items() if isinstance(v, gs.Graph)}


def captures(node: gs.Node) -> list[Tensor]:
    """Return the outer tensors and weights that the subgraphs of a node use, each once."""
    return list({id(t): t for graph in bodies(node).values() for t in free(graph)}.values())


def free(graph: gs.Graph) -> list[Tensor]:
    """Return the tensors from outside that a subgraph uses, each once."""
    return list({id(t): t for t in _free(graph, set())}.values())


def _free(graph: gs.Graph, bound: set[int]) -> Iterator[Tensor]:
    bound = bound | {id(t) for t in graph.inputs}
    bound |= {id(t) for n in graph.nodes for t in n.outputs}
    for node in graph.nodes:
        yield from (t for t in node.inputs if t.name and id(t) not in bound)
        for body in bodies(node).values():
            yield from _free(body, bound)
    yield from (t for t in graph.outputs if id(t) not in bound)


def captured(graph: gs.Graph) -> Iterator[Tensor]:
    """Yield the tensors that a subgraph (at any depth) uses, its own among them."""
    for node in graph.nodes:
        yield from node.inputs
        for value in node.attrs.values():
            if isinstance(value, gs.Graph):
                yield from captured(value)
    yield from graph.outputs


def needed(nodes: Sequence[gs.Node], outputs: Sequence[Tensor]) -> list[gs.Node]:
    """Return the nodes that the outputs depend on, in the order given."""
    wanted = {id(t) for t in outputs}
    kept: list[gs.Node] = []
    for node in reversed(nodes):
        if not any(id(t) in wanted for t in node.outputs):
            continue
        kept.append(node)
        wanted.update(id(t) for t in node.inputs)
        for value in node.attrs.values():
            if isinstance(value, gs.Graph):
                value.nodes[:] = needed(list(value.nodes), value.outputs)
                wanted.update(id(t) for t in captured(value))
    return kept[::-1]


# ---- writing it once more


class Copy:
    """The nodes of a subgraph written once more.

    Args:
        op: Where to write them.
        graph: The subgraph. What it uses from outside is used again.
        known: What stands for a tensor (by id): for the inputs of the subgraph at least.

    Attributes:
        op: Where they were written.
        outputs: What stands for the outputs of the subgraph.
        outside: What stands for the tensors from outside.
        names: The old names of nodes by the new ones.
    """

    def __init__(self, op: Emitter, graph: gs.Graph, known: Mapping[int, Tensor]) -> None:
        self.op = op
        self.names: dict[str, str] = {}
        self._known = dict(known)
        self.outside = [self._known.get(id(t), t) for t in free(graph)]
        for node in graph.nodes:
            self._write(node)
        self.outputs = [self._known.get(id(t), t) for t in graph.outputs]

    def _write(self, node: gs.Node) -> None:
        inputs = [self._known.get(id(t), t) if t.name else None for t in node.inputs]
        attributes, insides = dict(node.attrs), []
        for name, body in bodies(node).items():
            inside = enter(self.op, node, inputs, body, self._known)
            attributes[name] = inside.op.close(inside.copy.outputs)
            self.names |= inside.copy.names
            insides.append(inside)
        made = folded(self.op, node, inputs) or self.op.again(node, inputs, attributes)
        if insides:
            for tensor, kind in zip(made, output_kinds(node, inputs, insides), strict=False):
                stamp(tensor, kind)
        if made[0].inputs:
            self.names[made[0].inputs[0].name] = node.name
        for old, new in zip(node.outputs, made, strict=True):
            if old.name:
                self._known[id(old)] = self.op.learn(new, old)


@dataclass
class Inside:
    """A body written once more, as a subgraph with inputs of its own.

    Attributes:
        op: Its emitter.
        inputs: Its inputs.
        kinds: What is known of them: what holds in every iteration.
        copy: The copy.
    """

    op: Emitter
    inputs: list[Tensor]
    kinds: list[Kind]
    copy: Copy


def enter(
    op: Emitter,
    node: gs.Node,
    inputs: Sequence[Tensor | None],
    body: gs.Graph,
    known: Mapping[int, Tensor],
) -> Inside:
    """Write the body of a node once more, as a subgraph of ``op``.

    The states of a Loop may change their shapes. Assume that those before the first iteration
    last, look what the body makes of them, give up what it changes, and begin again.

    Args:
        op: Emitter of the graph that the node is in.
        node: The node.
        inputs: Its inputs there.
        body: The body.
        known: What stands for a tensor (by id) of the graph around.
    """
    kinds = input_kinds(op, node, inputs, body)
    while True:
        child = op.body([variable(op, kind) for kind in kinds])
        child.hoist = False
        variables = list(child.graph.inputs)
        places = zip(map(id, body.inputs), variables, strict=True)
        copy = Copy(child, body, {**known, **dict(places)})
        after = [*kinds]
        if node.op == "Loop":
            ys = copy.outputs[1:]
            after[2:] = [_lasting(k, kind_of(y)) for k, y in zip(kinds[2:], ys, strict=False)]
        if after == kinds:
            return Inside(child, variables, kinds, copy)
        kinds = after


# ---- types of inputs and outputs


def infer(op: Emitter, node: gs.Node) -> None:
    """Stamp on the outputs of If, Loop, Scan and SequenceMap what their bodies tell of them.

    Args:
        op: Emitter of the graph that the node is in; it is only used to look.
        node: The node; any other is left as it is.
    """
    inputs = [t if t.name else None for t in node.inputs]
    insides = [enter(op, node, inputs, body, {}) for body in bodies(node).values()]
    kinds = output_kinds(node, inputs, insides) if insides else []
    sources = [t for t in [*inputs, *captures(node)] if t is not None]
    symbols = {d for t in sources for d in shape_of(t) or ()}  # others were made up on the way
    for tensor, kind in zip(node.outputs, kinds, strict=False):
        if tensor.name and shape_of(tensor) is None and kind.shape is not None:
            known = (d if isinstance(d, int) or d in symbols else None for d in kind.shape)
            stamp(tensor, replace(kind, shape=tuple(known)))


def input_kinds(
    op: Emitter, node: gs.Node, inputs: Sequence[Tensor | None], body: gs.Graph
) -> list[Kind]:
    """Return what is known of the inputs of a node's body in its first iteration."""
    stated = [kind_of(t) for t in body.inputs]
    if node.op == "Loop":
        number = Kind(np.dtype(np.int64), stated[0].shape or ())
        condition = Kind(np.dtype(np.bool_), stated[1].shape or ())
        return [number, condition, *(_with_symbols(op, kind_of(x)) for x in inputs[2:])]
    if node.op == "Scan" and len(stated) == len(inputs):  # before opset 9 it was batched
        scan = ScanLayout(node)
        kinds = [kind_of(x) for x in inputs]
        parts = zip(kinds[scan.states :], scan.axes, strict=True)
        found = [*kinds[: scan.states], *(_without(k, axis) for k, axis in parts)]
        return [_ranked(k, said) for k, said in zip(found, stated, strict=True)]
    if node.op == "SequenceMap":
        return [replace(kind_of(x), sequence=False) for x in inputs]
    return stated


def _ranked(kind: Kind, stated: Kind) -> Kind:
    """Return a kind with the rank that a body states, where nothing outside says it."""
    unknown = kind.shape is None and stated.shape is not None  # ONNX Runtime's Scan wants one
    return replace(kind, shape=(None,) * len(stated.shape or ())) if unknown else kind


def output_kinds(
    node: gs.Node, inputs: Sequence[Tensor | None], insides: Sequence[Inside]
) -> list[Kind]:
    """Return what is known of the outputs of a node from its bodies."""
    first, *others = [[kind_of(y) for y in inside.copy.outputs] for inside in insides]
    if node.op == "If":
        return [_lasting(a, b) for a, b in zip(first, *others, strict=True)]
    if node.op == "Loop":
        states = insides[0].kinds[2:]
        return [*states, *(stacked(k) for k in first[1 + len(states) :])]
    if node.op == "Scan" and len(inputs) == len(insides[0].inputs):
        scan = ScanLayout(node)
        length = (kind_of(inputs[scan.states]).shape or {scan.axes[0]: None})[scan.axes[0]]
        parts = zip(first[scan.states :], scan.output_axes, strict=True)
        states = insides[0].kinds[: scan.states]
        return [*states, *(stacked(k, axis, length) for k, axis in parts)]
    if node.op == "SequenceMap":
        return [replace(k, sequence=True) for k in first]
    return []


def _lasting(before: Kind, after: Kind) -> Kind:
    """Return what two values have in common."""
    a, b = before.shape, after.shape
    shape = None
    if a is not None and b is not None and len(a) == len(b):
        shape = tuple(d if d == e else None for d, e in zip(a, b, strict=True))
    return replace(before, shape=shape)


def _with_symbols(op: Emitter, kind: Kind) -> Kind:
    """Give every unknown dimension a symbol of its own."""
    if kind.shape is None:
        return kind
    return replace(kind, shape=tuple(op.fresh("dim") if d is None else d for d in kind.shape))


def _without(kind: Kind, axis: int) -> Kind:
    if kind.shape is None:
        return kind
    axis %= len(kind.shape)
    return replace(kind, shape=kind.shape[:axis] + kind.shape[axis + 1 :])


def stacked(kind: Kind, axis: int = 0, length: Dim = None) -> Kind:
    """Return what is known of values side by side along a new axis."""
    if kind.shape is None:
        return kind
    axis %= len(kind.shape) + 1
    return replace(kind, shape=(*kind.shape[:axis], length, *kind.shape[axis:]))
