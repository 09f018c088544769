"""Quantised units: what a runtime runs on integers, and what is read of the reals inside.

In a file of pairs (QDQ) an operator stands between DequantizeLinear and QuantizeLinear, and the
runtime makes one operator on integers of the three. It does so only where nobody else reads what
lies between. So who reads it, as a gradient does, reads it from a second copy of the operator, and
the model's own predictions stay what they are without onnxcam.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import onnx_graphsurgeon as gs

from onnxcam.graph import quirks
from onnxcam.graph.bodies import bodies, captures
from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.graph.ops import Trait, has

_LONGEST = 8  # operators in a unit: a convolution, its bias, an activation, ...


@dataclass
class _Units:
    """The quantised units of a graph.

    Attributes:
        op: Emitter of the graph.
        outputs: Ids of the graph's outputs, which somebody else reads already.
        own: Ids of the nodes that the graph came with.
        readers: Who of them reads a tensor, by its id.
        nodes: What was written for the copies, in an order that can be run.
    """

    op: Emitter
    outputs: Collection[int]
    own: Collection[int]
    readers: dict[int, list[gs.Node]]
    nodes: dict[int, gs.Node] = field(default_factory=dict)
    _inside: dict[int, bool] = field(default_factory=dict)
    _copies: dict[int, Tensor] = field(default_factory=dict)

    def holds(self, tensor: Tensor) -> bool:
        """Tell whether a tensor lies inside a unit: only an operator's way to its rounding."""
        key = id(tensor)
        if key not in self._inside:
            self._inside[key] = self._is_inside(tensor)
        return self._inside[key]

    def _is_inside(self, tensor: Tensor) -> bool:
        for _ in range(_LONGEST):
            node = tensor.inputs[0] if tensor.inputs else None
            if node is None or id(node) not in self.own or id(tensor) in self.outputs:
                return False
            if has(node, Trait.QUANTISES, Trait.DEQUANTISES, Trait.RANDOM) or bodies(node):
                return False
            readers = self.readers.get(id(tensor), [])
            if readers and all(has(reader, Trait.QUANTISES) for reader in readers):
                return True
            if len(readers) != 1 or not has(readers[0], Trait.ELEMENTWISE, Trait.VIEW):
                return False
            tensor = readers[0].outputs[0]
        return False

    def copy(self, tensor: Tensor) -> Tensor:
        """Return a tensor of a unit computed once more; itself where the unit reads no integers."""
        key = id(tensor)
        if key not in self._copies:
            node = tensor.inputs[0]
            inputs = [self.copy(t) if self.holds(t) else t for t in node.inputs]
            moved = any(new is not old for new, old in zip(inputs, node.inputs, strict=True))
            if not moved and not any(_is_dequantised(t) for t in inputs):
                return self._copies.setdefault(key, tensor)
            made = self.op.again(node, [t if t.name else None for t in inputs], node.attrs)
            self._keep(made[0].inputs[0])
            for old, new in zip(node.outputs, made, strict=True):
                self._copies[id(old)] = self.op.learn(new, old)
        return self._copies[key]

    def _keep(self, node: gs.Node) -> None:
        """Keep a node of a copy, behind those that it needs."""
        if id(node) not in self.own and id(node) not in self.nodes:
            for tensor in node.inputs:
                for source in tensor.inputs:
                    self._keep(source)
            self.nodes[id(node)] = node


def _is_dequantised(tensor: Tensor) -> bool:
    return bool(tensor.inputs) and has(tensor.inputs[0], Trait.DEQUANTISES)


@quirks.works_around(quirks.SHARED_REALS)
def apart(
    op: Emitter,
    own: Sequence[gs.Node],
    outputs: Sequence[Tensor],
    nodes: Sequence[gs.Node],
) -> list[gs.Node]:
    """Let written nodes read nothing inside the quantised units of a model.

    Args:
        op: Emitter of the graph.
        own: The nodes that the model came with.
        outputs: Its outputs.
        nodes: What was written behind them, in an order that can be run. What they read inside a
            unit is replaced, in place.

    Returns:
        The nodes, behind what they now read.
    """
    if not any(has(node, Trait.QUANTISES) for node in own):
        return list(nodes)
    readers: dict[int, list[gs.Node]] = {}
    for node in own:
        for tensor in [*node.inputs, *captures(node)]:
            readers.setdefault(id(tensor), []).append(node)
    units = _Units(op, {id(t) for t in outputs}, {id(n) for n in own}, readers)
    with op.scope("apart"):
        for node in nodes:
            _redirect(units, node)
    return [*units.nodes.values(), *(n for n in nodes if id(n) not in units.nodes)]


def _redirect(units: _Units, node: gs.Node) -> None:
    for i, tensor in enumerate(node.inputs):
        if units.holds(tensor):
            node.inputs[i] = units.copy(tensor)
    for body in bodies(node).values():
        for inner in body.nodes:
            _redirect(units, inner)
        body.outputs[:] = [units.copy(t) if units.holds(t) else t for t in body.outputs]
