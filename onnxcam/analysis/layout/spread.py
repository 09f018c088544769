"""The walk: meanings spread from the anchors through the graph until nothing new is found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from onnxcam.analysis.layout.atoms import Axis
from onnxcam.analysis.layout.inputs import Reader, parted, patched, pictured
from onnxcam.analysis.layout.meaning import Meaning, plain
from onnxcam.analysis.layout.pyramids import pyramid
from onnxcam.analysis.layout.records import SPACE, Layout
from onnxcam.analysis.layout.rules import (
    Rule,
    channels,
    filters_one,
    is_batch_first,
    mixes_positions,
    rolled,
    rule_of,
)
from onnxcam.graph import ir
from onnxcam.graph.emit import Tensor, const_value, dtype_of, is_float, shape_of
from onnxcam.graph.ops import Trait, data_inputs, has


def layouts(graph: ir.Graph, said: Mapping[int, Meaning] | None = None) -> dict[int, Layout]:
    """Return the layouts that can be told, by the ``id`` of the tensor.

    Args:
        graph: Main graph, with inferred shapes.
        said: What is said of tensors, by their ``id``: it is not asked of the graph.
    """
    seeds = dict(said or {})
    found = _walked(graph, seeds)
    for settle in (parted, patched, pictured):
        for tensor in graph.inputs:
            if is_float(tensor) and id(tensor) not in (said or {}):
                better = settle(found.get(id(tensor)), shape_of(tensor) or ())
                seeds.update({} if better is None else {id(tensor): better})
        found = _walked(graph, seeds) if seeds else found
    shapes = {id(t): shape_of(t) or () for t in _tensors(graph)}
    inputs = [id(t) for t in graph.inputs if id(t) in found]
    reader = Reader([found[key] for key in inputs])
    return {
        key: reader.read(meaning, shapes[key], is_input=key in inputs)
        for key, meaning in found.items()
        if meaning.axes and key in shapes
    }


def _walked(graph: ir.Graph, seeds: dict[int, Meaning]) -> dict[int, Meaning]:
    """Return what the walk finds, with something known before."""
    walk = _Walk(graph, seeds)
    while walk.changed:
        walk.changed = False
        for step in walk.steps:
            walk.forwards(step)
        for step in reversed(walk.steps):
            walk.backwards(step)
    return walk.found


def _tensors(graph: ir.Graph) -> Iterable[Tensor]:
    yield from graph.inputs
    for node in graph.nodes:
        yield from (t for t in (*node.inputs, *node.outputs) if t.name)


_ANCHORS = (Trait.CHANNELS_FIRST, Trait.CHANNELS_LAST, Trait.RECURRENT)


class _Step(NamedTuple):
    """A node, and how it passes meanings on: among all that it has, or by a rule."""

    node: ir.Node
    anchors: bool
    among: Callable[[ir.Node], None] | None
    rule: Rule | None


class _Walk:
    def __init__(self, graph: ir.Graph, seeds: dict[int, Meaning]) -> None:
        self.found = dict(seeds)
        self.changed = True
        self.steps = [s for s in map(self._step, graph.nodes) if s.anchors or s.among or s.rule]
        self._done = {key for key, meaning in seeds.items() if meaning.complete}
        for node in graph.nodes:
            if _is_embedding(node):
                self._enter_plain(node.inputs[1], [2], "NW")
                self._enter_plain(node.outputs[0], [3], "NWC")

    def enter(self, tensor: Tensor, meaning: Meaning | None) -> None:
        """Keep the meaning of a tensor, if it says more than what is known."""
        shape = shape_of(tensor)
        if meaning is None or shape is None or len(shape) != len(meaning.axes):
            return
        if self._complete(tensor):
            return
        meaning = meaning.fitted(shape)
        known = self.found.get(id(tensor))
        if known is None or _says_more(meaning, known):
            self.found[id(tensor)] = meaning
            self.changed = True
            if meaning.complete:
                self._done.add(id(tensor))

    def _step(self, node: ir.Node) -> _Step:
        anchors = has(node, *_ANCHORS)
        if has(node, Trait.JOINS):
            return _Step(node, anchors, self._join, None)
        if mixes_positions(node):
            return _Step(node, False, self._mix, None)
        if has(node, Trait.KEEPS_SHAPE):
            return _Step(node, anchors, self._share, None)
        return _Step(node, anchors, None, rule_of(node) if node.inputs else None)

    def forwards(self, step: _Step) -> None:
        node = step.node
        if step.anchors:
            self._anchor(node)
        if all(map(self._complete, node.outputs)):
            return
        if step.among is not None:
            step.among(node)
        elif step.rule is not None and id(node.inputs[0]) in self.found:
            several = node.op == "Split" or has(node, Trait.RECURRENT)
            for i, y in enumerate(node.outputs if several else node.outputs[:1]):
                self.enter(y, step.rule(node, self.found[id(node.inputs[0])], True, i))

    def backwards(self, step: _Step) -> None:
        node = step.node
        if step.among is not None:
            if not all(map(self._complete, node.inputs)):
                step.among(node)
        elif step.rule is not None and not self._complete(node.inputs[0]):
            for i, y in enumerate(node.outputs):
                if id(y) in self.found:
                    self.enter(node.inputs[0], step.rule(node, self.found[id(y)], False, i))

    def _complete(self, tensor: Tensor) -> bool:
        """Tell whether there is nothing more to be known of a tensor."""
        return id(tensor) in self._done or not tensor.name or isinstance(tensor, ir.Constant)

    def _anchor(self, node: ir.Node) -> None:
        """Convolutions and pools say what axes mean, where nothing before them does."""
        if has(node, Trait.RECURRENT):
            self._enter_plain(node.inputs[0], [3], "NWC" if is_batch_first(node) else "WNC")
            return
        if _is_of_groups(node):
            return
        first = has(node, Trait.CHANNELS_FIRST)
        x = self.found.get(id(node.inputs[0]))
        if x is not None and has(node, Trait.CONVOLUTION) and filters_one(node, x):
            return
        if x is None or x.unknown or (has(node, Trait.CONVOLUTION) and channels(node, x) == "?"):
            for tensor in (node.inputs[0], node.outputs[0]):
                self._enter_plain(tensor, range(3, 6), "NC{}" if first else "N{}C")

    def _enter_plain(self, tensor: Tensor, ranks: Iterable[int], letters: str) -> None:
        shape = shape_of(tensor) or ()
        if len(shape) in ranks:
            self.enter(tensor, plain(letters.format(SPACE[max(0, len(shape) - 2)]), shape))

    def _share(self, node: ir.Node) -> None:
        """Operators that keep the shape: all operands of the output's rank share its meaning."""
        y = node.outputs[0]
        rank = len(shape_of(y) or ())
        operands = data_inputs(node, node.inputs)
        peers = [y, *(t for t in operands if rank and len(shape_of(t) or ()) == rank)]
        known = [self.found[id(t)] for t in peers if id(t) in self.found]
        if known:
            best = max(known, key=_weight)
            for tensor in peers:
                self.enter(tensor, best)

    def _mix(self, node: ir.Node) -> None:
        """A graph's edges: the features of its nodes keep their axes."""
        x, y = node.inputs[1], node.outputs[0]
        known = [self.found[id(t)] for t in (x, y) if id(t) in self.found]
        letters = "WC" if len(shape_of(x) or ()) == 2 else "NWC"
        for tensor in (x, y):
            shape = shape_of(tensor) or ()
            if not known and len(shape) == len(letters):
                self.enter(tensor, plain(letters, shape))
            elif known:
                self.enter(tensor, max(known, key=_weight).resized(len(letters) - 1))

    def _join(self, node: ir.Node) -> None:
        """Concat; class and register tokens put before the grid, or behind it, shift it."""
        y, inputs, turned = node.outputs[0], data_inputs(node, node.inputs), rolled(node)
        if turned is not None:
            x, axis, by = turned
            for source, to, way in ((x, y, by), (y, x, -by)):
                if id(source) in self.found:
                    self.enter(to, self.found[id(source)].moved(axis, way))
            return
        known = [(i, self.found[id(t)]) for i, t in enumerate(inputs) if id(t) in self.found]
        if not known and id(y) in self.found:
            whole = self.found[id(y)]
            for tensor in inputs:
                self.enter(tensor, whole.resized(int(node.attrs.get("axis", 0)) % len(whole.axes)))
        if not known:
            return
        place, best = max(known, key=lambda k: _weight(k[1]))
        axis = int(node.attrs.get("axis", 0)) % len(best.axes)
        old = best.axes[axis]
        if best.whole(axis) or not old.atoms:
            for tensor in (y, *inputs):
                self.enter(tensor, best)
        elif (scales := pyramid(inputs, self.found, axis)) is not None:
            self.enter(y, best.put({axis: scales}))
        elif best.read().axes[axis] == "T":
            before = _tokens(inputs[:place], axis, old.before)
            behind = _tokens(inputs[place + 1 :], axis, old.behind)
            self.enter(y, best.put({axis: Axis(old.atoms, before, behind)}))
        else:
            for tensor in (y, *inputs):
                self.enter(tensor, best.resized(axis))


