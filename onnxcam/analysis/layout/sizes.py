"""Dimensions that ONNX's shape inference leaves open, found by computing with shapes.

Exporters write ``x.flatten(2)`` as a Reshape to Concat(Slice(Shape(x)), -1), ``token.expand(n)``
as an Expand to Where(Equal(shape, -1), ...). Read with known sizes and symbols, these say what the
result's dimensions are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, TypeAlias

import numpy as np
import onnx_graphsurgeon as gs

from onnxcam.analysis.layout.rules import axes_of, numbers
from onnxcam.graph.emit import Dim, Tensor, const_value, shape_of
from onnxcam.graph.ops import Trait, data_inputs, has

_Vector: TypeAlias = "list[Any]"  # of ints, truth values, symbols and None
_Compute: TypeAlias = Callable[["_Sizes", gs.Node], "_Vector | None"]
_LONGEST = 32  # elements of a vector that is looked at


def refine(graph: gs.Graph) -> None:
    """Fill in dimensions of a graph's tensors that can be computed, in place.

    Args:
        graph: Main graph, with inferred shapes.
    """
    sizes = _Sizes(graph)
    for node in graph.nodes:
        sizes.learn(node)
    for node in graph.nodes:
        for tensor in node.outputs:
            if isinstance(tensor.shape, list):
                tensor.shape = sizes.known(tensor.shape)


class _Sizes:
    def __init__(self, graph: gs.Graph) -> None:
        self._given = {d for t in graph.inputs for d in shape_of(t) or ()}
        self._names: dict[str, Dim] = {}
        self._values: dict[int, _Vector | None] = {}

    def known(self, shape: Sequence[Dim]) -> list[Dim]:
        """Return a shape with the symbols replaced whose meaning was found."""
        return [self._names.get(d, d) if isinstance(d, str) else d for d in shape]

    def shape(self, tensor: Tensor) -> list[Dim] | None:
        shape = shape_of(tensor)
        return None if shape is None else self.known(shape)

    def learn(self, node: gs.Node) -> None:
        """Compute the shape of a node's output and keep what is new in it."""
        y = node.outputs[0] if node.outputs else None
        compute = _SHAPES.get(node.op, _broadcast if has(node, Trait.ELEMENTWISE) else None)
        if y is None or compute is None or not isinstance(y.shape, list):
            return
        found = compute(self, node)
        if found is None or len(found) != len(y.shape):
            return
        for i, (old, new) in enumerate(zip(self.known(y.shape), found, strict=True)):
            if new is None or isinstance(old, int) or old in self._given:
                continue
            if old is None:
                y.shape[i] = new
            elif old != new:
                self._names = {k: new if v == old else v for k, v in self._names.items()}
                self._names[old] = new

    def value(self, tensor: Tensor) -> _Vector | None:
        """Return the elements of a small integer tensor: numbers, symbols and None."""
        if id(tensor) not in self._values:
            self._values[id(tensor)] = self._computed(tensor)
        return self._values[id(tensor)]

    def _computed(self, tensor: Tensor) -> _Vector | None:
        shape = shape_of(tensor)
        if shape is None or len(shape) > 1 or (shape and not _short(shape[0])):
            return None
        fixed = const_value(tensor)
        if fixed is not None:
            return [v.item() for v in np.ravel(fixed)]
        if not tensor.inputs or tensor.inputs[0].op not in _VALUES:
            return None
        found = _VALUES[tensor.inputs[0].op](self, tensor.inputs[0])
        return found if found is not None and len(found) == (shape or (1,))[0] else None


def _short(size: Dim) -> bool:
    return isinstance(size, int) and size <= _LONGEST


# ---- the elements of integer vectors


def _shape_value(sizes: _Sizes, node: gs.Node) -> _Vector | None:
    shape = sizes.shape(node.inputs[0])
    return None if shape is None else shape[node.attrs.get("start", 0) : node.attrs.get("end")]


def _first(sizes: _Sizes, node: gs.Node) -> _Vector | None:
    return sizes.value(node.inputs[0])


def _gather_value(sizes: _Sizes, node: gs.Node) -> _Vector | None:
    values, picked = (sizes.value(t) for t in node.inputs)
    if values is None or picked is None or not all(isinstance(i, int) for i in picked):
        return None
    return [values[i] for i in picked]


def _slice_value(sizes: _Sizes, node: gs.Node) -> _Vector | None:
    values = sizes.value(node.inputs[0])
    bounds = [numbers(node, i, n) for i, n in ((1, "starts"), (2, "ends"))]
    if values is None or None in bounds or numbers(node, 4, "steps") not in (None, [1]):
        return None
    return values[bounds[0][0] : bounds[1][0]]  # type: ignore[index]


def _concat_value(sizes: _Sizes, node: gs.Node) -> _Vector | None:
    parts = [sizes.value(t) for t in node.inputs]
    return None if None in parts else [v for part in parts for v in part or ()]


def _filled(sizes: _Sizes, node: gs.Node) -> _Vector | None:
    shape = sizes.value(node.inputs[0])
    if shape is None or not all(isinstance(d, int) for d in shape):
        return None
    value = node.attrs.get("value")
    return [0 if value is None else np.ravel(value.values)[0].item()] * prod(shape)


def _elementwise(function: Callable[..., Any]) -> _Compute:
    def compute(sizes: _Sizes, node: gs.Node) -> _Vector | None:
        operands = [sizes.value(t) for t in node.inputs]
        if None in operands:
            return None
        longest = max(len(o) for o in operands if o is not None)
        columns = [o * longest if len(o) == 1 else o for o in operands if o is not None]
        return [function(*row) for row in zip(*columns, strict=True)]

    return compute


