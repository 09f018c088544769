"""The head that CAM needs: global average pooling, then one linear layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from onnxcam.errors import UsageError
from onnxcam.graph.emit import Tensor, const_value, shape_of
from onnxcam.graph.ops import Trait, has

_POOLS = ("GlobalAveragePool", "ReduceMean")


def pooled(a: Tensor, score: Tensor, space: Sequence[int]) -> Tensor:
    """Return the global average pool of ``a``, when the head behind it is linear.

    Args:
        a: Feature tensor.
        score: The scores.
        space: The axes of the feature tensor that are space.

    Raises:
        UsageError: The head is not global average pooling and one linear layer.
    """

    def refuse(reason: str) -> UsageError:
        return UsageError(
            f"CAM needs global average pooling and a linear classifier behind {a.name!r}: {reason}",
            "use `method='gradcam'`, which needs neither",
        )

    tensor = a
    while True:
        nodes = [n for n in tensor.outputs if not has(n, Trait.READS_SHAPE)]
        if len(nodes) != 1:
            raise refuse(f"{tensor.name!r} is used {len(nodes)} times")
        node = nodes[0]
        if node.op in _POOLS:
            axes = _reduced_axes(node, len(shape_of(a) or ()))
            if axes is not None and axes != sorted(space):
                raise refuse(f"the {node.op} averages axes {axes}, not all of space and no more")
            return _checked_head(node.outputs[0], score, refuse)
        if not has(node, Trait.SAME):
            raise refuse(f"a {node.op} follows it")
        tensor = node.outputs[0]


def _checked_head(pool: Tensor, score: Tensor, refuse: Callable[[str], UsageError]) -> Tensor:
    tensor, linear = pool, 0
    while tensor is not score:
        nodes = [n for n in tensor.outputs if not has(n, Trait.READS_SHAPE)]
        if len(nodes) != 1:
            raise refuse(f"{tensor.name!r} is used {len(nodes)} times")
        (node,) = nodes
        product = has(node, Trait.PRODUCT, Trait.CONVOLUTION) and not has(node, Trait.ACTIVATION)
        if not product and not has(node, Trait.SAME, Trait.VIEW, Trait.BIAS):
            raise refuse(f"a {node.op} stands in the classifier")
        linear += product
        if linear > 1:
            raise refuse("the classifier has more than one linear layer")
        tensor = node.outputs[0]
    return pool


def _reduced_axes(node: Any, rank: int) -> list[int] | None:
    """Return the axes that a ReduceMean reduces; None where they are not known."""
    axes = node.attrs.get("axes")
    if axes is None and len(node.inputs) > 1:
        axes = const_value(node.inputs[1])
    return None if axes is None else sorted(int(i) % rank for i in axes)
