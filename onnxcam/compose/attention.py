"""The attentions of a transformer, and the score that its head would give each of its blocks."""

from __future__ import annotations

from dataclasses import dataclass

from onnxcam.autodiff.engine import path
from onnxcam.autodiff.route import topological
from onnxcam.compose.places import Place
from onnxcam.errors import UsageError
from onnxcam.graph import ir
from onnxcam.graph.emit import Emitter, Tensor, shape_of


@dataclass(frozen=True)
class Block:
    """A block of a transformer.

    Attributes:
        attention: What its softmax gives: [N, heads, queries, keys].
        output: The tokens behind it, in the residual stream.
    """

    attention: Tensor
    output: Tensor


def blocks_of(op: Emitter, score: Tensor, x: Tensor) -> list[Block]:
    """Return the blocks between an input and the scores, first to last.

    A block is from one attention to the next; its output is the last sum of two streams of tokens
    in it that depends on the attention.

    Args:
        op: Emitter.
        score: The scores.
        x: The input.

    Raises:
        UsageError: There is no attention that is a softmax and a product, or no such sum.
    """
    nodes, carrying = path(op, [score], [x])
    found: list[tuple[Tensor, list[Tensor]]] = []
    for node in nodes:
        if _attends(node, carrying):
            found.append((node.outputs[0], []))
        elif found and _sums(node, carrying):
            found[-1][1].append(node.outputs[0])
    blocks = [Block(a, outputs[-1]) for a, outputs in found if outputs]
    lost = [a for a, outputs in found if not outputs]
    if not blocks or lost:
        reason = "no softmax of one is multiplied with values (it may be a fused node)"
        if lost:
            reason = f"no sum follows {lost[0].name!r} that continues the stream of tokens"
        raise UsageError(
            f"LeGrad needs the attentions of a transformer: {reason}",
            "use `method='attnlrp'`, or `method='gradcam'`",
        )
    for block in blocks:
        if all(
            block.attention is not t for n in topological([block.output], set()) for t in n.outputs
        ):
            raise UsageError(
                f"the attention {block.attention.name!r} does not reach {block.output.name!r}",
                "use `method='attnlrp'`, or `method='gradcam'`",
            )
    return blocks


def of_patches(op: Emitter, slope: Tensor, place: Place, method: str) -> Tensor:
    """Return a gradient [N, heads, queries, keys] with those keys that are patches.

    Raises:
        UsageError: The place has no axis of tokens.
    """
    layout = place.layout
    if len(layout.axes) != 3 or len(layout.space) != 1 or place.pieces:
        raise UsageError(
            f"{method} is for layers of tokens, and {place.tensor.name!r} has the axes "
            f"{layout.axes}",
            "choose a `feature_layer` with tokens, or `method='gradcam'`",
        )
    end = -layout.suffix or 2**63 - 1
    return op.Slice(slope, starts=[layout.prefix], ends=[end], axes=[3])


def _attends(node: ir.Node, carrying: set[int]) -> bool:
    """Tell whether a node is the softmax of an attention over [N, heads, queries, keys]."""
    y = node.outputs[0] if node.outputs else None
    if node.op != "Softmax" or y is None or len(shape_of(y) or ()) != 4:
        return False
    return any(
        n.op == "MatMul" and n.inputs[0] is y and id(n.inputs[1]) in carrying for n in y.outputs
    )


def _sums(node: ir.Node, carrying: set[int]) -> bool:
    """Tell whether a node adds two streams of tokens [N, tokens, features]."""
    if node.op != "Add" or not all(id(t) in carrying for t in node.inputs):
        return False
    return all(len(shape_of(t) or ()) == 3 for t in node.inputs)
