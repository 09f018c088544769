"""Dimensions that ONNX's shape inference leaves open, found by computing with shapes.

Exporters write ``x.flatten(2)`` as a Reshape to Concat(Slice(Shape(x)), -1), ``token.expand(n)``
as an Expand to Where(Equal(shape, -1), ...). Read with known sizes and symbols, these say what the
result's dimensions are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TypeAlias

import numpy as np

from onnxcam.analysis.layout.values import Values, Vector, cuts_of
from onnxcam.graph import ir
from onnxcam.graph.emit import Dim, Tensor, dtype_of, shape_of
from onnxcam.graph.ops import Trait, data_inputs, has

_Infer: TypeAlias = Callable[[Values, ir.Node], Vector | None]


def refine(graph: ir.Graph) -> None:
    """Fill in dimensions of a graph's tensors that can be computed, in place.

    Args:
        graph: Main graph, with inferred shapes.
    """
    sizes = _Sizes(graph)
    for node in graph.nodes:
        sizes.settle(node)
        sizes.learn(node)
    for node in graph.nodes:
        for tensor in node.outputs:
            if isinstance(tensor.shape, list):
                tensor.shape = sizes.known(tensor.shape)


def settle(graph: ir.Graph) -> None:
    """Put numbers where known sizes give them, in place, in a graph whose shapes are refined."""
    sizes = _Sizes(graph)
    for node in graph.nodes:
        sizes.settle(node)


class _Sizes(Values):
    def __init__(self, graph: ir.Graph) -> None:
        super().__init__()
        self._given = {d for t in graph.inputs for d in shape_of(t) or ()}

    def settle(self, node: ir.Node) -> None:
        """Put numbers in the place of what is computed from sizes and says what a node takes."""
        for i, tensor in enumerate(node.inputs if node.op in _TAKES else ()):
            dtype = dtype_of(tensor)
            if i == 0 or not tensor.inputs or dtype is None or dtype.kind not in "iu":
                continue
            value = self.value(tensor)
            if value is not None and all(isinstance(v, int) for v in value.flat):
                numbers = np.array(value, np.int64)
                node.inputs[i] = ir.Constant(f"{tensor.name}/known", numbers)

    def learn(self, node: ir.Node) -> None:
        """Compute the shapes of a node's outputs and keep what is new in them."""
        compute = _SHAPES.get(node.op, _broadcast if has(node, Trait.ELEMENTWISE) else None)
        shapes: list[Vector | None] = [*_parts(self, node)] if node.op == "Split" else []
        for tensor, shape in zip(node.outputs, shapes, strict=False):
            tensor.shape = list(shape or ()) if tensor.shape is None else tensor.shape
        if compute is not None and node.outputs and isinstance(node.outputs[0].shape, list):
            shapes = [compute(self, node)]
        for tensor, shape in zip(node.outputs, shapes, strict=False):
            self._keep(tensor, shape)

    def _keep(self, tensor: Tensor, found: Vector | None) -> None:
        """Keep what is new in a shape that was computed."""
        if found is None or not isinstance(tensor.shape, list) or len(found) != len(tensor.shape):
            return
        for i, (old, new) in enumerate(zip(self.known(tensor.shape), found, strict=True)):
            if new is None or isinstance(old, int) or old in self._given:
                continue
            if old is None:
                tensor.shape[i] = new
            elif old != new:
                self.rename(str(old), new)


_TAKES = ("Gather", "Pad", "Slice", "Split", "Squeeze", "Tile", "Unsqueeze")


def _gather(sizes: Values, node: ir.Node) -> Vector | None:
    source, index = (sizes.shape(t) for t in node.inputs)
    if source is None or index is None:
        return None
    axis = int(node.attrs.get("axis", 0)) % len(source)
    return [*source[:axis], *index, *source[axis + 1 :]]


def _range(sizes: Values, node: ir.Node) -> Vector | None:
    found = sizes.value(node.outputs[0])
    return None if found is None else [len(found)]


def _reshape(sizes: Values, node: ir.Node) -> Vector | None:
    source = sizes.shape(node.inputs[0])
    target = sizes.vector(node, 1)
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
    rest, left = [d for d in source if d != 1], []
    for d in (d for d in target if d != 1):  # what both sides have needs no number
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


def _expand(sizes: Values, node: ir.Node) -> Vector | None:
    source, target = sizes.shape(node.inputs[0]), sizes.vector(node, 1)
    return None if source is None or target is None else _broadcast_shapes([source, target])


def _broadcast(sizes: Values, node: ir.Node) -> Vector | None:
    shapes = [sizes.shape(t) for t in data_inputs(node, node.inputs)]
    return None if None in shapes else _broadcast_shapes([s for s in shapes if s is not None])


