"""The elements of small integer tensors, as far as a graph says them: what shapes are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from onnxcam.analysis.layout.rules import numbers
from onnxcam.graph import ir
from onnxcam.graph.emit import Dim, Tensor, const_value, shape_of

Vector: TypeAlias = list[Any]  # of ints, symbols and None
_Array: TypeAlias = npt.NDArray[np.object_]
_Compute: TypeAlias = Callable[["Values", ir.Node], "_Array | None"]
_LONGEST = 1024  # elements of a tensor that is looked at


class Values:
    """What is known of the elements of tensors."""

    def __init__(self) -> None:
        self._names: dict[str, Dim] = {}
        self._values: dict[int, _Array | None] = {}

    def known(self, shape: Sequence[Dim]) -> list[Dim]:
        """Return a shape with the symbols replaced whose meaning was found."""
        return [self._names.get(d, d) if isinstance(d, str) else d for d in shape]

    def rename(self, old: str, new: Dim) -> None:
        """Keep the meaning of a symbol."""
        self._names = {k: new if v == old else v for k, v in self._names.items()}
        self._names[old] = new

    def shape(self, tensor: Tensor) -> list[Dim] | None:
        """Return the shape of a tensor; None where its rank is unknown."""
        shape = shape_of(tensor)
        return None if shape is None else self.known(shape)

    def value(self, tensor: Tensor) -> _Array | None:
        """Return the elements of a small integer tensor: numbers, symbols and None."""
        if id(tensor) not in self._values:
            self._values[id(tensor)] = self._computed(tensor)
        return self._values[id(tensor)]

    def _computed(self, tensor: Tensor) -> _Array | None:
        shape = shape_of(tensor)
        if shape is None or prod(d for d in shape if isinstance(d, int)) > _LONGEST:
            return None
        fixed = const_value(tensor)
        if fixed is not None:
            return np.asarray(fixed).astype(object)
        node = tensor.inputs[0] if tensor.inputs else None
        if node is None or node.op not in _VALUES or node.outputs[0] is not tensor:
            return None
        try:
            found = _VALUES[node.op](self, node)
        except (
            ValueError,
            IndexError,
        ):  # shapes that contradict each other: for the runtime to say
            return None
        return found if found is None or found.ndim == len(shape) else None

    def vector(self, node: ir.Node, place: int) -> Vector | None:
        """Return the elements of an input that is a short vector; None where there is none."""
        given = len(node.inputs) > place and bool(node.inputs[place].name)
        found = self.value(node.inputs[place]) if given else None
        return None if found is None else found.ravel().tolist()


def _shape_value(sizes: Values, node: ir.Node) -> _Array | None:
    shape = sizes.shape(node.inputs[0])
    if shape is None:
        return None
    return np.array(shape[node.attrs.get("start", 0) : node.attrs.get("end")], dtype=object)


def _first(sizes: Values, node: ir.Node) -> _Array | None:
    return sizes.value(node.inputs[0])


def _viewed(sizes: Values, node: ir.Node) -> _Array | None:
    values, shape = sizes.value(node.inputs[0]), shape_of(node.outputs[0])
    if values is None or shape is None or sum(not isinstance(d, int) for d in shape) > 1:
        return None
    if node.op == "Transpose":
        return values.transpose(node.attrs.get("perm"))
    return values.reshape([d if isinstance(d, int) else -1 for d in shape])


def _gather_value(sizes: Values, node: ir.Node) -> _Array | None:
    values, picked = (sizes.value(t) for t in node.inputs)
    if values is None or picked is None or not all(isinstance(i, int) for i in picked.flat):
        return None
    axis = int(node.attrs.get("axis", 0))
    return np.asarray(np.take(values, picked.astype(int), axis), dtype=object)


def _slice_value(sizes: Values, node: ir.Node) -> _Array | None:
    values = sizes.value(node.inputs[0])
    cuts = None if values is None else cuts_of(sizes, node, values.ndim)
    if values is None or cuts is None:
        return None
    return values[tuple(cuts.get(i, slice(None)) for i in range(values.ndim))]


def cuts_of(sizes: Values, node: ir.Node, rank: int) -> dict[int, slice] | None:
    """Return what a Slice takes, by axis; None where that is not known."""
    said = [
        numbers(node, i, name) or sizes.vector(node, i)
        for i, name in ((1, "starts"), (2, "ends"), (3, "axes"), (4, "steps"))
    ]
    starts, ends, axes, steps = said
    if starts is None or ends is None or not all(isinstance(d, int) for d in (*starts, *ends)):
        return None
    cuts = map(slice, starts, ends, steps or [None] * len(starts))
    return {a % rank: cut for a, cut in zip(axes or range(len(starts)), cuts, strict=True)}


def _concat_value(sizes: Values, node: ir.Node) -> _Array | None:
    parts = [p for t in node.inputs if (p := sizes.value(t)) is not None]
    return (
        np.concatenate(parts, int(node.attrs["axis"])) if len(parts) == len(node.inputs) else None
    )


def _filled(sizes: Values, node: ir.Node) -> _Array | None:
    shape = sizes.vector(node, 0)
    if shape is None or not all(isinstance(d, int) for d in shape) or prod(shape) > _LONGEST:
        return None
    value = node.attrs.get("value")
    return np.full(shape, 0 if value is None else np.ravel(value.values)[0].item(), dtype=object)


def _run(sizes: Values, node: ir.Node) -> _Array | None:
    """The numbers of a Range."""
    ends = [sizes.value(t) for t in node.inputs]
    numbers_ = [e.item() for e in ends if e is not None and e.size == 1]
    if len(numbers_) < 3 or not all(isinstance(n, int) for n in numbers_) or not numbers_[2]:
        return None
    found = np.arange(*numbers_).astype(object)
    return found if found.size <= _LONGEST else None


def _elementwise(function: Callable[..., Any]) -> _Compute:
    def compute(sizes: Values, node: ir.Node) -> _Array | None:
        operands = [o for t in node.inputs if (o := sizes.value(t)) is not None]
        if len(operands) < len(node.inputs):
            return None
        return np.asarray(np.frompyfunc(function, len(operands), 1)(*operands), dtype=object)

    return compute


def _arithmetic(function: Callable[[int, int], int | None], neutral: int | None) -> _Compute:
    """Compute with numbers; a symbol stays what it is with the neutral element."""

    def compute(a: Any, b: Any) -> Any:
        if isinstance(a, int) and isinstance(b, int):
            return function(a, b)
        return a if b == neutral else None

    return _elementwise(compute)


def _remainder(sizes: Values, node: ir.Node) -> _Array | None:
    python = _arithmetic(lambda a, b: a % b if b else None, None)  # the divisor's sign, as ONNX has
    return None if node.attrs.get("fmod", 0) else python(sizes, node)


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
    **dict.fromkeys(("Identity", "Cast"), _first),
    **dict.fromkeys(("Squeeze", "Unsqueeze", "Reshape", "Transpose"), _viewed),
    "Gather": _gather_value,
    "Slice": _slice_value,
    "Concat": _concat_value,
    "ConstantOfShape": _filled,
    "Range": _run,
    "Max": _elementwise(lambda *v: max(v) if all(isinstance(n, int) for n in v) else None),
    "Min": _elementwise(lambda *v: min(v) if all(isinstance(n, int) for n in v) else None),
    "Add": _arithmetic(lambda a, b: a + b, 0),
    "Sub": _arithmetic(lambda a, b: a - b, 0),
    "Mul": _arithmetic(lambda a, b: a * b, 1),
    "Div": _arithmetic(lambda a, b: int(a / b) if b else 0, 1),
    "Mod": _remainder,
    "Neg": _elementwise(lambda a: -a if isinstance(a, int) else None),
    "Equal": _elementwise(_equal),
    "Where": _elementwise(_where),
}
