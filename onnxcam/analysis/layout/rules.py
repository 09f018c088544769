"""How operators that move, drop or contract axes pass a layout on, forwards and backwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import onnx_graphsurgeon as gs

from onnxcam.analysis.layout.groups import groups
from onnxcam.analysis.layout.records import SPACE, Layout
from onnxcam.graph.emit import Dim, Tensor, const_value, shape_of

Rule: TypeAlias = Callable[[gs.Node, Layout, bool, int], Layout | None]
RULES: dict[str, Rule] = {}


def _rule(*names: str) -> Callable[[Rule], Rule]:
    """Enter ``rule(node, layout, forward, output)``.

    Forwards it gets the layout of the first input and returns that of an output, backwards the
    other way round; None where it cannot tell.
    """

    def enter(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, rule))
        return rule

    return enter


def same(node: gs.Node, layout: Layout, forward: bool, output: int) -> Layout | None:
    """Keep every axis."""
    return layout


@_rule("Transpose")
def _transposed(node: gs.Node, layout: Layout, forward: bool, output: int) -> Layout | None:
    rank = len(layout.axes)
    perm = node.attrs.get("perm", list(range(rank))[::-1])
    if not forward:
        perm = [int(i) for i in np.argsort(perm)]
    return layout.with_axes("".join(layout.axes[i] for i in perm))


@_rule(
    *(f"Reduce{k}" for k in "Mean Sum Max Min L1 L2 Prod SumSquare LogSum LogSumExp".split()),
    "ArgMax",
    "ArgMin",
)
def _reduced(node: gs.Node, layout: Layout, forward: bool, output: int) -> Layout | None:
    axes = axes_of(node, len(layout.axes))
    if axes is None and "axis" in node.attrs:
        axes = [int(node.attrs["axis"]) % len(layout.axes)]
    if node.attrs.get("keepdims", 1):
        tokens = "T" in layout.axes and (axes is None or layout.axes.index("T") in axes)
        return layout.gridless() if tokens else layout
    return layout.without(axes) if forward and axes is not None else None


@_rule("Squeeze")
def _squeezed(node: gs.Node, layout: Layout, forward: bool, output: int) -> Layout | None:
    shape = shape_of(node.inputs[0]) or ()
    axes = axes_of(node, len(shape))
    if axes is None:
        axes = [i for i, d in enumerate(shape) if d == 1]
    return layout.without(axes) if forward else _spread_out(layout, axes, len(shape))


@_rule("Unsqueeze")
def _unsqueezed(node: gs.Node, layout: Layout, forward: bool, output: int) -> Layout | None:
    rank = len(shape_of(node.outputs[0]) or ())
    axes = axes_of(node, rank)
    if axes is None:
        return None
    return _spread_out(layout, axes, rank) if forward else layout.without(axes)


def _spread_out(layout: Layout, axes: list[int], rank: int) -> Layout:
    letters = iter(layout.axes)
    return layout.with_axes("".join("?" if i in axes else next(letters) for i in range(rank)))


@_rule("MatMul", "QLinearMatMul")
def _multiplied(node: gs.Node, layout: Layout, forward: bool, output: int) -> Layout | None:
    """A constant matrix on the right makes channels of channels."""
    matrix = node.inputs[3 if node.op == "QLinearMatMul" else 1]
    weights = shape_of(matrix)
    fixed = isinstance(matrix, gs.Constant) or const_value(matrix) is not None
    if not fixed or weights is None or len(weights) != 2 or layout.axes[-1] != "C":
        return None
    return layout


@_rule("Gather")
def _gathered(node: gs.Node, layout: Layout, forward: bool, output: int) -> Layout | None:
    picked = shape_of(node.inputs[1])
    axis = int(node.attrs.get("axis", 0)) % (len(layout.axes) + (0 if forward else 1))
    if picked == () and forward:
        return layout.without([axis])
    if picked is not None and len(picked) == 1 and layout.axes[axis] not in "TN":
        return layout
    return None


@_rule("Slice")
def _sliced(node: gs.Node, layout: Layout, forward: bool, output: int) -> Layout | None:
    """A slice of tokens may drop class and register tokens, or everything but them."""
    if "T" not in layout.axes:
        return layout
    axis = layout.axes.index("T")
    x, y = shape_of(node.inputs[0]), shape_of(node.outputs[0])
    if x is not None and y is not None and x[axis] == y[axis] and x[axis] is not None:
        return layout
    bounds = [numbers(node, i, name) for i, name in ((1, "starts"), (2, "ends"))]
    steps, axes = numbers(node, 4, "steps"), axes_of(node, len(layout.axes), place=3)
    if not forward or any(b is None or len(b) != 1 for b in bounds) or steps not in (None, [1]):
        return layout if axes is not None and axis not in axes else None
    if axes != [axis]:
        return layout if axes is not None else None
    (start,), (end,) = bounds  # type: ignore[misc]
    return part(layout, (x or (None,) * (axis + 1))[axis], start, end)


@_rule("Split")
def _split(node: gs.Node, layout: Layout, forward: bool, output: int) -> Layout | None:
    axis = int(node.attrs.get("axis", 0)) % len(layout.axes)
    if layout.axes[axis] != "T":
        return layout
    sizes = [s for s in (_size(t, axis) for t in node.outputs[: output + 1]) if isinstance(s, int)]
    if not forward or len(sizes) <= output:
        return None
    return part(layout, _size(node.inputs[0], axis), sum(sizes[:output]), sum(sizes))


def part(layout: Layout, tokens: Dim, start: int, end: int) -> Layout | None:
    """Return the layout of a run of tokens, None where it cuts the grid."""
    cells, prefix = layout.cells, layout.prefix
    if prefix is None:
        return None
    if start < 0 or end < 0:
        total = tokens if isinstance(tokens, int) else None
        if total is None and cells is not None:
            total = prefix + cells + layout.suffix
        if total is None:
            return None
        start, end = (i + total if i < 0 else i for i in (start, end))
    if start > prefix or (cells is not None and end < prefix + cells):
        return None
    if cells is None and end < np.iinfo(np.int32).max:
        return None
    behind = layout.suffix if cells is None else min(layout.suffix, end - prefix - cells)
    return replace(layout, prefix=prefix - start, suffix=behind)


@_rule("Reshape", "Flatten")
def _reshaped(node: gs.Node, layout: Layout, forward: bool, output: int) -> Layout | None:
    """Axes are kept, space becomes tokens, tokens become space; what else is cut is unknown."""
    x, y = shape_of(node.inputs[0]), shape_of(node.outputs[0])
    if x is None or y is None:
        return None
    source, target = (x, y) if forward else (y, x)
    letters, grid = ["?"] * len(target), layout.grid
    for before, after in groups(source, target, batch=layout.axes[:1] == "N"):
        found = _regrouped(layout, source, before, [target[i] for i in after])
        for i, letter in zip(after, found, strict=True):
            letters[i] = letter
        if found == ["T"] and "T" not in [layout.axes[i] for i in before]:
            grid = tuple(source[i] for i in before if source[i] != 1)
    return replace(layout, grid=grid).with_axes("".join(letters))


def _regrouped(
    layout: Layout, source: tuple[Dim, ...], before: list[int], after: list[Dim]
) -> list[str]:
    """Return the letters of the axes that a run of axes becomes."""
    wide = [i for i, d in enumerate(after) if d != 1] or list(range(len(after)))
    letters = [layout.axes[i] for i in before if source[i] != 1]
    letters = letters or [layout.axes[i] for i in before]
    new = ["?"] * len(after)
    if len(letters) == 1 and len(wide) == 1:
        new[wide[0]] = letters[0]
    elif len(letters) > 1 and len(wide) == 1:
        new[wide[0]] = _joined(letters)
    elif len(letters) == 1 and letters[0] in "DHW" and len(wide) == 2:
        new[wide[0]], new[wide[1]] = letters[0], letters[0].lower()
    elif letters == ["T"] and len(wide) == len(layout.grid) and not layout.prefix:
        sizes = [after[i] for i in wide]
        fits = all(
            a == b or not isinstance(a, int) or not isinstance(b, int)
            for a, b in zip(sizes, layout.grid, strict=True)
        )
        for i, letter in zip(wide, SPACE[len(wide)], strict=True):
            new[i] = letter if fits and not layout.suffix else "?"
    return new


def _joined(letters: list[str]) -> str:
    """Return what axes are together: cells and the offsets in them, or neighbours as channels."""
    joined = "".join(letters)
    if joined in ("HW", "DHW"):
        return "T"
    if joined in ("Dd", "Hh", "Ww"):
        return joined[0]
    return "C" if set(joined) <= set("Cdhw") and "C" in joined else "?"


def axes_of(node: gs.Node, rank: int, *, place: int = 1) -> list[int] | None:
    """Return the axes that a node names, as an attribute or an input; None where it does not."""
    axes = numbers(node, place, "axes")
    return None if axes is None else [a % rank for a in axes]


def numbers(node: gs.Node, place: int, name: str) -> list[int] | None:
    """Return what a node says as an attribute or a constant input; None where it does not."""
    value = node.attrs.get(name)
    if value is None and len(node.inputs) > place and node.inputs[place].name:
        value = const_value(node.inputs[place])
    return None if value is None else [int(v) for v in np.atleast_1d(value)]


def _size(tensor: Tensor, axis: int) -> Dim:
    return (shape_of(tensor) or (None,) * (axis + 1))[axis]