def _broadcast_shapes(shapes: Sequence[list[Dim]]) -> Vector:
    rank = max(map(len, shapes), default=0)
    columns = [[s[i - rank] for s in shapes if len(s) >= rank - i] for i in range(rank)]
    return [_broadcast_dim([d for d in column if d != 1]) for column in columns]


def _broadcast_dim(dims: list[Dim]) -> Dim:
    fixed = [d for d in dims if isinstance(d, int)]
    if fixed:
        return fixed[0]
    return 1 if not dims else dims[0] if all(d == dims[0] for d in dims) else None


def _matmul(sizes: Values, node: ir.Node) -> Vector | None:
    a, b = (sizes.shape(t) for t in node.inputs)
    if a is None or b is None or min(len(a), len(b)) < 2:
        return None
    return [*_broadcast_shapes([a[:-2], b[:-2]]), a[-2], b[-1]]


def _concat(sizes: Values, node: ir.Node) -> Vector | None:
    shapes = [s for s in (sizes.shape(t) for t in node.inputs) if s is not None]
    if len(shapes) != len(node.inputs) or len({len(s) for s in shapes}) != 1:
        return None
    axis = int(node.attrs["axis"]) % len(shapes[0])
    parts = [s[axis] for s in shapes]
    whole = sum(d for d in parts if isinstance(d, int))
    joined: Vector = [_broadcast_dim(list(column)) for column in zip(*shapes, strict=True)]
    joined[axis] = whole if all(isinstance(d, int) for d in parts) else None
    return joined


def _slice(sizes: Values, node: ir.Node) -> Vector | None:
    shape = sizes.shape(node.inputs[0])
    cuts = None if shape is None else cuts_of(sizes, node, len(shape))
    if shape is None or cuts is None:
        return None
    for axis, cut in cuts.items():
        size = shape[axis]
        shape[axis] = len(range(*cut.indices(size))) if isinstance(size, int) else None
    return shape


def _pad(sizes: Values, node: ir.Node) -> Vector | None:
    shape, pads = sizes.shape(node.inputs[0]), sizes.vector(node, 1)
    if shape is None or pads is None or len(pads) != 2 * len(shape):
        return None
    return [
        d if (a, b) == (0, 0) else d + a + b if all(isinstance(v, int) for v in (d, a, b)) else None
        for d, a, b in zip(shape, pads, pads[len(shape) :], strict=False)
    ]


def _parts(sizes: Values, node: ir.Node) -> list[Vector]:
    """What a Split makes, where a computed list says how long each of its outputs is."""
    shape = sizes.shape(node.inputs[0])
    lengths = sizes.vector(node, 1) if len(node.inputs) > 1 else None
    if not shape or lengths is None or len(lengths) != len(node.outputs):
        return []
    axis = int(node.attrs.get("axis", 0)) % len(shape)
    return [[*shape[:axis], length, *shape[axis + 1 :]] for length in lengths]


def _windows(sizes: Values, node: ir.Node) -> Vector | None:
    """A convolution or a pool over a size that ONNX's inference did not know."""
    shape = sizes.shape(node.inputs[0])
    filters = sizes.shape(node.inputs[1]) if node.op == "Conv" else None
    kernel = node.attrs.get("kernel_shape") or (filters or [])[2:]
    given = str(node.attrs.get("auto_pad", "NOTSET")) in ("NOTSET", "VALID", "")
    if shape is None or len(shape) != len(kernel) + 2 or node.attrs.get("ceil_mode") or not given:
        return None
    ones = [1] * len(kernel)
    steps, wide = (node.attrs.get(name) or ones for name in ("strides", "dilations"))
    pads = node.attrs.get("pads") or [0, 0] * len(kernel)
    space: Vector = []
    for i, (size, taps) in enumerate(zip(shape[2:], kernel, strict=True)):
        spare = pads[i] + pads[i + len(kernel)]
        fits = isinstance(size, int) and isinstance(taps, int)
        taken = wide[i] * (taps - 1) + 1 if fits else 0
        space.append((size + spare - taken) // steps[i] + 1 if fits else None)
    return [shape[0], shape[1] if filters is None else filters[0], *space]


_SHAPES: dict[str, _Infer] = {
    **dict.fromkeys(("AveragePool", "Conv", "LpPool", "MaxPool"), _windows),
    "Gather": _gather,
    "Range": _range,
    "Slice": _slice,
    "Reshape": _reshape,
    "Expand": _expand,
    "MatMul": _matmul,
    "Concat": _concat,
    "Pad": _pad,
}
