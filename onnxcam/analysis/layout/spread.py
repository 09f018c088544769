"""The walk: letters spread from the anchors through the graph until nothing new is found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import onnx_graphsurgeon as gs

from onnxcam.analysis.layout.records import SPACE, Layout
from onnxcam.analysis.layout.rules import RULES, Rule, same
from onnxcam.graph.emit import Tensor, const_value, dtype_of, shape_of
from onnxcam.graph.ops import Trait, data_inputs, has


def layouts(graph: gs.Graph) -> dict[int, Layout]:
    """Return the layouts that can be told, by the ``id`` of the tensor.

    Args:
        graph: Main graph, with inferred shapes.
    """
    walk = _Walk(graph)
    while walk.changed:
        walk.changed = False
        for node in graph.nodes:
            walk.forwards(node)
        for node in reversed(graph.nodes):
            walk.backwards(node)
    for tensor in graph.inputs:
        if id(tensor) in walk.found:
            walk.found[id(tensor)] = _completed(walk.found[id(tensor)])
    return walk.found


class _Walk:
    def __init__(self, graph: gs.Graph) -> None:
        self.found: dict[int, Layout] = {}
        self.changed = True
        for node in graph.nodes:
            self._anchor(node)

    def enter(self, tensor: Tensor, layout: Layout | None) -> None:
        """Keep the layout of a tensor, if it says more than what is known."""
        shape = shape_of(tensor)
        if layout is None or shape is None or len(shape) != len(layout.axes):
            return
        if not tensor.name or isinstance(tensor, gs.Constant):
            return
        layout = layout.settled(tensor)
        known = self.found.get(id(tensor))
        if known is None or _says_more(layout, known):
            self.found[id(tensor)] = layout
            self.changed = True

    def forwards(self, node: gs.Node) -> None:
        way = _way(node)
        if has(node, Trait.KEEPS_SHAPE):
            self._share(node)
        elif has(node, Trait.JOINS):
            self._join(node)
        elif node.inputs and id(node.inputs[0]) in self.found and way is not None:
            outputs = node.outputs if node.op == "Split" else node.outputs[:1]
            for i, y in enumerate(outputs):
                self.enter(y, way(node, self.found[id(node.inputs[0])], True, i))

    def backwards(self, node: gs.Node) -> None:
        way = _way(node)
        if has(node, Trait.KEEPS_SHAPE):
            self._share(node)
        elif node.inputs and way is not None:
            for i, y in enumerate(node.outputs):
                if id(y) in self.found:
                    self.enter(node.inputs[0], way(node, self.found[id(y)], False, i))

    def _anchor(self, node: gs.Node) -> None:
        if has(node, Trait.CHANNELS_FIRST):
            for tensor in (node.inputs[0], node.outputs[0]):
                rank = len(shape_of(tensor) or ())
                if 2 < rank <= 5:
                    self.enter(tensor, Layout("NC" + SPACE[rank - 2]))
        elif _is_embedding(node):
            self.enter(node.inputs[1], Layout("NW"))
            self.enter(node.outputs[0], Layout("NWC"))

    def _share(self, node: gs.Node) -> None:
        """Elementwise operators: all operands of the output's rank share its layout."""
        y, data = node.outputs[0], data_inputs(node, node.inputs)
        rank = len(shape_of(y) or ())
        peers = [y, *(t for t in data if rank and len(shape_of(t) or ()) == rank)]
        known = [self.found[id(t)] for t in peers if id(t) in self.found]
        if not known:
            return
        best = max(known, key=lambda k: (k.prefix is not None, len(k.grid), -k.axes.count("?")))
        for tensor in peers:
            self.enter(tensor, best)

    def _join(self, node: gs.Node) -> None:
        """Concat; class and register tokens put before the grid, or behind it, shift it."""
        y, inputs = node.outputs[0], data_inputs(node, node.inputs)
        known = [(i, self.found[id(t)]) for i, t in enumerate(inputs) if id(t) in self.found]
        if not known:
            return
        place, best = max(known, key=lambda k: (len(k[1].grid), -k[1].axes.count("?")))
        axis = int(node.attrs.get("axis", 0)) % len(best.axes)
        if best.axes[axis] == "T":
            before = _tokens(inputs[:place], axis)
            behind = _tokens(inputs[place + 1 :], axis)
            prefix = None if before is None or best.prefix is None else best.prefix + before
            self.enter(y, replace(best, prefix=prefix, suffix=best.suffix + (behind or 0)))
            return
        for tensor in (y, *inputs):
            self.enter(tensor, best)


def _way(node: gs.Node) -> Rule | None:
    """Return how a node passes the layout of its first input on, None where it is not known."""
    return RULES.get(node.op, same if has(node, Trait.KEEPS_AXES) else None)


def _says_more(new: Layout, old: Layout) -> bool:
    """Tell whether a layout knows more axes, or more of the class tokens, and contradicts none."""
    agrees = all(o in ("?", n) for n, o in zip(new.axes, old.axes, strict=True))
    fewer = new.axes.count("?") < old.axes.count("?")
    learnt = new.axes == old.axes and old.prefix is None and new.prefix is not None
    return learnt or (agrees and fewer)


def _tokens(tensors: Iterable[Tensor], axis: int) -> int | None:
    """Return how many tokens these are along an axis, None where that is not known."""
    total = 0
    for tensor in tensors:
        size = (shape_of(tensor) or (None,) * (axis + 1))[axis]
        if not isinstance(size, int) and tensor.inputs and tensor.inputs[0].op == "Expand":
            # A class token is expanded over the batch; its number is that of the parameter.
            source = shape_of(tensor.inputs[0].inputs[0]) or ()
            size = source[axis] if axis < len(source) == len(shape_of(tensor) or ()) else None
        if not isinstance(size, int):
            return None
        total += size
    return total


def _is_embedding(node: gs.Node) -> bool:
    """Tell whether a node looks the words [N, W] of an input up in a table."""
    if node.op != "Gather" or int(node.attrs.get("axis", 0)) != 0:
        return False
    table, words = node.inputs
    dtype, rank = dtype_of(table), len(shape_of(table) or ())
    looked_up = rank == 2 and dtype is not None and dtype.kind == "f"
    while words.inputs and words.inputs[0].op in ("Cast", "Identity"):
        words = words.inputs[0].inputs[0]
    given = not words.inputs and not isinstance(words, gs.Constant)
    return looked_up and given and len(shape_of(words) or ()) == 2 and const_value(words) is None


def _completed(layout: Layout) -> Layout:
    """An input's only unknown axis is the one letter, batch or channel, that is missing."""
    missing = [c for c in "NC" if c not in layout.axes]
    if len(missing) == 1 and layout.axes.count("?") == 1:
        return layout.with_axes(layout.axes.replace("?", missing[0]))
    return layout
