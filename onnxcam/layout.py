"""Which axis of a tensor is batch, channel, space or token, read off the graph itself.

A layout is a string with one letter per axis: ``N`` batch, ``C`` channel, ``D H W`` space (a
sequence has only ``W``), ``T`` tokens (space flattened into one axis), ``?`` unknown. Operators
that fix the meaning of their axes (convolutions, pools, ...) are the anchors; from them the
letters spread forwards and backwards through operators that keep, permute or drop axes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import onnx_graphsurgeon as gs

from onnxcam.emit import Dim, Tensor, const_value, shape_of

SPACE = {0: "", 1: "W", 2: "HW", 3: "DHW"}

_ANCHORS = frozenset(
    "Conv ConvTranspose ConvInteger QLinearConv FusedConv MaxPool AveragePool LpPool "
    "GlobalAveragePool GlobalMaxPool GlobalLpPool BatchNormalization InstanceNormalization "
    "GroupNormalization LRN DepthToSpace SpaceToDepth DeformConv MaxUnpool "
    "QLinearAveragePool QLinearGlobalAveragePool".split()
)
_UNARY = frozenset(
    "Relu Clip LeakyRelu PRelu Elu Selu Celu Sigmoid HardSigmoid HardSwish Mish Gelu Softplus "
    "Softsign Tanh ThresholdedRelu Swish Shrink Erf Exp Log Sqrt Abs Neg Reciprocal Floor Ceil "
    "Round Cast CastLike Identity Dropout Pad QuantizeLinear DequantizeLinear Softmax LogSoftmax "
    "LayerNormalization RMSNormalization SimplifiedLayerNormalization Resize Upsample "
    "MeanVarianceNormalization LpNormalization Slice FastGelu QuickGelu BiasGelu CumSum "
    "QLinearSigmoid QLinearLeakyRelu SkipLayerNormalization".split()
)
_BINARY = frozenset("Add Sub Mul Div Pow Max Min Sum Mean Where QLinearAdd QLinearMul".split())


@dataclass(frozen=True)
class Layout:
    """The meaning of a tensor's axes.

    Attributes:
        axes: One letter per axis, see the module.
        grid: For a token axis: the spatial shape that it was flattened from.
        prefix: For a token axis: how many class and register tokens stand before the grid.
    """

    axes: str
    grid: tuple[Dim, ...] = ()
    prefix: int = 0

    @property
    def channel(self) -> int | None:
        """Index of the channel axis."""
        return self._index("C")

    @property
    def batch(self) -> int | None:
        """Index of the batch axis."""
        return self._index("N")

    @property
    def space(self) -> tuple[int, ...]:
        """Indices of the spatial (or token) axes, in the order depth, height, width."""
        return tuple(self.axes.index(c) for c in "DHWT" if c in self.axes)

    @property
    def known(self) -> bool:
        """Whether batch, channel and at least one spatial axis are known."""
        return self.batch is not None and self.channel is not None and bool(self.space)

    def _index(self, letter: str) -> int | None:
        return self.axes.index(letter) if letter in self.axes else None


def layouts(graph: gs.Graph) -> dict[int, Layout]:
    """Return the layouts that can be told, by the ``id`` of the tensor.

    Args:
        graph: Main graph, with inferred shapes.
    """
    found: dict[int, Layout] = {}
    nodes = list(graph.nodes)
    for node in nodes:
        _anchor(node, found)
    while True:
        before = len(found)
        for node in nodes:
            _spread(node, found, forward=True)
        for node in reversed(nodes):
            _spread(node, found, forward=False)
        if len(found) == before:
            break
    for tensor in graph.inputs:
        if id(tensor) in found:
            found[id(tensor)] = _completed(found[id(tensor)])
    return found


def _completed(layout: Layout) -> Layout:
    """An input's only unknown axis is the one letter, batch or channel, that is missing."""
    missing = [c for c in "NC" if c not in layout.axes]
    if len(missing) == 1 and layout.axes.count("?") == 1:
        return replace(layout, axes=layout.axes.replace("?", missing[0]))
    return layout


