"""What a small elementwise subgraph computes, found by computing it on sample points.

Exporters spell activations and normalisations out in many ways: x Clip(x + 3, 0, 6) / 6 for
HardSwish, Where(x > 0, x, 0) for ReLU, mean, difference, square, root and quotient for a
LayerNormalization. Nodes that make a tensor of one other tensor, element by element, are a
*curve*, y = f(x): f is evaluated, and its values tell what it is, however it is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxcam.graph import ir
from onnxcam.graph.curve_values import FUNCTIONS, PASSED, REDUCTIONS, Array, reduced_axes
from onnxcam.graph.emit import Tensor, const_value, shape_of

_MOST = 24  # nodes of a curve: GELU by tanh has nine, Mish three, a normalisation ten
_LARGEST = 1 << 16  # elements of a constant that is looked at
_ENDS = (0.001, 0.01, 0.1, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 20.0, 100.0)
POINTS: Array = np.array([-x for x in reversed(_ENDS)] + [0.0, *_ENDS])
_ABOVE = POINTS > 0
_SMALL_POINT = list(POINTS).index(0.1)


@dataclass(frozen=True)
class Curve:
    """Nodes that make a tensor of another one.

    Attributes:
        source: The tensor x.
        nodes: The nodes between, producers first; the last one makes y.
    """

    source: Tensor
    nodes: tuple[ir.Node, ...]

    def at(self, x: Array) -> Array | None:
        """Return f(x), with any reduction over the last axis; None where it cannot be computed."""
        values: dict[int, Any] = {id(self.source): x}
        for node in self.nodes:
            given = [_operand(t, values, x) if t.name else None for t in node.inputs]
            function = FUNCTIONS.get(node.op) or REDUCTIONS[node.op]
            with np.errstate(all="ignore"):
                try:
                    values[id(node.outputs[0])] = function(node, given)
                except (TypeError, ValueError, IndexError, AttributeError, KeyError):
                    return None  # settings that are computed, or contradict each other
        y = np.asarray(values[id(self.nodes[-1].outputs[0])], np.float64)
        return y if y.shape == x.shape else None


def activation(tensor: Tensor) -> Curve | None:
    """Return the activation function whose output a tensor is, None where it is none.

    It bends once, as ReLU, GELU, SiLU, HardSwish, Mish and leaky ones do, or levels off at both
    ends, as Tanh, Sigmoid and ReLU6.
    """
    return next((c for c in _curves(tensor) if _bends(c.at(POINTS))), None)


def rectifier(tensor: Tensor) -> Curve | None:
    """Return the ReLU (or ReLU6 ...) whose output a tensor is, None where it is none.

    What is negative becomes 0, what is positive stays so and rises from 0 on. What is only scaled
    behind a ReLU is no ReLU's output: that is before the scale.
    """
    for curve in _curves(tensor):
        y = curve.at(POINTS)
        if _rectifies(y):
            return curve
        if y is None or _scales(y):
            return None
    return None


def nearest(tensor: Tensor) -> tuple[Tensor, float] | None:
    """Return the next tensor before that one is made of alone, and the slope for small positives.

    None where there is none.
    """
    curve = next(_curves(tensor), None)
    y = None if curve is None else curve.at(POINTS)
    return None if curve is None or y is None else (curve.source, float(_slopes(y)[_SMALL_POINT]))


def normalisation(tensor: Tensor) -> Curve | None:
    """Return the normalisation over one axis whose output a tensor is, None where it is none.

    The output is the same for an input that is three times as large: LayerNormalization,
    RMSNormalization, and what divides by a norm, when they are spelled out.
    """
    return next((c for c in _curves(tensor, rows=True) if _normalises(c)), None)


def _bends(y: Array | None) -> bool:
    if y is None or not np.isfinite(y).all():
        return False
    if _rectifies(y):
        return True
    slopes = _slopes(y)
    left, right, size = slopes[0], slopes[-1], np.abs(y).max()
    if abs(left) + abs(right) < 1e-6 * size:  # levels off
        steps = slopes.max() * _ENDS[0] > 0.1 * (y[-1] - y[0])  # a comparison
        return bool(y[-1] > y[0] and (slopes >= -1e-6 * size).all() and not steps)
    rises = (
        right > 0 and 0.5 < slopes[-2] / right < 2 and bool((slopes[POINTS[:-1] >= 2] > 0).all())
    )
    return rises and abs(left) <= 0.5 * right


def _slopes(y: Array) -> Array:
    """Return the slope behind each point but the last."""
    slopes: Array = np.diff(y) / np.diff(POINTS)
    return slopes


def _scales(y: Array) -> bool:
    """Tell whether f(x) is a x + b with a positive a."""
    slopes = _slopes(y)
    return bool(np.isfinite(slopes).all() and slopes[0] > 0 and np.ptp(slopes) < 1e-3 * slopes[0])


def _rectifies(y: Array | None) -> bool:
    if y is None or not np.isfinite(y).all() or y[~_ABOVE].any():
        return False
    rising = y[_ABOVE]
    return bool((rising > 0).all() and (np.diff(rising) >= 0).all() and rising[0] < 0.1 * rising[4])


def _normalises(curve: Curve) -> bool:
    if not any(node.op in REDUCTIONS for node in curve.nodes):
        return False
    sizes = {v.size for n in curve.nodes for t in n.inputs if (v := _vector(t)) is not None}
    if len(sizes) > 1:
        return False
    x = np.random.default_rng(0).normal(0.5, 1.0, (3, sizes.pop() if sizes else 16))
    y, scaled = curve.at(x), curve.at(3 * x)
    if y is None or scaled is None or not np.isfinite([y, scaled]).all():
        return False
    size = np.abs(y).max()
    return bool(np.abs(y - scaled).max() < 1e-2 * size and np.ptp(y, axis=0).max() > 1e-2 * size)


def _curves(y: Tensor, *, rows: bool = False) -> Iterator[Curve]:
    """Yield the curves that end in a tensor, the shortest first."""
    order = {id(t): i for i, t in enumerate(_sorted(y, rows))}
    frontier, nodes = [y], []
    while True:
        tensor = max(frontier, key=lambda t: order[id(t)])
        node = _step(tensor, rows)
        moving = [] if node is None else _moving(node)
        if node is None or any(id(t) not in order for t in moving):
            return  # a tensor that everything below has to meet in is none of a curve's
        nodes.append(node)
        frontier.remove(tensor)
        frontier += [t for t in _once(moving) if not any(t is f for f in frontier)]
        if len(frontier) == 1:
            yield Curve(frontier[0], tuple(reversed(nodes)))


def _sorted(y: Tensor, rows: bool) -> list[Tensor]:
    """Return the tensors that may be on a curve, sources first: the nearest ones."""
    near, waiting = [y], [y]
    while waiting and len(near) < _MOST:
        node = _step(waiting.pop(0), rows)
        for t in _once(_moving(node) if node is not None else ()):
            if not any(t is n for n in near):
                near.append(t)
                waiting.append(t)
    known, done, found = {id(t) for t in near}, set[int](), list[Tensor]()

    def visit(tensor: Tensor) -> None:
        if id(tensor) in done or id(tensor) not in known:
            return
        done.add(id(tensor))
        node = _step(tensor, rows)
        for t in _moving(node) if node is not None else ():
            visit(t)
        found.append(tensor)

    visit(y)
    return found


def _step(tensor: Tensor, rows: bool) -> ir.Node | None:
    """Return the node that makes a tensor where it can be one of a curve."""
    node = tensor.inputs[0] if tensor.inputs else None
    if node is None or node.domain not in (None, "", "ai.onnx") or node.outputs[0] is not tensor:
        return None
    if rows and node.op in REDUCTIONS:
        return node if _over_one_axis(node) else None
    if node.op not in FUNCTIONS or len(node.inputs) > _MOST:  # Sum and Max take any number
        return None
    fits = all(_value(t) is not None or (rows and _vector(t) is not None) for t in _fixed(node))
    return node if fits else None


def _over_one_axis(node: ir.Node) -> bool:
    axes = reduced_axes(node)
    return axes is not None and len(axes) == 1 and bool(node.attrs.get("keepdims", 1))


def _operands(node: ir.Node) -> Sequence[Tensor]:
    """Return what a node computes with: of a rounding the reals alone, scales do not count."""
    if node.op in REDUCTIONS or node.op in PASSED:
        return node.inputs[:1]
    return [t for t in node.inputs if t.name]


def _moving(node: ir.Node) -> list[Tensor]:
    return [t for t in _operands(node) if const_value(t) is None]


def _fixed(node: ir.Node) -> list[Tensor]:
    return [t for t in _operands(node) if const_value(t) is not None]


def _once(tensors: Sequence[Tensor]) -> list[Tensor]:
    return list({id(t): t for t in tensors}.values())


def _value(tensor: Tensor) -> Any:
    """Return the number that a constant is everywhere, None where it is several."""
    value = _small(tensor)
    if value is None or not value.size or (value != value.flat[0]).any():
        return None
    return value.flat[0]


def _vector(tensor: Tensor) -> Array | None:
    """Return a constant that differs along one axis, as a vector."""
    value = _small(tensor)
    if value is None or value.size < 2 or max(value.shape) != value.size:
        return None
    return None if _value(tensor) is not None else value.ravel()


def _small(tensor: Tensor) -> Array | None:
    shape = shape_of(tensor)
    if shape is not None and np.prod([d for d in shape if isinstance(d, int)]) > _LARGEST:
        return None
    return const_value(tensor)


def _operand(tensor: Tensor, values: dict[int, Any], like: Array) -> Any:
    if id(tensor) in values:
        return values[id(tensor)]
    number = _value(tensor)
    return _vector(tensor) if number is None else number
