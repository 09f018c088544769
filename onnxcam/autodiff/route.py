"""Where a gradient passes: what predicates and rules may ask of the graph around a node."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import onnx_graphsurgeon as gs

from onnxcam.graph.bodies import captures
from onnxcam.graph.emit import Tensor

Node: TypeAlias = gs.Node
Counted: TypeAlias = Callable[[Node], bool]


class Route:
    """The nodes between what is differentiated and what it is differentiated by.

    It knows one graph: bodies and definitions have routes of their own.

    Args:
        nodes: Nodes that the outputs depend on, producers first.
        carrying: ``carrying(node)`` -> ids of the inputs that a gradient may flow to.
    """

    def __init__(
        self,
        nodes: Sequence[Node] = (),
        carrying: Callable[[Node], set[int]] = lambda node: set(),
    ) -> None:
        self._nodes, self._carrying = nodes, carrying
        self._takers: dict[int, list[Node]] | None = None
        self._depths: dict[Counted, dict[int, int]] = {}
        self._below: dict[str, set[int]] = {}

    def moving(self, node: Node) -> list[int]:
        """Return the numbers of the inputs of a node that a gradient may flow to."""
        ids = self._carrying(node)
        return [i for i, t in enumerate(node.inputs) if id(t) in ids]

    def takers(self, tensor: Tensor) -> list[Node]:
        """Return the nodes that a gradient flows back from to a tensor, each once."""
        if self._takers is None:
            self._takers = {}
            for node in self._nodes:
                for key in self._carrying(node):
                    self._takers.setdefault(key, []).append(node)
        return self._takers.get(id(tensor), [])

    def depth(self, node: Node, counted: Counted) -> int:
        """Return how many counted nodes lie on the longest way from the input through a node."""
        return self._counts(counted).get(id(node), 0)

    def deepest(self, counted: Counted) -> int:
        """Return how many counted nodes lie on the longest way."""
        return max(self._counts(counted).values(), default=0)

    def below(self, tensor: str) -> set[int]:
        """Return the ids of the nodes that a gradient passes below a tensor of this name."""
        if tensor not in self._below:
            wanted: set[int] = set()
            found = self._below[tensor] = set()
            for node in reversed(self._nodes):
                if any(t.name == tensor or id(t) in wanted for t in node.outputs):
                    found.add(id(node))
                    wanted |= self._carrying(node)
        return self._below[tensor]

    def _counts(self, counted: Counted) -> dict[int, int]:
        if counted not in self._depths:
            depths: dict[int, int] = {}
            behind: dict[int, int] = {}  # the depth of the tensors
            for node in self._nodes:
                before = [behind.get(key, 0) for key in self._carrying(node)]
                if before:
                    depths[id(node)] = max(before) + counted(node)
                    behind.update({id(t): depths[id(node)] for t in node.outputs})
            self._depths[counted] = depths
        return self._depths[counted]


def topological(outputs: Sequence[Tensor], stops: set[int]) -> Iterator[Node]:
    """Yield the nodes that the outputs depend on, producers first, nothing before ``stops``."""
    done: set[int] = set()
    stack: list[tuple[Any, bool]] = [(t, False) for t in reversed(outputs)]
    while stack:
        item, ready = stack.pop()
        if ready:
            yield item
            continue
        if id(item) in stops or not item.inputs or id(item.inputs[0]) in done:
            continue
        node = item.inputs[0]
        done.add(id(node))
        stack.append((node, True))
        sources = [*node.inputs, *captures(node)]
        stack.extend((t, False) for t in reversed(sources) if t.name)
