"""The way from the input to the score."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence

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
        wanted: Name of the input; None takes the first with space, or the first, which is no cache.

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
    inputs = _without_caches(graph, inputs, above)
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


def _without_caches(graph: ir.Graph, inputs: list[Tensor], above: Container[int]) -> list[Tensor]:
    """Return the inputs of reals without those that the model returns longer by what is new.

    Keys and values of a text's beginning go into a decoder so; what is explained are its words,
    where nothing else is left.
    """
    outputs = {id(t) for t in graph.outputs}
    caches = {
        id(node.inputs[0])
        for node in graph.nodes
        if node.op == "Concat" and _grows(node) and _is_output(node.outputs[0], outputs)
    }
    rest = [t for t in inputs if id(t) not in caches]
    if len(rest) < len(inputs) and not rest:
        words = (t for t in graph.inputs if id(t) in above and not is_float(t))
        rest = [t for t in words if len(shape_of(t) or ()) == 2]
    return rest or inputs


def _grows(node: ir.Node) -> bool:
    """Tell whether a Concat is along an axis of no certain length: no channels of a picture."""
    shape, axis = shape_of(node.inputs[0]) or (), int(node.attrs.get("axis", 0))
    return -len(shape) <= axis < len(shape) and not isinstance(shape[axis], int)


def _is_output(tensor: Tensor, outputs: Container[int]) -> bool:
    """Tell whether a tensor is an output, but for what is only called otherwise."""
    if id(tensor) in outputs:
        return True
    same = (n for n in tensor.outputs if has(n, Trait.SAME))
    return any(_is_output(n.outputs[0], outputs) for n in same)


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