def _is_of_groups(node: ir.Node) -> bool:
    """Tell whether a normalisation of instances is one of groups: [N, groups, the rest]."""
    source = node.inputs[0].inputs[0] if node.inputs[0].inputs else None
    if node.op != "InstanceNormalization" or source is None or source.op != "Reshape":
        return False
    before, after = shape_of(source.inputs[0]) or (), shape_of(node.inputs[0]) or ()
    return len(after) == 3 < len(before)


def _weight(meaning: Meaning) -> tuple[bool, bool, int, int]:
    """Order meanings by what they say."""
    several = [len(axis.wide) for axis in meaning.axes if axis.known]
    sure = all(axis.before is not None for axis in meaning.axes)
    return not meaning.rolled, sure, max(several, default=0), -meaning.unknown


def _says_more(new: Meaning, old: Meaning) -> bool:
    """Tell whether a meaning knows more axes, or more of the class tokens, and contradicts none."""
    pairs = list(zip(new.axes, old.axes, strict=True))
    agrees = all(not o.known or _letters(n) == _letters(o) for n, o in pairs)
    learnt = any(o.before is None and n.before is not None for n, o in pairs)
    return agrees and (new.unknown < old.unknown or (learnt and new.unknown == old.unknown))


def _letters(axis: Axis) -> list[str]:
    return [a.letter for a in axis.wide]


