"""How operators that move, drop or contract axes pass a meaning on, forwards and backwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from onnxcam.analysis.layout.atoms import UNKNOWN, Atom, Axis
from onnxcam.analysis.layout.found import is_found
from onnxcam.analysis.layout.meaning import Meaning
from onnxcam.analysis.layout.records import SPACE
from onnxcam.analysis.layout.unfolding import unfolded
from onnxcam.graph import ir
from onnxcam.graph.emit import Dim, Tensor, const_value, shape_of
from onnxcam.graph.ops import Trait, data_inputs, has

Rule: TypeAlias = Callable[[ir.Node, Meaning, bool, int], Meaning | None]
RULES: dict[str, Rule] = {}
_END = np.iinfo(np.int32).max


def _rule(*names: str) -> Callable[[Rule], Rule]:
    """Enter ``rule(node, meaning, forward, output)``.

    Forwards it gets the meaning of the first input and returns that of an output, backwards the
    other way round; None where it cannot tell.
    """

    def enter(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, rule))
        return rule

    return enter


def rule_of(node: ir.Node) -> Rule | None:
    """Return how a node passes a meaning on; None for one that does not."""
    if has(node, Trait.REDUCES):
        return _reduced
    if has(node, Trait.PRODUCT):
        return _multiplied
    if has(node, Trait.CONVOLUTION):
        return _convolved
    if has(node, Trait.RECURRENT):
        return _run
    return RULES.get(node.op) or (_same if has(node, Trait.KEEPS_AXES) else None)


def _same(node: ir.Node, meaning: Meaning, forward: bool, output: int) -> Meaning | None:
    """Keep every axis."""
    return meaning


@_rule("Transpose")
def _transposed(node: ir.Node, meaning: Meaning, forward: bool, output: int) -> Meaning | None:
    rank = len(meaning.axes)
    perm = node.attrs.get("perm", list(range(rank))[::-1])
    return meaning.picked([int(i) for i in (perm if forward else np.argsort(perm))])


def _reduced(node: ir.Node, meaning: Meaning, forward: bool, output: int) -> Meaning | None:
    """Axes of which one value is left; what they were before, the others do not say."""
    rank = len(shape_of(node.inputs[0]) or ())
    axes = axes_of(node, rank) if rank else []
    if axes is None:
        axes = [int(node.attrs["axis"]) % rank] if "axis" in node.attrs else list(range(rank))
    if node.attrs.get("keepdims", 1):
        return meaning.put({i: UNKNOWN for i in axes if not meaning.whole(i)})
    kept = [i for i in range(rank) if i not in axes]
    if forward:
        return meaning.picked(kept)
    return meaning.picked([kept.index(i) if i in kept else None for i in range(rank)])


@_rule("Squeeze", "Unsqueeze")
def _squeezed(node: ir.Node, meaning: Meaning, forward: bool, output: int) -> Meaning | None:
    """Axes of one are dropped, or put in."""
    narrow = node.op == "Squeeze"
    shape = shape_of((node.inputs if narrow else node.outputs)[0]) or ()
    axes = axes_of(node, len(shape)) if shape else []
    if axes is None:
        axes = [i for i, d in enumerate(shape) if d == 1]
    kept = [i for i in range(len(shape)) if i not in axes]
    if narrow == forward:
        return meaning.picked(kept)
    return meaning.picked([kept.index(i) if i in kept else None for i in range(len(shape))])


def _multiplied(node: ir.Node, meaning: Meaning, forward: bool, output: int) -> Meaning | None:
    """A constant matrix on the right makes channels of channels."""
    matrix = data_inputs(node, node.inputs)[-1]
    fixed = isinstance(matrix, ir.Constant) or const_value(matrix) is not None
    last = len(meaning.axes) - 1
    turned = node.attrs.get("transA", 0)
    if not fixed or len(shape_of(matrix) or ()) != 2 or turned or meaning.read().axes[-1] != "C":
        return None
    return meaning.put({last: Axis((Atom("C", None),))})


def mixes_positions(node: ir.Node) -> bool:
    """Tell whether a node multiplies features with a square matrix that is fed: a graph's edges."""
    if node.op != "MatMul":
        return False
    edges = node.inputs[0]
    shape, rank = shape_of(edges) or (), len(shape_of(node.inputs[1]) or ())
    if len(shape) != rank or rank not in (2, 3) or shape[-1] is None or shape[-1] != shape[-2]:
        return False
    while edges.inputs and has(edges.inputs[0], Trait.ELEMENTWISE):
        edges = edges.inputs[0].inputs[0]
    return not edges.inputs and not isinstance(edges, ir.Constant)