def _anchor(node: gs.Node, found: dict[int, Layout]) -> None:
    if node.op not in _ANCHORS:
        return
    for tensor in (node.inputs[0], node.outputs[0]):
        shape = shape_of(tensor)
        if shape is not None and 2 < len(shape) <= 5:
            found.setdefault(id(tensor), Layout("NC" + SPACE[len(shape) - 2]))


def _spread(node: gs.Node, found: dict[int, Layout], *, forward: bool) -> None:
    if not node.inputs or not node.outputs or not node.inputs[0].name:
        return
    y = node.outputs[0]
    if node.op in _BINARY or node.op == "Concat":
        _spread_many(node, found)
        return
    rule = _RULES.get(node.op) or (_same if node.op in _UNARY else None)
    if rule is None:
        return
    x = node.inputs[0]
    source, target = (x, y) if forward else (y, x)
    if id(source) not in found or id(target) in found or shape_of(target) is None:
        return
    layout = rule(node, found[id(source)], forward)
    if layout is not None and len(layout.axes) == len(shape_of(target) or ()):
        found[id(target)] = layout


def _spread_many(node: gs.Node, found: dict[int, Layout]) -> None:
    """Elementwise operators and Concat: all operands of the output's rank share its layout."""
    y = node.outputs[0]
    rank = len(shape_of(y) or ())
    peers = [
        t
        for t in node.inputs
        if t.name and not isinstance(t, gs.Constant) and len(shape_of(t) or ()) == rank
    ]
    if not rank or not peers:
        return
    known = [found[id(t)] for t in [y, *peers] if id(t) in found]
    if not known:
        return
    best = max(known, key=lambda k: (len(k.grid), -k.axes.count("?")))
    if node.op == "Concat" and "T" in best.axes and best.grid:
        _concat_tokens(node, best, found)
        return
    for tensor in (y, *peers):
        found.setdefault(id(tensor), best)


def _concat_tokens(node: gs.Node, grid: Layout, found: dict[int, Layout]) -> None:
    """Class and register tokens put before the grid shift it."""
    axis = int(node.attrs.get("axis", 0)) % len(grid.axes)
    if grid.axes[axis] != "T":
        found.setdefault(id(node.outputs[0]), grid)
        return
    before = 0
    for tensor in node.inputs:
        if id(tensor) in found and found[id(tensor)].grid:
            layout = found[id(tensor)]
            found.setdefault(id(node.outputs[0]), replace(layout, prefix=layout.prefix + before))
            return
        size = (shape_of(tensor) or (None,) * (axis + 1))[axis]
        if not isinstance(size, int):
            return
        before += size


def _same(node: gs.Node, layout: Layout, forward: bool) -> Layout | None:
    if node.op == "Slice" and layout.grid:
        return _sliced_tokens(node, layout) if forward else None
    return layout


def _sliced_tokens(node: gs.Node, layout: Layout) -> Layout | None:
    """A slice that drops class and register tokens, or everything but them."""
    x, y = shape_of(node.inputs[0]), shape_of(node.outputs[0])
    axis = layout.axes.index("T")
    if x is None or y is None or x[axis] == y[axis]:
        return layout
    starts = const_value(node.inputs[1]) if len(node.inputs) > 1 else None
    if starts is None or starts.size != 1 or not isinstance(y[axis], int):
        return None
    start, cells = int(starts.flat[0]), prod(d for d in layout.grid if isinstance(d, int))
    if y[axis] - max(layout.prefix - start, 0) != cells or start > layout.prefix:  # type: ignore[operator]
        return None
    return replace(layout, prefix=layout.prefix - start)


def _transposed(node: gs.Node, layout: Layout, forward: bool) -> Layout | None:
    rank = len(layout.axes)
    perm = node.attrs.get("perm", list(range(rank))[::-1])
    if not forward:
        perm = [int(i) for i in np.argsort(perm)]
    return replace(layout, axes="".join(layout.axes[i] for i in perm))


