"""Sequences that are only a list of tensors: chunks and splits as TorchScript writes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from onnxcam.graph.emit import Dim, proto_shape
from onnxcam.graph.emit.walks import STANDARD_DOMAINS, standard_opset

_SINCE = 13  # the opset from which on a Split takes its sizes as an input
_MAKES = ("SequenceConstruct", "SplitToSequence")
_TAKES = ("ConcatFromSequence", "SequenceAt", "SequenceLength")


def unlisted(proto: ModelProto) -> bool:
    """Write sequences of known tensors without sequences, in place; tell whether any was.

    What takes an element, all of them or their number takes the tensors themselves. A sequence that
    something else reads (a loop, the user, who takes an element that is computed) stays.

    Args:
        proto: A model with its shapes.
    """
    graph = proto.graph
    made = {n.output[0] for n in graph.node if _is(n, *_MAKES)}
    if not made or standard_opset(proto) < _SINCE:
        return False
    lists = _Lists(proto)
    lists.own = made - lists.read_otherwise(made)
    nodes = [new for node in graph.node for new in lists.written(node)]
    if not lists.elements:
        return False
    used = {name for n in nodes for name in _read(n)} | {v.name for v in graph.output}
    nodes = [n for n in nodes if not _is(n, *_MAKES) or n.output[0] in used]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(lists.added)
    kept = [v for v in graph.value_info if v.name in used or v.type.HasField("tensor_type")]
    del graph.value_info[:]
    graph.value_info.extend(kept)
    return True


def _is(node: NodeProto, *names: str) -> bool:
    return node.op_type in names and node.domain in STANDARD_DOMAINS


def _read(node: NodeProto) -> Iterator[str]:
    """Yield the names that a node reads, in its subgraphs too."""
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from _read(inner)
        yield from (v.name for v in attribute.g.output)


@dataclass
class _Lists:
    """The elements of the sequences of a graph.

    Attributes:
        proto: The model.
        elements: Names of tensors by the name of the sequence.
        added: Constants to add.
        own: The sequences that are written as tensors.
    """

    proto: ModelProto
    elements: dict[str, list[str]] = field(default_factory=dict)
    added: list[TensorProto] = field(default_factory=list)
    own: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Look up what is known of the graph."""
        graph = self.proto.graph
        infos = (*graph.input, *graph.value_info, *graph.output)
        self.shapes: Mapping[str, list[Dim] | None] = {
            v.name: proto_shape(v.type) for v in infos if v.type.HasField("tensor_type")
        }
        self.constants = {t.name: t for t in graph.initializer}
        for node in graph.node:
            if _is(node, "Constant"):
                said = {a.name: a for a in node.attribute}
                if "value" in said:
                    self.constants[node.output[0]] = said["value"].t

    def read_otherwise(self, made: set[str]) -> set[str]:
        """Return the sequences that something reads which takes no known element, nor all."""
        graph = self.proto.graph
        found = {v.name for v in graph.output}
        for node in graph.node:
            fixed = _is(node, *_TAKES) and (
                node.op_type != "SequenceAt" or self._value(node.input[1]) is not None
            )
            found |= set(list(node.input)[1:] if fixed else _read(node))
        return found & made

    def written(self, node: NodeProto) -> list[NodeProto]:
        """Return the nodes that take the place of one."""
        if _is(node, *_MAKES) and node.output[0] not in self.own:
            return [node]
        if _is(node, "SequenceConstruct"):
            self.elements[node.output[0]] = list(node.input)
            return [node]
        if _is(node, "SplitToSequence"):
            return [*self._split(node), node]
        parts = self.elements.get(node.input[0]) if _is(node, *_TAKES) else None
        if parts is None:
            return [node]
        if node.op_type == "SequenceLength":
            name = self._constant(node.output[0], np.array(len(parts)))
            return [helper.make_node("Identity", [name], list(node.output))]
        if node.op_type == "SequenceAt":
            index = self._value(node.input[1])
            if index is None or not -len(parts) <= int(index.flat[0]) < len(parts):
                return [node]
            part = parts[int(index.flat[0])]
            return [helper.make_node("Identity", [part], list(node.output), node.name)]
        return self._joined(node, parts)

    def _joined(self, node: NodeProto, parts: Sequence[str]) -> list[NodeProto]:
        said = {a.name: a.i for a in node.attribute}
        axis, made, taken = said["axis"], [], list(parts)
        if not parts:
            return [node]
        if said.get("new_axis", 0):
            axes = self._constant(f"{node.output[0]}/axis", np.array([axis]))
            taken = [f"{node.output[0]}/onnxcam/{i}" for i in range(len(parts))]
            pairs = zip(parts, taken, strict=True)
            made = [helper.make_node("Unsqueeze", [a, axes], [b]) for a, b in pairs]
        return [*made, helper.make_node("Concat", taken, list(node.output), node.name, axis=axis)]

    def _split(self, node: NodeProto) -> list[NodeProto]:
        """Return the Split of a SplitToSequence of known parts, and what drops their axis."""
        said = {a.name: a.i for a in node.attribute}
        axis, given = said.get("axis", 0), len(node.input) > 1 and bool(node.input[1])
        sizes = self._sizes(node, axis)
        if sizes is None:
            return []
        base = node.output[0]
        names = [f"{base}/onnxcam/{i}" for i in range(len(sizes))]
        split = self._constant(f"{base}/sizes", np.array(sizes))
        made = [helper.make_node("Split", [node.input[0], split], names, axis=axis)]
        if not given and not said.get("keepdims", 1):
            axes = self._constant(f"{base}/axis", np.array([axis]))
            flat = [f"{name}/row" for name in names]
            pairs = zip(names, flat, strict=True)
            made += [helper.make_node("Squeeze", [a, axes], [b]) for a, b in pairs]
            names = flat
        self.elements[base] = names
        return made

    def _sizes(self, node: NodeProto, axis: int) -> list[int] | None:
        """Return the sizes of the parts of a SplitToSequence; None where they are not known."""
        value = self._value(node.input[1]) if len(node.input) > 1 and node.input[1] else np.array(1)
        if value is None or not value.size:
            return None
        if value.ndim:
            return [int(n) for n in value]
        shape, step = self.shapes.get(node.input[0]), int(value)
        whole = None if shape is None or not -len(shape) <= axis < len(shape) else shape[axis]
        if not isinstance(whole, int) or whole < 1 or step < 1 or whole // step > 64:
            return None
        return [min(step, whole - start) for start in range(0, whole, step)]

    def _value(self, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]] | None:
        tensor = self.constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def _constant(self, name: str, value: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> str:
        own = f"{name}/onnxcam/value"
        self.added.append(numpy_helper.from_array(value.astype(np.int64), own))
        return own