def _convolved(node: ir.Node, meaning: Meaning, forward: bool, output: int) -> Meaning | None:
    """Channels are made of channels, and positions stay in their order."""
    if filters_one(node, meaning) and forward:
        return meaning.above("C").put({_channel(node, meaning): Axis((Atom("C", None),))})
    letter = channels(node, meaning)
    if letter == "?":
        return None
    mixed = Axis((Atom("C", None),)) if letter == "C" else UNKNOWN
    return meaning.put({_channel(node, meaning): mixed})


def filters_one(node: ir.Node, meaning: Meaning) -> bool:
    """Tell whether a convolution has a single channel, that nothing else is known of."""
    place = _channel(node, meaning)
    rest = [axis for i, axis in enumerate(meaning.axes) if i != place]
    alone = _size(node.inputs[0], place) == 1 and not meaning.axes[place].known
    return alone and all(axis.known for axis in rest) and any(len(a.wide) > 1 for a in rest)


def channels(node: ir.Node, meaning: Meaning) -> str:
    """Return what the axis is that a convolution takes for channels."""
    return meaning.read().axes[_channel(node, meaning)]


def _channel(node: ir.Node, meaning: Meaning) -> int:
    return len(meaning.axes) - 1 if has(node, Trait.CHANNELS_LAST) else 1


def is_batch_first(node: ir.Node) -> bool:
    """Tell whether a recurrent operator has the batch before the time."""
    return bool(node.attrs.get("layout", 0))


def _run(node: ir.Node, meaning: Meaning, forward: bool, output: int) -> Meaning | None:
    """A recurrent operator: the directions of its output are channels, and so are its states."""
    hidden = Axis((Atom("C", None),))
    if forward and len(meaning.axes) == 3:
        ways = Axis((Atom("C", _size(node.outputs[0], 2 if is_batch_first(node) else 1), 1),))
        first, second = (meaning.put({2: UNKNOWN}).axes[i] for i in (0, 1))
        batch = first if is_batch_first(node) else second
        if output:
            axes = [batch, ways, hidden] if is_batch_first(node) else [ways, batch, hidden]
        else:
            axes = [first, second, ways] if is_batch_first(node) else [first, ways, second]
            axes.append(hidden)
        return Meaning(tuple(axes))
    if output or len(meaning.axes) != 4:
        return None
    places = (0, 1) if is_batch_first(node) else (0, 2)
    return Meaning((*(meaning.axes[i] for i in places), Axis((Atom("C", None),))))


@_rule("Gather")
def _gathered(node: ir.Node, meaning: Meaning, forward: bool, output: int) -> Meaning | None:
    picked, rank = shape_of(node.inputs[1]), len(meaning.axes)
    axis = int(node.attrs.get("axis", 0)) % (rank + (0 if forward else picked == ()))
    if picked == () and forward:
        return meaning.picked([i for i in range(rank) if i != axis])
    if picked == ():
        return meaning.picked([*range(axis), None, *range(axis, rank)])
    if picked is not None and len(picked) == 2:
        return unfolded(node, meaning, forward)
    if picked is None or len(picked) != 1:
        return None
    places = any(a.letter in SPACE[3] for a in meaning.axes[axis].atoms)
    if places and is_found(node.inputs[1]):
        return meaning.put({axis: UNKNOWN})
    return meaning.resized(axis)


@_rule("ReverseSequence")
def _reversed(node: ir.Node, meaning: Meaning, forward: bool, output: int) -> Meaning | None:
    """What is reversed as a whole keeps its meaning: where it then lies is geometry's."""
    axis, lengths = int(node.attrs.get("time_axis", 0)), const_value(node.inputs[1])
    whole = lengths is not None and (lengths == _size(node.inputs[0], axis)).all()
    return meaning if whole else meaning.put({axis: UNKNOWN})


@_rule("GatherElements", "TopK", "Compress")
def _disordered(node: ir.Node, meaning: Meaning, forward: bool, output: int) -> Meaning | None:
    """Along one axis the elements are no longer in their order."""
    axis = node.attrs.get("axis", {"TopK": -1}.get(node.op, 0))
    return meaning.put({int(axis) % len(meaning.axes): UNKNOWN})


@_rule("Expand", "Tile")
def _repeated(node: ir.Node, meaning: Meaning, forward: bool, output: int) -> Meaning | None:
    """Positions that are repeated are no longer where they were."""
    x, y = (shape_of(t) or () for t in (node.inputs[0], node.outputs[0]))
    if not len(x) == len(y) == len(meaning.axes):
        return None
    changed = [i for i, (a, b) in enumerate(zip(x, y, strict=True)) if a != b or a is None]
    return meaning.put({i: UNKNOWN for i in changed if meaning.whole(i) not in ("N", "C")})


