"""Which axis of the scores counts the inputs, which the classes; the others are positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from onnxcam.analysis.layers.behind import SPACE
from onnxcam.analysis.layers.finals import made_by
from onnxcam.analysis.layers.heads import Behind, Layouts
from onnxcam.analysis.layout import Layout
from onnxcam.errors import ModelError, UsageError
from onnxcam.graph import ir
from onnxcam.graph.emit import Dim, Tensor, const_value, dtype_of, shape_of
from onnxcam.graph.ops import Trait, has


@dataclass(frozen=True)
class Axes:
    """The meaning of the axes of the scores.

    Attributes:
        batch: Axis of the inputs, None where there is none.
        classes: Axis of the classes, None where there is one score only.
        shape: Sizes of all axes.
        chosen: Whether a function that the model ends in runs along positions: it says where
            something is, not what.
        sure: Whether the graph says that the batch's axis is the inputs'.
        guessed: Whether only the sizes of the axes say which is that of the classes.
        letters: The letters of all axes, as of a layout; "" where they are not known.
    """

    batch: int | None
    classes: int | None
    shape: tuple[Dim, ...]
    chosen: bool = False
    sure: bool = True
    guessed: bool = False
    letters: str = ""

    @property
    def turned(self) -> tuple[int, ...]:
        """Axes of the positions in the order of space; () where they stand in it, or none is known.

        A network that transposes [N, C, H, W] to [N, W, H, C] counts its positions by columns.
        """
        own = (self.batch, self.classes)
        return in_order(self.letters, [i for i in range(len(self.shape)) if i not in own])

    @property
    def written(self) -> str:
        """The sizes of all axes, as people write them."""
        return f"[{', '.join('?' if d is None else str(d) for d in self.shape)}]"

    @property
    def count(self) -> int | None:
        """How many classes, None where that is not known."""
        size = 1 if self.classes is None else self.shape[self.classes]
        return size if isinstance(size, int) else None

    @property
    def positions(self) -> bool:
        """Whether there is more than one score for each class."""
        own = (self.batch, self.classes)
        return any(d != 1 for i, d in enumerate(self.shape) if i not in own)


def axes_of(found: Behind, graph: ir.Graph, known: Layouts, explained: str | None = None) -> Axes:
    """Read which axes of a tensor count inputs and classes.

    Args:
        found: The tensor, and what operators behind it say.
        graph: The graph.
        known: The meaning of axes, by the ids of tensors.
        explained: Name of the input that is explained: of several, whose batch may differ, the
            scores are counted by its own. None takes the first.

    Raises:
        ModelError: Its rank is unknown.
    """
    tensor = found.tensor
    shape, layout = shape_of(tensor), known.get(id(tensor))
    if shape is None:
        raise ModelError(
            f"the rank of the score {tensor.name!r} is unknown", "name another `reduction_layer`"
        )
    rank = len(shape)
    if layout is not None and len(layout.axes) != rank:
        layout = None
    source = _source(graph, known, explained)
    named = None if found.axis is None or not -rank <= found.axis < rank else found.axis % rank
    if layout is not None and named == layout.batch:
        named = None  # a function over the inputs, or inputs joined
    over = layout is not None and named is not None and layout.axes[named] in SPACE
    if over and layout is not None and layout.channel is not None and shape[layout.channel] != 1:
        named = layout.channel
    batch, sure = _batch(shape, layout, source, named)
    letters = "" if layout is None else layout.axes
    if named is not None:
        return Axes(batch, named, shape, over, sure, letters=letters)
    classes, told = _classes(tensor, shape, layout, batch, source, known)
    return Axes(batch, classes, shape, over, sure, not told, letters)


def in_order(letters: str, axes: Sequence[int]) -> tuple[int, ...]:
    """Return axes in the order of space by their letters; () where they stand in it already."""
    named = [letters[i] if i < len(letters) else "?" for i in axes]
    if len(set(named)) != len(named) or not set(named) <= set("DHW"):
        return ()
    found = tuple(sorted(axes, key=lambda i: "DHW".index(letters[i])))
    return () if found == tuple(axes) else found


def with_classes(axes: Axes, axis: int, tensor: Tensor) -> Axes:
    """Return the axes with that of the classes named by a caller.

    Raises:
        UsageError: There is no such axis, or it is that of the inputs.
    """
    rank, written = len(axes.shape), axes.written
    if not -rank <= axis < rank:
        raise UsageError(
            f"`class_axis` {axis} is out of range: the score {tensor.name!r} is {written}",
            f"give one from 0 to {rank - 1}" if rank else "leave it out: it is a single number",
        )
    axis %= rank
    batch = axes.batch
    if axis == batch and rank > 1 and axes.shape[axis] != 1:
        raise UsageError(
            f"`class_axis` {axis} counts the inputs of the score {tensor.name!r}, {written}",
            "name another axis",
        )
    if axis == batch:
        batch = None if rank == 1 else next(i for i in range(rank) if i != axis)
    return replace(axes, batch=batch, classes=axis, chosen=False, guessed=False)


def _classes(
    tensor: Tensor,
    shape: Sequence[Dim],
    layout: Layout | None,
    batch: int | None,
    source: tuple[Tensor, int] | None,
    known: Layouts,
) -> tuple[int | None, bool]:
    """Return the axis of the classes by the layout, by what makes the scores, or by the sizes.

    The second tells whether it is more than a guess by the sizes.
    """
    if layout is not None and layout.channel is not None:
        return layout.channel, True
    rest = [i for i in range(len(shape)) if i != batch]
    if layout is not None and not layout.strange and rest:
        # A number for each token: which of them is meant. One for each pixel: how much.
        kind = None if source is None else dtype_of(source[0])
        one = kind is not None and kind.kind in "iu" and len(rest) == 1
        return rest[0] if one else None, True
    made = _made_by_product(tensor, len(shape), known)
    if made is not None and made != batch:
        return made, True
    wide = [i for i in rest if shape[i] != 1]
    sizes = [d for i in wide if isinstance(d := shape[i], int)]
    if len(rest) == len(sizes) == 2:  # anchors are more than classes
        return wide[sizes.index(min(sizes))], False
    return next(iter(wide or rest), None), len(wide) < 2


def _made_by_product(tensor: Tensor, rank: int, known: Layouts) -> int | None:
    """Return the axis that a product with weights, or a convolution, makes anew."""
    node = made_by(tensor)
    while node is not None and (has(node, Trait.BIAS, Trait.SAME, Trait.JOINS)):
        data = [t for t in node.inputs if t.name and const_value(t) is None]
        several = len(data) != 1 and not has(node, Trait.SAME)
        if several and int(node.attrs.get("axis", rank - 1)) % rank == rank - 1:
            return None  # no anchors of several layers, one behind the other
        node, tensor = made_by(data[0]), data[0]
    if node is None:
        return None
    if has(node, Trait.CONVOLUTION) and has(node, Trait.CHANNELS_FIRST):
        return 1
    if node.op == "Einsum":
        return _new_in(node)
    if node.op == "Reshape":
        return _cut_from_channels(node, tensor, known)
    if node.op == "Gemm" or (node.op == "MatMul" and const_value(node.inputs[1]) is not None):
        return rank - 1
    return None


def _cut_from_channels(node: ir.Node, tensor: Tensor, known: Layouts) -> int | None:
    """Return the last axis where it is a part of channels that stood last: those of an anchor."""
    source, shape = node.inputs[0], shape_of(tensor) or (None,)
    layout, last = known.get(id(source)), shape[-1]
    channels = (shape_of(source) or (None,))[-1]
    if layout is None or layout.channel != len(layout.axes) - 1:
        return None
    if not isinstance(last, int) or not isinstance(channels, int) or last < 2 or channels % last:
        return None
    return len(shape) - 1


def _new_in(node: ir.Node) -> int | None:
    """Return the axis of an Einsum's output that only its weights have."""
    equation = node.attrs.get("equation", "")
    text = equation.decode() if isinstance(equation, bytes) else str(equation)
    terms, _, result = text.replace(" ", "").partition("->")
    pairs = list(zip(terms.split(","), node.inputs, strict=False))
    data = "".join(term for term, t in pairs if const_value(t) is None)
    new = [i for i, letter in enumerate(result) if letter not in data]
    return new[0] if len(new) == 1 and "." not in result else None