def _tokens(tensors: Iterable[Tensor], axis: int, total: int | None) -> int | None:
    """Return how many tokens these add along an axis, None where that is not known."""
    for tensor in tensors:
        size = (shape_of(tensor) or (None,) * (axis + 1))[axis]
        if not isinstance(size, int) and tensor.inputs and tensor.inputs[0].op == "Expand":
            # A class token is expanded over the batch; its number is that of the parameter.
            source = shape_of(tensor.inputs[0].inputs[0]) or ()
            size = source[axis] if axis < len(source) == len(shape_of(tensor) or ()) else None
        total = total + size if total is not None and isinstance(size, int) else None
    return total


def _is_embedding(node: ir.Node) -> bool:
    """Tell whether a node looks the words [N, W] of an input up in a table."""
    if node.op != "Gather" or int(node.attrs.get("axis", 0)) != 0:
        return False
    table, words = node.inputs
    dtype, rank = dtype_of(table), len(shape_of(table) or ())
    looked_up = rank == 2 and dtype is not None and dtype.kind == "f"
    wanted = looked_up and len(shape_of(words) or ()) == 2
    while words.inputs and has(words.inputs[0], Trait.SAME, Trait.VIEW):
        words = words.inputs[0].inputs[0]
    given = not words.inputs and not isinstance(words, ir.Constant)
    return wanted and given and const_value(words) is None