@_rule("Slice")
def _sliced(node: ir.Node, meaning: Meaning, forward: bool, output: int) -> Meaning | None:
    """A slice of tokens may drop class and register tokens, or everything but them."""
    rank = len(meaning.axes)
    starts, ends = (numbers(node, i, name) for i, name in ((1, "starts"), (2, "ends")))
    axes, steps = axes_of(node, rank, place=3), numbers(node, 4, "steps")
    axes = list(range(len(starts or ends or meaning.axes))) if axes is None else axes
    for k, axis in enumerate(axes):
        whole = meaning.whole(axis) or meaning.cut(axis)
        if steps is not None and steps[k] < 0 and whole in ("", "N"):
            meaning = meaning.put({axis: UNKNOWN})
        elif _size(node.inputs[0], axis) != _size(node.outputs[0], axis):
            bounds = (
                (starts[k], ends[k])
                if starts and ends and steps in (None, [1] * len(axes))
                else None
            )
            meaning = _part(meaning, axis, _size(node.inputs[0], axis), bounds if forward else None)
    return meaning


@_rule("Split")
def _split(node: ir.Node, meaning: Meaning, forward: bool, output: int) -> Meaning | None:
    axis = int(node.attrs.get("axis", 0)) % len(meaning.axes)
    sizes = [s for s in (_size(t, axis) for t in node.outputs[: output + 1]) if isinstance(s, int)]
    bounds = (sum(sizes[:output]), sum(sizes)) if forward and len(sizes) > output else None
    return _part(meaning, axis, _size(node.inputs[0], axis), bounds)


def _part(meaning: Meaning, axis: int, size: Dim, bounds: tuple[int, int] | None) -> Meaning:
    """Return the meaning of a run of positions: of tokens it has to hold all of the grid."""
    old = meaning.axes[axis]
    if meaning.whole(axis) or bounds is None or None in (old.before, old.behind):
        return meaning.resized(axis)
    assert old.before is not None and old.behind is not None
    cells = old.size
    whole = size if isinstance(size, int) else cells and old.before + cells + old.behind
    if whole is None and (min(bounds) < 0 or bounds[1] < _END):
        return meaning.resized(axis)
    start, end = bounds if whole is None else slice(*bounds).indices(whole)[:2]
    if old.more:
        return meaning.put({axis: old.part(start, end) or UNKNOWN})
    behind = old.behind if whole is None or cells is None else end - old.before - cells
    if start > old.before or behind < 0:
        return meaning.resized(axis)
    return meaning.put({axis: Axis(old.atoms, old.before - start, behind)})


@_rule("Reshape", "Flatten")
def _reshaped(node: ir.Node, meaning: Meaning, forward: bool, output: int) -> Meaning | None:
    x, y = shape_of(node.inputs[0]), shape_of(node.outputs[0])
    if x is None or y is None:
        return None
    return meaning.reshaped(x, y) if forward else meaning.reshaped(y, x, finer=True)


def rolled(node: ir.Node) -> tuple[Tensor, int, int] | None:
    """Return what a Concat rolls round, its axis and by how many; None for any other."""
    sides = [t.inputs[0] for t in node.inputs if t.inputs and t.inputs[0].op == "Slice"]
    if len(node.inputs) != 2 or len(sides) != 2 or sides[0].inputs[0] is not sides[1].inputs[0]:
        return None
    x = sides[0].inputs[0]
    rank = len(shape_of(x) or ())
    axis = int(node.attrs.get("axis", 0)) % max(rank, 1)
    if any(axes_of(s, rank or 1, place=3) != [axis] for s in sides):
        return None
    names = ((1, "starts"), (2, "ends"), (4, "steps"))
    (start, end, step), second = ([numbers(s, *name) for name in names] for s in sides)
    if not start or not end or second != [[0], start, step] or step not in (None, [1]):
        return None
    return (x, axis, -start[0]) if end[0] == _size(x, axis) or end[0] >= _END else None


def axes_of(node: ir.Node, rank: int, *, place: int = 1) -> list[int] | None:
    """Return the axes that a node names, as an attribute or an input; None where it does not."""
    axes = numbers(node, place, "axes")
    return None if axes is None else [a % rank for a in axes]


def numbers(node: ir.Node, place: int, name: str) -> list[int] | None:
    """Return what a node says as an attribute or a constant input; None where it does not."""
    value = node.attrs.get(name)
    if value is None and len(node.inputs) > place and node.inputs[place].name:
        value = const_value(node.inputs[place])
    return None if value is None else [int(v) for v in np.atleast_1d(value)]


def _size(tensor: Tensor, axis: int) -> Dim:
    return (shape_of(tensor) or (None,) * (axis + 1))[axis]
