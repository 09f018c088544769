"""Which tensors are the scores already: logits before a Resize, a score without its bias ..."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from onnxcam.analysis.layout import Layout
from onnxcam.graph import ir
from onnxcam.graph.curves import activation
from onnxcam.graph.emit import Tensor, const_value
from onnxcam.graph.ops import Trait, data_inputs, has

_PLACED = ("GridSample", "Pad", "Resize", "Upsample")  # they read and fill places, not channels
_KEEPS_CLASSES = (Trait.ELEMENTWISE, Trait.VIEW, Trait.JOINS, Trait.PROBABILITIES, Trait.PICKS)
_GATHERS = (Trait.REDUCES, Trait.POOL, Trait.GLOBAL_POOL)


def scored(score: Tensor, known: Mapping[int, Layout]) -> set[int]:
    """Return the ids of the tensors whose channels are the classes of the score already.

    These are the score, what it is made of without a product or a pool (before a Resize or a bias,
    the parts of a Concat, the terms of a sum: the input of a global skip), and, where the score is
    a mean of probabilities, those and their logits.

    Args:
        score: The scores.
        known: The meaning of axes, by the ids of tensors.
    """
    found: set[int] = set()
    waiting = [score]
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in found:
            continue
        found.add(id(tensor))
        node = tensor.inputs[0] if tensor.inputs else None
        if node is not None and has(node, *_GATHERS) and node.inputs:
            waiting += [t for t in node.inputs[:1] if _is_probability(t)]
        elif node is not None:
            waiting += node.inputs[:1] if _resamples(node, known) else _sources(node)
    return found


def skipping(nodes: Sequence[ir.Node], own: set[int]) -> set[int]:
    """Return the ids of the scored tensors that are handed on past what is learned of them.

    Something else is computed of them too, and is added to the same score: a global skip.

    Args:
        nodes: The path, producers first.
        own: The scored tensors.
    """

    def is_scored(node: ir.Node) -> bool:
        return any(id(y) in own for y in node.outputs)

    found = {id(t) for n in nodes if not is_scored(n) for t in n.inputs if id(t) in own}
    for node in nodes:
        if is_scored(node) and any(id(t) in found for t in node.inputs):
            found.update(id(y) for y in node.outputs)
    return found


def _sources(node: ir.Node) -> Iterator[Tensor]:
    """Yield what a node takes classes from, each in its place."""
    if has(node, Trait.POOL):
        return
    if not has(node, *_KEEPS_CLASSES) and node.op not in (*_PLACED, "BatchNormalization"):
        return
    found = [t for t in data_inputs(node, node.inputs) if t.name and const_value(t) is None]
    if (
        node.op in ("Mul", "Div") and len(found) > 1
    ):  # a mask and what it is laid over are no scores
        curve = activation(node.outputs[0])
        found = [] if curve is None else [curve.source, *(n.outputs[0] for n in curve.nodes)]
    yield from found


def _resamples(node: ir.Node, known: Mapping[int, Layout]) -> bool:
    """Tell whether a product with constants is over places: bands of frequencies, for one."""
    layout = known.get(id(node.inputs[0])) if node.op == "MatMul" else None
    last = None if layout is None else len(layout.axes) - 1
    return layout is not None and last in layout.space and const_value(node.inputs[1]) is not None


def _is_probability(tensor: Tensor) -> bool:
    """Tell whether a tensor holds a probability at every position."""
    node = tensor.inputs[0] if tensor.inputs else None
    if node is not None and has(node, Trait.SAME, Trait.VIEW):
        return _is_probability(node.inputs[0])
    return node is not None and has(node, Trait.PROBABILITIES)
