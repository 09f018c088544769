"""Subgraphs (branches, bodies) inside gradients: write one once more and differentiate it there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from onnxcam.autodiff.engine import moved, vjp
from onnxcam.autodiff.registry import NodeView
from onnxcam.autodiff.replay import is_random
from onnxcam.errors import UnsupportedOp
from onnxcam.graph import ir
from onnxcam.graph.bodies import Copy, Kind, bodies, needed, stamp
from onnxcam.graph.emit import Emitter, Tensor, is_sequence, shape_of


class Differentiable:
    """A subgraph written once more inside a gradient.

    Args:
        node: The node that it belongs to.
        op: Where to write it.
        graph: The subgraph.
        known: What stands for a tensor (by id): for its inputs at least.

    Attributes:
        outputs: What stands for the outputs of the subgraph.
    """

    def __init__(
        self, node: NodeView, op: Emitter, graph: ir.Graph, known: Mapping[int, Tensor]
    ) -> None:
        self._op = op
        self._copy = Copy(op, graph, known)
        self.outputs = self._copy.outputs
        self._overrides = node.overrides.inside(node, self._copy.names)

    def vjp(self, dys: Sequence[Tensor | None], wrt: Sequence[Tensor]) -> list[Tensor | None]:
        """Return the gradients of inputs and outer tensors; see :func:`engine.vjp`.

        Args:
            dys: Cotangents, one per output of the subgraph; None counts as zero.
            wrt: What to differentiate with respect to.
        """
        pairs = [
            (y, fitted(self._op, dy, y))
            for y, dy in zip(self.outputs, dys, strict=True)
            if dy is not None
        ]
        stops = [*wrt, *self._copy.outside]
        return vjp(self._op, pairs, wrt, overrides=self._overrides, stops=stops)

    def moved(self, wrt: Sequence[Tensor]) -> list[bool]:
        """Tell which outputs a change of some inputs or outer tensors moves."""
        stops = [*wrt, *self._copy.outside]
        ids = moved(self._op, self.outputs, wrt, overrides=self._overrides, stops=stops)
        return [id(y) in ids for y in self.outputs]


def fitted(op: Emitter, dy: Tensor, y: Tensor) -> Tensor:
    """Return a cotangent with all that is known of the shape of its tensor, and nothing else.

    A branch often knows more of its output than the graph around it, where the branches meet; it
    may even have another shape than the one that is declared or made there. Then this branch is
    not the one that runs.
    """
    have, want = shape_of(dy), shape_of(y)
    if is_sequence(y) or (have is None and want is None):
        return dy
    if have is not None and (want is None or len(have) != len(want)):
        return op.Reshape(dy, op.shape(y))
    pairs = list(zip(have or (None,) * len(want or ()), want or (), strict=True))
    if any(isinstance(h, int) and isinstance(w, int) and h != w for h, w in pairs):
        return op.learn(op.Reshape(dy, op.shape(y)), y)
    news = have is None or any(isinstance(w, int) and not isinstance(h, int) for h, w in pairs)
    return op.learn(op.named(dy, op.fresh("dy")), y) if news else dy


def results(made: Any, kinds: Sequence[Kind]) -> list[Tensor]:
    """Return the outputs of a control flow node, with what is known of them."""
    outputs = list(made) if isinstance(made, tuple) else [made]
    return [stamp(tensor, kind) for tensor, kind in zip(outputs, kinds, strict=True)]


def finish(child: Emitter, outputs: Sequence[Tensor], node: NodeView) -> ir.Graph:
    """Close a subgraph of the gradient and drop what its outputs do not need.

    Raises:
        UnsupportedOp: It draws random numbers.
    """
    graph = child.close(outputs)
    graph.nodes[:] = needed(list(graph.nodes), graph.outputs)
    refuse_random(graph.nodes, node)
    return graph


def refuse_random(nodes: Sequence[ir.Node], node: NodeView) -> None:
    """Refuse to run a subgraph again that draws random numbers.

    Args:
        nodes: What would run again.
        node: The node that the subgraph belongs to.

    Raises:
        UnsupportedOp: They would be others than the forward pass drew.
    """
    drawn = next((n for n in _all_nodes(nodes) if is_random(n)), None)
    if drawn is not None:
        raise UnsupportedOp(
            f"no gradient for {node.op_type}, node {node.name!r}: the {drawn.op} inside would draw "
            "other random numbers when the gradient runs the subgraph again",
            "draw the numbers outside of the subgraph, or choose a feature layer behind this node",
        )


def _all_nodes(nodes: Iterable[ir.Node]) -> Iterator[ir.Node]:
    for node in nodes:
        yield node
        for body in bodies(node).values():
            yield from _all_nodes(body.nodes)
