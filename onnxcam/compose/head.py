"""The head that CAM needs: global average pooling and one linear layer, in whatever nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from onnxcam.analysis.layout import Layout
from onnxcam.errors import UsageError
from onnxcam.graph import ir
from onnxcam.graph.emit import Emitter, Tensor, const_value, shape_of
from onnxcam.graph.ops import Trait, has

_LINEAR_FIRST = "a linear layer over the channels"


@dataclass(frozen=True)
class Head:
    """Where the weights of a class stand.

    Attributes:
        wrt: What the score is differentiated by: the pool, or the feature tensor itself where
            something is multiplied before the pool.
        axes: Where that is the pool: its axes that are neither batch nor channel.
        sums: Where that is the feature tensor: its axes of space, which are summed over.
    """

    wrt: Tensor
    axes: tuple[int, ...] = ()
    sums: tuple[int, ...] = ()

    def weights(self, op: Emitter, gradient: Tensor, space: Sequence[int]) -> Tensor:
        """Return the weights of the class in the rank of the feature tensor.

        Args:
            op: Emitter.
            gradient: Gradient of the score at :attr:`wrt`.
            space: The axes of the feature tensor that are space.
        """
        if self.sums:
            return op.ReduceSum(gradient, axes=list(self.sums), keepdims=1)
        if self.axes == tuple(space):
            return gradient
        flat = op.Squeeze(gradient, axes=list(self.axes)) if self.axes else gradient
        return op.Unsqueeze(flat, axes=list(space))


def head_of(a: Tensor, score: Tensor, layout: Layout, layouts: Mapping[str, Layout]) -> Head:
    """Return the head between a feature tensor and the scores, where it is CAM's.

    It is where every position counts alike: pools over all of space (a mean, a sum, or an
    AveragePool as large as its input), one product with constants before or behind them, and
    around these what moves, adds constants or scales channels.

    Args:
        a: Feature tensor.
        score: The scores.
        layout: The meaning of its axes.
        layouts: The meaning of other tensors' axes, by name.

    Raises:
        UsageError: The head is another one.
    """
    walk = _Walk(a, layout, layouts)
    while walk.tensor is not score:
        walk.step()
    if walk.pool is None:
        raise walk.refused("nothing pools its positions")
    if walk.scaled:
        return Head(a, sums=layout.space)
    rank = len(shape_of(walk.pool) or ())
    return Head(walk.pool, tuple(i for i in range(rank) if i not in walk.kept))


class _Walk:
    """The way from the feature tensor to the scores, node by node."""

    def __init__(self, a: Tensor, layout: Layout, layouts: Mapping[str, Layout]) -> None:
        self.a, self.tensor, self.layout, self.layouts = a, a, layout, layouts
        self.pool: Tensor | None = None
        self.kept: tuple[int, ...] = ()  # batch and channel of the pool
        self.scaled, self.linear, self.summed = False, 0, False

    def refused(self, reason: str) -> UsageError:
        return UsageError(
            f"CAM needs global average pooling and a linear classifier behind {self.a.name!r}: "
            f"{reason}",
            "use `method='gradcam'`, which needs neither",
        )

    def step(self) -> None:
        nodes = [n for n in self.tensor.outputs if not has(n, Trait.READS_SHAPE)]
        if len(nodes) != 1:
            raise self.refused(f"{self.tensor.name!r} is used {len(nodes)} times")
        (node,) = nodes
        if self.pool is None:
            self._before(node)
        else:
            self._behind(node)
        self.tensor = node.outputs[0]

    def _behind(self, node: ir.Node) -> None:
        """Go on behind the pool."""
        if self._counts(node):
            return
        if _scales(node):
            if self.summed and self.tensor is self.pool:  # a sum over a number is a mean
                self.pool = node.outputs[0]
        elif not has(node, Trait.SAME, Trait.VIEW, Trait.BIAS):
            raise self.refused(f"a {node.op} stands in the classifier")

    def _before(self, node: ir.Node) -> None:
        """Go on before the pool, where every position has to be treated alike."""
        if self._pools(node):
            return
        if self._counts(node):
            if not self._pointwise(node):
                raise self.refused(f"a {node.op} follows it that is not {_LINEAR_FIRST}")
            self.scaled = True
        elif _scales(node):
            if not self._of_channels(node):
                raise self.refused(f"a {node.op} scales its positions one by one")
            self.scaled = True
        elif not (has(node, Trait.SAME, Trait.VIEW) or _adds(node)):
            raise self.refused(f"a {node.op} follows it")
        self.layout = self._layout_behind(node)

    def _counts(self, node: ir.Node) -> bool:
        """Tell whether a node is a linear layer, and count it."""
        if not has(node, Trait.PRODUCT, Trait.CONVOLUTION) or has(node, Trait.ACTIVATION):
            return False
        self.linear += 1
        if self.linear > 1:
            raise self.refused("the classifier has more than one linear layer")
        return True

    def _layout_behind(self, node: ir.Node) -> Layout:
        layout = self.layout
        if has(node, Trait.VIEW):
            found = self.layouts.get(node.outputs[0].name)
            if found is None or not found.known or found.strange or found.pieces or found.rolled:
                raise self.refused(f"a {node.op} follows it")
            layout = found
        return layout

    def _pools(self, node: ir.Node) -> bool:
        space, y = self.layout.space, node.outputs[0]
        if node.op in ("ReduceMean", "ReduceSum"):
            axes = _reduced(node, len(self.layout.axes))
            if axes is None or not set(axes) <= set(space):
                raise self.refused(
                    f"the {node.op} averages axes {axes}, not all of space and no more"
                )
            kept = bool(node.attrs.get("keepdims", 1))
            self.summed |= node.op == "ReduceSum"
            if axes != sorted(space):  # the rest of space is averaged by another one
                self._part(axes, kept)
                return True
        elif node.op in ("AveragePool", "GlobalAveragePool"):
            if node.op == "AveragePool" and not _covers(node, space):
                raise self.refused(f"the {node.op} averages windows, not all of space")
            if self.layout.channel != 1 or not _is_standard(node):
                raise self.refused(f"a {node.op} follows it")
            kept = True
        else:
            return False
        self.pool = y
        named = (self.layout.batch or 0, self.layout.channel or 0)
        self.kept = named if kept else tuple(i - sum(s < i for s in space) for i in named)
        return True

    def _part(self, axes: list[int], kept: bool) -> None:
        """Go on behind a pool over some of the axes of space."""
        letters = self.layout.axes
        rest = "".join(("?" if kept else "") if i in axes else c for i, c in enumerate(letters))
        self.layout = Layout(rest)

    def _pointwise(self, node: ir.Node) -> bool:
        """Tell whether a product with constants is over the channels, the same everywhere."""
        weight = shape_of(node.inputs[1]) if len(node.inputs) > 1 else None
        if node.inputs[0] is not self.tensor or weight is None or not _is_standard(node):
            return False
        if const_value(node.inputs[1]) is None and node.inputs[1].inputs:
            return False
        if node.op == "Conv":
            plain = all(d == 1 for d in node.attrs.get("strides", [])) and not any(
                node.attrs.get("pads", [])
            )
            return plain and self.layout.channel == 1 and all(d == 1 for d in weight[2:])
        last = self.layout.channel == len(self.layout.axes) - 1
        return node.op == "MatMul" and last and len(weight) == 2

    def _of_channels(self, node: ir.Node) -> bool:
        """Tell whether a constant factor is the same at every position."""
        if node.op == "BatchNormalization":
            return self.layout.channel == 1
        rank = len(self.layout.axes)
        others = [shape_of(t) or () for t in node.inputs if t is not self.tensor]
        shapes = [(1,) * (rank - len(s)) + tuple(s) for s in others]
        return all(len(s) == rank and all(s[i] == 1 for i in self.layout.space) for s in shapes)


def _is_standard(node: ir.Node) -> bool:
    return node.domain in (None, "", "ai.onnx")


def _adds(node: ir.Node) -> bool:
    """Tell whether a node adds constants."""
    constants = [const_value(t) is not None for t in node.inputs]
    return node.op in ("Add", "Sub") and _is_standard(node) and sum(constants) == 1


def _scales(node: ir.Node) -> bool:
    """Tell whether a node multiplies with constants."""
    if not _is_standard(node):
        return False
    if node.op == "Div":
        return const_value(node.inputs[1]) is not None
    constants = [const_value(t) is not None for t in node.inputs]
    return node.op == "BatchNormalization" or (node.op == "Mul" and sum(constants) == 1)


def _covers(node: ir.Node, space: Sequence[int]) -> bool:
    """Tell whether the window of an AveragePool is all of space, and nothing beside it."""
    before, after = (shape_of(t) or () for t in (node.inputs[0], node.outputs[0]))
    extents = [before[i] if i < len(before) else None for i in space]
    window = list(node.attrs.get("kernel_shape", []))
    padded = any(node.attrs.get("pads", [])) or str(node.attrs.get("auto_pad", "")).startswith("S")
    return extents == window and not padded and prod(d or 0 for d in window) > 0 and bool(after)


def _reduced(node: ir.Node, rank: int) -> list[int] | None:
    """Return the axes that a reduction reduces; None where they are not known."""
    axes = node.attrs.get("axes")
    if axes is None and len(node.inputs) > 1:
        axes = const_value(node.inputs[1])
    return None if axes is None else sorted(int(i) % rank for i in axes)