def _arithmetic(function: Callable[[int, int], int], neutral: int | None) -> _Compute:
    """Compute with numbers; a symbol stays what it is with the neutral element."""

    def compute(a: Any, b: Any) -> Any:
        if isinstance(a, int) and isinstance(b, int):
            return function(a, b)
        return a if b == neutral else None

    return _elementwise(compute)


def _equal(a: Any, b: Any) -> bool | None:
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    numbers_ = [v for v in (a, b) if isinstance(v, int)]
    if None in (a, b) or not numbers_:
        return True if a == b and a is not None else None
    return False if numbers_[0] < 0 else None  # a dimension is never negative


def _where(condition: Any, a: Any, b: Any) -> Any:
    if condition is None:
        return a if a == b else None
    return a if condition else b


_VALUES: dict[str, _Compute] = {
    "Shape": _shape_value,
    **dict.fromkeys(("Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape"), _first),
    "Gather": _gather_value,
    "Slice": _slice_value,
    "Concat": _concat_value,
    "ConstantOfShape": _filled,
    "Add": _arithmetic(lambda a, b: a + b, 0),
    "Sub": _arithmetic(lambda a, b: a - b, 0),
    "Mul": _arithmetic(lambda a, b: a * b, 1),
    "Div": _arithmetic(lambda a, b: int(a / b) if b else 0, 1),
    "Equal": _elementwise(_equal),
    "Where": _elementwise(_where),
}


# ---- the shapes of outputs


def _reshape(sizes: _Sizes, node: gs.Node) -> _Vector | None:
    source = sizes.shape(node.inputs[0])
    target = sizes.value(node.inputs[1]) if len(node.inputs) > 1 else None
    if source is None or target is None:
        return None
    if not node.attrs.get("allowzero", 0):
        target = [source[i] if d == 0 and i < len(source) else d for i, d in enumerate(target)]
    if target.count(-1) != 1:
        return target
    whole = _left_over(source, [d for d in target if d != -1])
    return [whole if d == -1 else d for d in target]


def _left_over(source: list[Dim], target: list[Dim]) -> Dim:
    """Return the dimension that makes the target hold as many elements; None if unknown."""
    rest, left = list(source), []
    for d in target:  # what both sides have needs no number
        if d is not None and d in rest:
            rest.remove(d)
        else:
            left.append(d)
    if len(rest) == 1 and not left:
        return rest[0]
    whole = [d for d in rest if isinstance(d, int)]
    part = [d for d in left if isinstance(d, int)]
    if len(whole) < len(rest) or len(part) < len(left) or not prod(part):
        return None
    return prod(whole) // prod(part)


def _expand(sizes: _Sizes, node: gs.Node) -> _Vector | None:
    source, target = sizes.shape(node.inputs[0]), sizes.value(node.inputs[1])
    return None if source is None or target is None else _broadcast_shapes([source, target])


def _broadcast(sizes: _Sizes, node: gs.Node) -> _Vector | None:
    shapes = [sizes.shape(t) for t in data_inputs(node, node.inputs)]
    return None if None in shapes else _broadcast_shapes([s for s in shapes if s is not None])


def _broadcast_shapes(shapes: Sequence[list[Dim]]) -> _Vector:
    rank = max(map(len, shapes), default=0)
    columns = [[s[i - rank] for s in shapes if len(s) >= rank - i] for i in range(rank)]
    return [_broadcast_dim([d for d in column if d != 1]) for column in columns]


def _broadcast_dim(dims: list[Dim]) -> Dim:
    fixed = [d for d in dims if isinstance(d, int)]
    if fixed:
        return fixed[0]
    return 1 if not dims else dims[0] if all(d == dims[0] for d in dims) else None


def _matmul(sizes: _Sizes, node: gs.Node) -> _Vector | None:
    a, b = (sizes.shape(t) for t in node.inputs)
    if a is None or b is None or min(len(a), len(b)) < 2:
        return None
    return [*_broadcast_shapes([a[:-2], b[:-2]]), a[-2], b[-1]]


def _concat(sizes: _Sizes, node: gs.Node) -> _Vector | None:
    shapes = [s for s in (sizes.shape(t) for t in node.inputs) if s is not None]
    if len(shapes) != len(node.inputs) or len({len(s) for s in shapes}) != 1:
        return None
    axis = int(node.attrs["axis"]) % len(shapes[0])
    parts = [s[axis] for s in shapes]
    whole = sum(d for d in parts if isinstance(d, int))
    joined: _Vector = [_broadcast_dim(list(column)) for column in zip(*shapes, strict=True)]
    joined[axis] = whole if all(isinstance(d, int) for d in parts) else None
    return joined


def _slice(sizes: _Sizes, node: gs.Node) -> _Vector | None:
    shape = sizes.shape(node.inputs[0])
    starts, ends = (numbers(node, i, n) for i, n in ((1, "starts"), (2, "ends")))
    if shape is None or starts is None or ends is None:
        return None
    axes = axes_of(node, len(shape), place=3) or list(range(len(starts)))
    steps = numbers(node, 4, "steps") or [1] * len(starts)
    result: _Vector = list(shape)
    for axis, *cut in zip(axes, starts, ends, steps, strict=True):
        size = shape[axis]
        result[axis] = len(range(*slice(*cut).indices(size))) if isinstance(size, int) else None
    return result


_SHAPES: dict[str, _Compute] = {
    "Slice": _slice,
    "Reshape": _reshape,
    "Expand": _expand,
    "MatMul": _matmul,
    "Concat": _concat,
}