def _reduced(node: gs.Node, layout: Layout, forward: bool) -> Layout | None:
    if node.attrs.get("keepdims", 1):
        return layout
    if not forward:
        return None
    axes = _axes(node, len(layout.axes))
    return None if axes is None else _without(layout, axes)


def _squeezed(node: gs.Node, layout: Layout, forward: bool) -> Layout | None:
    if not forward:
        return None
    axes = _axes(node, len(layout.axes))
    if axes is None:
        shape = shape_of(node.inputs[0]) or ()
        axes = [i for i, d in enumerate(shape) if d == 1]
    return _without(layout, axes)


def _unsqueezed(node: gs.Node, layout: Layout, forward: bool) -> Layout | None:
    rank = len(shape_of(node.outputs[0]) or ())
    axes = _axes(node, rank)
    if axes is None:
        return None
    if not forward:
        return _without(layout, axes)
    letters = iter(layout.axes)
    return replace(layout, axes="".join("?" if i in axes else next(letters) for i in range(rank)))


def _reshaped(node: gs.Node, layout: Layout, forward: bool) -> Layout | None:
    """Flattening space into tokens, unflattening it, and dropping dimensions of 1."""
    x, y = shape_of(node.inputs[0]), shape_of(node.outputs[0])
    if x is None or y is None:
        return None
    source, target = (x, y) if forward else (y, x)
    if source == target:
        return layout
    letters, grid, position = [], layout.grid, 0
    for size in target:
        taken, position = _take(source, position, size)
        if taken is None:
            return None
        part = "".join(layout.axes[i] for i in taken if source[i] != 1 or len(taken) == 1)
        if len(part) > 1 and set(part) <= set("DHW"):
            grid = tuple(source[i] for i in taken if source[i] != 1)
            part = "T"
        letters.append(part if len(part) == 1 else "?")
    return replace(layout, axes="".join(letters), grid=grid)


def _take(source: tuple[Dim, ...], start: int, size: Dim) -> tuple[list[int] | None, int]:
    """Return the run of source axes whose product is ``size``, and where the next run starts."""
    if start < len(source) and source[start] == size:
        return [start], start + 1
    if size == 1:
        return [], start
    if not isinstance(size, int):
        # One symbolic dimension may stand for a product nobody can compute: accept the batch.
        return ([start], start + 1) if start == 0 and not isinstance(source[0], int) else (None, 0)
    product, taken = 1, []
    while start < len(source) and product < size:
        dim = source[start]
        if not isinstance(dim, int):
            return None, 0
        product *= dim
        taken.append(start)
        start += 1
    return (taken, start) if product == size else (None, 0)


def _axes(node: gs.Node, rank: int) -> list[int] | None:
    axes = node.attrs.get("axes")
    if axes is None and len(node.inputs) > 1:
        axes = const_value(node.inputs[1])
    return None if axes is None else [int(a) % rank for a in np.atleast_1d(axes)]


def _without(layout: Layout, axes: list[int]) -> Layout:
    kept = "".join(c for i, c in enumerate(layout.axes) if i not in axes)
    return Layout(kept, layout.grid if "T" in kept else (), layout.prefix if "T" in kept else 0)


_RULES: dict[str, Callable[[gs.Node, Layout, bool], Layout | None]] = {
    "Transpose": _transposed,
    "Squeeze": _squeezed,
    "Unsqueeze": _unsqueezed,
    "Reshape": _reshaped,
    "Flatten": _reshaped,
    **{
        f"Reduce{kind}": _reduced
        for kind in ("Mean", "Sum", "Max", "Min", "L1", "L2", "Prod", "SumSquare", "LogSumExp")
    },
}


def spatial_shape(tensor: Tensor, layout: Layout) -> tuple[Dim, ...]:
    """Return the spatial shape of a tensor: that of the grid for a token layout."""
    if layout.grid:
        return layout.grid
    shape = shape_of(tensor) or ()
    return tuple(shape[i] for i in layout.space)


def named_axes(layout: Layout) -> Iterator[tuple[str, int]]:
    """Yield letter and index of every known axis."""
    return ((c, i) for i, c in enumerate(layout.axes) if c != "?")
