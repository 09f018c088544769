"""Which rows of its inputs a part of a node's output is made of.

Behind a class token a transformer's last block needs one row of most of its tensors. This is
where that is known: the choice of a feature layer asks it, and so does the gradient.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from onnxcam.analysis.layout.picks import gathered, inside, sliced
from onnxcam.analysis.layout.row_rules import BY_TRAIT, FUSED, QUANTISED, RULES, Need, Rows
from onnxcam.analysis.layout.rules import axes_of, numbers
from onnxcam.graph import ir
from onnxcam.graph.emit import Tensor, shape_of
from onnxcam.graph.ops import Trait, data_inputs, has

__all__ = ["Need", "Rows", "joined", "needed", "passed", "reach"]

_GATHERS = ("Gather", "GatherElements", "GatherND")


def joined(a: Need, b: Need) -> Need:
    """Return rows that hold both."""
    if a is None or b is None:
        return None
    if a.start == a.stop or b.start == b.stop:
        return b if a.start == a.stop else a
    if (a.axis, a.computed, a.cycle) != (b.axis, b.computed, b.cycle):
        return None
    return replace(a, start=min(a.start, b.start), stop=max(a.stop, b.stop))


def reach(nodes: Sequence[ir.Node], outputs: Iterable[Tensor]) -> dict[int, Need]:
    """Return the rows of each tensor that the outputs depend on, by its ``id``.

    It is the dependence that a gradient sees: the scale of a range that a model computes counts as
    a constant.

    Args:
        nodes: Producers first.
        outputs: Tensors of which everything is asked for.
    """
    known: dict[int, Need] = {id(t): None for t in outputs}
    for node in reversed(nodes):
        for i, y in enumerate(node.outputs):
            if id(y) in known:
                for x, rows in zip(node.inputs, needed(node, known[id(y)], i), strict=True):
                    known[id(x)] = joined(known[id(x)], rows) if id(x) in known else rows
    return known


def needed(node: ir.Node, rows: Need, output: int = 0) -> list[Need]:
    """Return the rows of each input of a node that these rows of an output are made of."""
    if rows is not None and rows.start == rows.stop:
        return [Rows(0, 0, 0)] * len(node.inputs)
    selected = _selected(node, rows, output)
    if selected is not None:
        return selected
    if output > 0 and has(node, Trait.QUANTISES):
        return [Rows(0, 0, 0)] * len(node.inputs)
    if rows is None or (output > 0 and not has(node, Trait.NORMALISES_LAST)):
        return [None] * len(node.inputs)
    return passed(node, rows) or _of_runtime(node, rows) or [None] * len(node.inputs)


def passed(node: ir.Node, rows: Rows) -> list[Need] | None:
    """Return :func:`needed` for a node that does on some rows what it does on all of them.

    None for any other node: one that picks or joins rows, or that is not known.
    """
    if shape_of(node.outputs[0]) is None or node.domain not in (None, "", "ai.onnx"):
        return None
    if node.op in QUANTISED:
        return None
    by_trait = (rule for trait, rule in BY_TRAIT.items() if has(node, trait))
    rule = RULES.get(node.op) or next(by_trait, None)
    found = None if rule is None else rule(node, rows)
    return found if found is not None and any(found) else None


def _of_runtime(node: ir.Node, rows: Rows) -> list[Need] | None:
    """Return :func:`passed` for an operator on quantised tensors, or of ONNX Runtime's own.

    The gradient goes through what they stand for, so that it is not asked of them.
    """
    own = node.domain not in (None, "", "ai.onnx")
    fused = (rule for trait, rule in FUSED.items() if own and has(node, trait))
    rule = QUANTISED.get(node.op) or next(fused, None)
    if rule is None or shape_of(node.outputs[0]) is None:
        return None
    places = data_inputs(node, range(len(node.inputs)))  # scales and zero points lie between
    data: Any = SimpleNamespace(
        op=node.op, inputs=[node.inputs[i] for i in places], outputs=node.outputs, attrs=node.attrs
    )
    needs = dict(zip(places, rule(data, rows) or [None] * len(places), strict=True))
    return [needs.get(i) for i in range(len(node.inputs))]


def _selected(node: ir.Node, rows: Need, output: int) -> list[Need] | None:
    """Return what a node needs that picks or joins rows; None for any other."""
    rank = len(shape_of(node.inputs[0]) or ()) if node.inputs else 0
    if not rank or node.op not in (*_GATHERS, "Slice", "Split", "Concat"):
        return None
    axis = int(node.attrs.get("axis", 0)) % rank
    if rows is not None and rows.cycle and node.op in ("Split", "Concat", "Slice"):
        return None
    if node.op == "Split" and rows is not None and rows.axis == 0 != axis:
        rows = None  # some of the inputs: which part of each of them says more
    if node.op in ("Split", "Concat"):
        return _parts(node, rows, output, axis)
    if node.op == "Slice" and rows is not None and not _slices(node, rows.axis, rank):
        return [rows, *[None] * (len(node.inputs) - 1)]
    found = _slice(node, rank) if node.op == "Slice" else gathered(node)
    if found is None or (node.op == "Slice" and rows is not None and rows.computed):
        return None
    if rows is not None and node.op == "Slice" and not found.computed:
        found = Rows(rows.axis, found.start + rows.start, found.start + rows.stop)
    return [found, *[None] * (len(node.inputs) - 1)]


def _slices(node: ir.Node, axis: int, rank: int) -> bool:
    """Tell whether a Slice may cut an axis."""
    axes = axes_of(node, rank, place=3)
    return axes is None or axis in axes


def _slice(node: ir.Node, rank: int) -> Rows | None:
    """Return the rows that a Slice along one axis takes; None where that is not known."""
    starts, ends, axes = (numbers(node, i, n) for i, n in ((1, "starts"), (2, "ends"), (3, "axes")))
    steps = numbers(node, 4, "steps")
    axis = axes[0] % rank if axes else 0
    if starts is None or ends is None or len(starts) != 1 or steps not in (None, [1]):
        return sliced(node, axis) if axes is not None and len(axes) == 1 else None
    return inside(node.inputs[0], axis, starts[0], ends[0])


def _parts(node: ir.Node, rows: Need, output: int, axis: int) -> list[Need] | None:
    """Split and Concat: rows of the same axis are shifted, those of another stay."""
    split = node.op == "Split"
    if rows is not None and rows.computed and rows.axis == axis:
        return None
    if rows is not None and rows.axis != axis:
        return [rows, *[None] * (len(node.inputs) - 1)] if split else [rows] * len(node.inputs)
    pieces = node.outputs if split else node.inputs
    sizes = [(shape_of(t) or (None,) * (axis + 1))[axis] for t in pieces]
    known = [s for s in sizes if isinstance(s, int)]
    if split:
        before = sizes[:output]
        if not all(isinstance(s, int) for s in sizes[: output + 1]):
            return None
        start = sum(known[: len(before)])
        inner = rows or Rows(axis, 0, known[output])
        return [
            Rows(axis, start + inner.start, start + inner.stop),
            *[None] * (len(node.inputs) - 1),
        ]
    if rows is None or len(known) != len(sizes):
        return None if rows is None else _first_parts(rows, sizes)
    return [_overlap(rows, sum(known[:i]), known[i]) for i in range(len(known))]


def _first_parts(rows: Rows, sizes: Sequence[object]) -> list[Need] | None:
    """As :func:`_parts` for a Concat of which only the sizes of the first pieces are known."""
    found: list[Need] = []
    start = 0
    for size in sizes:
        if not isinstance(size, int):
            break
        found.append(_overlap(rows, start, size))
        start += size
    if start < rows.stop:
        return None
    return [*found, *[Rows(rows.axis, 0, 0)] * (len(sizes) - len(found))]


def _overlap(rows: Rows, start: int, size: int) -> Rows:
    first = min(max(rows.start - start, 0), size)
    return Rows(rows.axis, first, max(first, min(rows.stop - start, size)))
