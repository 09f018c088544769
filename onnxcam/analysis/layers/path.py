"""The way from the input to the score."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from onnxcam.analysis.layout import Layout
from onnxcam.errors import ModelError, UsageError
from onnxcam.graph import ir
from onnxcam.graph.bodies import captured
from onnxcam.graph.emit import Tensor, is_float, shape_of
from onnxcam.graph.ops import Trait, has


def ancestors(tensor: Tensor) -> Iterator[Tensor]:
    """Yield a tensor and every tensor that it is computed from, each once."""
    seen: set[int] = set()
    stack = [tensor]
    while stack:
        current = stack.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        for node in current.inputs:
            stack.extend(t for t in node.inputs if t.name)
            for value in node.attrs.values():
                if isinstance(value, ir.Graph):
                    stack.extend(t for t in captured(value) if t.name)


def path(
    graph: ir.Graph, score: Tensor, known: dict[int, Layout], wanted: str | None = None
) -> tuple[list[ir.Node], Tensor]:
    """Return the nodes between an input and the score in graph order, and that input.

    Args:
        graph: The model.
        score: The score.
        known: What is known of the tensors' axes.
        wanted: Name of the input; None takes the first with space, or the first.

    Raises:
        ModelError: The score depends on no input.
        UsageError: It does not depend on the one that is wanted.
    """
    above = {id(t) for t in ancestors(score)}
    inputs = [t for t in graph.inputs if id(t) in above and is_float(t)]
    if not inputs:
        inputs = [t for t in graph.inputs if id(t) in above]
    if not inputs:
        raise ModelError(f"{score.name!r} depends on no input", "name another `reduction_layer`")
    source = next((t for t in inputs if len(shape_of(t) or ()) > 2 and id(t) in known), inputs[0])
    if wanted is not None:
        named = {t.name: t for t in graph.inputs if id(t) in above}
        if wanted not in named:
            listed = ", ".join(f"{n!r} {list(shape_of(t) or ())}" for n, t in named.items())
            raise UsageError(
                f"{score.name!r} depends on no input {wanted!r}",
                f"it depends on {listed}: give one",
            )
        source = named[wanted]
    below = {id(source)}
    nodes = []
    for node in graph.nodes:
        fed = [*node.inputs, *_captured_by(node)]
        if not has(node, Trait.READS_SHAPE) and any(id(t) in below for t in fed):
            below.update(id(t) for t in node.outputs)
            if any(id(t) in above for t in node.outputs):
                nodes.append(node)
    return nodes, source


def bottlenecks(
    nodes: Sequence[ir.Node], source: Tensor, tells: Callable[[ir.Node, Tensor], bool]
) -> set[int]:
    """Return the ids of the tensors that everything on the path passes through.

    A tensor is one when nothing that was made before it is used after it.

    Args:
        nodes: The path, producers first.
        source: The input.
        tells: Whether a node's use of a tensor counts.
    """
    last_use: dict[int, int] = {}
    for index, node in enumerate(nodes):
        for tensor in (*node.inputs, *_captured_by(node)):
            if tells(node, tensor):
                last_use[id(tensor)] = index
    reach, found = last_use.get(id(source), 0), set()
    for index, node in enumerate(nodes):
        made = [t for t in node.outputs if id(t) in last_use or index == len(nodes) - 1]
        if len(made) == 1 and reach <= index:
            found.add(id(made[0]))
        reach = max([reach, *(last_use.get(id(t), index) for t in made)])
    return found


def _captured_by(node: ir.Node) -> Iterator[Tensor]:
    for value in node.attrs.values():
        if isinstance(value, ir.Graph):
            yield from captured(value)


def moves(node: ir.Node) -> bool:
    """Tell whether a node passes all elements of its input on, rounded at most."""
    return has(node, Trait.SAME, Trait.VIEW)


def producer(tensor: Tensor) -> str:
    """Return the operator that makes a tensor."""
    return str(tensor.inputs[0].op) if tensor.inputs else "input"