def _batch(
    shape: Sequence[Dim], layout: Layout | None, source: tuple[Tensor, int] | None, own: int | None
) -> tuple[int | None, bool]:
    """Return the axis of the inputs, which is not that of the classes, and whether it is sure."""
    if layout is not None and layout.batch is not None:
        return layout.batch, True
    if layout is not None and not layout.strange:
        return None, True
    free = [i for i in range(len(shape)) if i != own]
    dim = None if source is None else (shape_of(source[0]) or (None,))[source[1]]
    same = [i for i in free if shape[i] == dim and dim is not None]
    if same:
        return same[0], len(same) == 1
    if not free or (dim == 1 and isinstance(shape[free[0]], int)):
        return None, True  # all of it is of the one input
    return free[0], False


def _source(graph: ir.Graph, known: Layouts, explained: str | None) -> tuple[Tensor, int] | None:
    """Return the input that counts the inputs of a batch, and the axis along which it does."""
    own = [t for t in graph.inputs if t.name == explained]
    for inputs in (own, graph.inputs):
        for tensor in inputs:
            layout = known.get(id(tensor))
            if layout is not None and layout.batch is not None:
                return tensor, layout.batch
        first = next((t for t in inputs if shape_of(t)), None)
        if first is not None:
            return first, 0
    return None
