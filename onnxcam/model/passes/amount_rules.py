"""What operators make of small numbers, and how large what they make is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from onnx import AttributeProto, NodeProto, TensorProto

Value: TypeAlias = np.ndarray[Any, Any]
Dims: TypeAlias = tuple[int, ...]
ENDLESS = 2**62  # elements, where there is no number
_TENSOR = 1024  # elements of four bytes that a tensor of its own takes, by what a runtime keeps


class Seen:
    """A node and what is known of its inputs.

    Args:
        node: The node.
        values: Small constants of its graph by name.
        dims: Sizes by name.
    """

    def __init__(
        self, node: NodeProto, values: Mapping[str, Value], dims: Mapping[str, Dims]
    ) -> None:
        self._node, self._values, self._dims = node, values, dims
        self.inputs = len(node.input)

    def value(self, index: int) -> Value:
        """Return the value of an input.

        Raises:
            LookupError: It is not known.
        """
        return self._values[self._node.input[index]]

    def dims(self, index: int) -> Dims | None:
        """Return the sizes of an input; None where they are not known."""
        return self._dims.get(self._node.input[index]) if index < self.inputs else None

    def sizes(self, index: int) -> Dims:
        """Return the whole numbers in an input.

        Raises:
            LookupError: They are not known.
            ValueError: They are none.
        """
        value = self.value(index)
        if value.dtype.kind not in "iu":
            raise ValueError
        return tuple(int(v) for v in value.ravel())

    def given(self, index: int) -> bool:
        """Tell whether there is such an input."""
        return index < self.inputs and self._node.input[index] != ""

    def says(self, index: int) -> bool:
        """Tell whether the value of an input is known."""
        return index < self.inputs and self._node.input[index] in self._values

    def attribute(self, name: str) -> AttributeProto | None:
        """Return an attribute."""
        return next((a for a in self._node.attribute if a.name == name), None)

    def whole(self, name: str, otherwise: int) -> int:
        """Return an attribute that is a whole number."""
        found = self.attribute(name)
        return otherwise if found is None else found.i


# ---- small numbers


def _of(function: Callable[..., Any]) -> Callable[[Seen], Value]:
    return lambda seen: function(*(seen.value(k) for k in range(seen.inputs)))


def _cast(seen: Seen) -> Value:
    floats = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
    return seen.value(0).astype(np.float64 if seen.whole("to", 0) in floats else np.int64)


def _divided(a: Value, b: Value) -> Any:
    return a / b if a.dtype.kind == "f" else a // b


def _shape(seen: Seen) -> Value | None:
    dims = seen.dims(0)
    end = seen.attribute("end")
    part = slice(seen.whole("start", 0), None if end is None else end.i)
    return None if dims is None else np.array(dims[part], np.int64)


def _size(seen: Seen) -> Value | None:
    dims = seen.dims(0)
    return None if dims is None else np.array(min(math.prod(dims), ENDLESS))


def _gathered(seen: Seen) -> Value:
    return np.take(seen.value(0), seen.value(1), axis=seen.whole("axis", 0))


def _joined(seen: Seen) -> Value:
    return np.concatenate([seen.value(k) for k in range(seen.inputs)], seen.whole("axis", 0))


def _part(seen: Seen) -> Value:
    (begin,), (end,) = seen.sizes(1), seen.sizes(2)
    (step,) = seen.sizes(4) if seen.inputs > 4 else (1,)
    row = seen.value(0)
    if row.ndim != 1:
        raise ValueError
    return row[begin:end:step]


VALUES: Mapping[str, Callable[[Seen], Value | None]] = {
    "Identity": _of(np.asarray), "Cast": _cast, "Add": _of(np.add), "Sub": _of(np.subtract),
    "Mul": _of(np.multiply), "Div": _of(_divided), "Neg": _of(np.negative), "Pow": _of(np.power),
    "Mod": _of(np.mod), "Max": _of(lambda *v: np.maximum.reduce(np.broadcast_arrays(*v))),
    "Min": _of(lambda *v: np.minimum.reduce(np.broadcast_arrays(*v))), "Floor": _of(np.floor),
    "Ceil": _of(np.ceil), "Shape": _shape, "Size": _size, "Concat": _joined, "Gather": _gathered,
    "Slice": _part, "ReduceProd": lambda seen: np.asarray(np.prod(seen.value(0))),
    "Squeeze": lambda seen: np.squeeze(seen.value(0)),
    "Unsqueeze": lambda seen: np.atleast_1d(seen.value(0)),
    "Reshape": lambda seen: seen.value(0).reshape(seen.sizes(1)),
}  # fmt: skip


# ---- sizes


def _range(seen: Seen) -> Dims:
    start, end, step = (float(seen.value(k).ravel()[0]) for k in range(3))
    length = (end - start) / step
    return (max(math.ceil(length), 0) if math.isfinite(length) else ENDLESS,)


def _broadcast(*all_dims: Sequence[int]) -> Dims:
    rank = max(map(len, all_dims))
    rows = [(1,) * (rank - len(dims)) + tuple(dims) for dims in all_dims]
    return tuple(max(column) for column in zip(*rows, strict=True))


def _alike(seen: Seen) -> Dims | None:
    """Of an elementwise operator: what all its inputs make together."""
    found = [dims for k in range(seen.inputs) if (dims := seen.dims(k)) is not None]
    return _broadcast(*found) if len(found) == seen.inputs else None


def _tiled(seen: Seen) -> Dims:
    times, dims = seen.sizes(1), seen.dims(0)
    return tuple(n * t for n, t in zip(dims or (1,) * len(times), times, strict=True))


def _padded(seen: Seen) -> Dims:
    said = seen.attribute("pads") or seen.attribute("paddings")
    pads = seen.sizes(1) if said is None else tuple(said.ints)
    half = len(pads) // 2
    dims = seen.dims(0) if seen.inputs < 4 else None
    rows = zip(dims or (1,) * half, pads[:half], pads[half:], strict=True)
    return tuple(max(n + b + e, 0) for n, b, e in rows)


def _resized(seen: Seen) -> Dims | None:
    if seen.says(3):
        return seen.sizes(3)
    said = seen.attribute("scales")
    place = next((k for k in (2, 1) if seen.says(k) and seen.value(k).size), None)
    if said is None and place is None:
        return None
    scales = tuple(said.floats) if said is not None else tuple(seen.value(place or 0).ravel())
    dims = seen.dims(0) or (1,) * len(scales)
    return tuple(int(min(n * float(s), ENDLESS)) for n, s in zip(dims, scales, strict=True))


def _chained(seen: Seen) -> Dims | None:
    found = [seen.dims(k) for k in range(seen.inputs)]
    first, axis = found[0], seen.whole("axis", 0)
    if first is None or any(dims is None for dims in found):
        return None
    length = sum(dims[axis] for dims in found if dims is not None)
    place = axis % len(first)
    return (*first[:place], length, *first[place + 1 :])


def _reshaped(seen: Seen) -> Dims | None:
    wanted, dims = seen.sizes(1), seen.dims(0)
    if min(wanted, default=1) > 0:
        return wanted
    if dims is None or 0 in wanted:
        return None
    rest = math.prod(n for n in wanted if n > 0)
    return tuple(n if n > 0 else math.prod(dims) // rest for n in wanted)


def _picked(seen: Seen) -> Dims | None:
    dims, places, axis = seen.dims(0), seen.dims(1), seen.whole("axis", 0)
    return None if dims is None or places is None else (*dims[:axis], *places, *dims[axis + 1 :])


def _parts_at_least(seen: Seen) -> int:
    """A tensor in a list takes what hundreds of elements do, also an empty one."""
    dims = seen.dims(1)
    if dims:  # a length for each part
        return dims[0] * _TENSOR
    row, axis = seen.dims(0), seen.whole("axis", 0)
    each = max(seen.sizes(1)[0], 1) if seen.given(1) else 1
    return 0 if row is None else -(-row[axis] // each) * _TENSOR


def _listed(name: str) -> Callable[[Seen], Dims | None]:
    """Return what reads sizes from an attribute."""

    def read(seen: Seen) -> Dims | None:
        said = seen.attribute(name)
        return None if said is None else tuple(said.ints)

    return read


_SAME = "Abs Cast Ceil Exp Floor Identity Log Neg Not Relu Round Sigmoid Sin Sqrt Tanh"
_PASSED: Mapping[str, Callable[[Seen], Dims | None]] = {
    **dict.fromkeys(_SAME.split(), lambda seen: seen.dims(0)),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Where", "Equal", "Less", "Greater"), _alike),
    "Reshape": _reshaped,
}
# What makes more than it is given, by numbers alone.
MAKERS: Mapping[str, Callable[[Seen], Dims | None]] = {
    **dict.fromkeys(("RandomNormal", "RandomUniform"), _listed("shape")),
    **dict.fromkeys(("HannWindow", "HammingWindow", "BlackmanWindow"), lambda s: s.sizes(0)),
    **dict.fromkeys(("Col2Im", "CenterCropPad"), lambda seen: seen.sizes(1)),
    "Range": _range, "ConstantOfShape": lambda seen: seen.sizes(0), "Tile": _tiled,
    "Expand": lambda seen: _broadcast(seen.dims(0) or (), seen.sizes(1)),
    "EyeLike": lambda seen: seen.dims(0), "Gather": _picked, "Concat": _chained,
    "Pad": _padded, "Resize": _resized, "Upsample": _resized, "MaxUnpool": lambda s: s.sizes(2),
    "OneHot": lambda seen: (*(seen.dims(0) or ()), int(seen.value(1).ravel()[0])),
    "ConvTranspose": _listed("output_shape"),
    "MelWeightMatrix": lambda seen: (seen.sizes(1)[0] // 2 + 1, seen.sizes(0)[0]),
}  # fmt: skip
SIZES: Mapping[str, Callable[[Seen], Dims | None]] = {**_PASSED, **MAKERS}
# How many elements there are at least, where what is made is no tensor.
LEAST: Mapping[str, Callable[[Seen], int]] = {"SplitToSequence": _parts_at_least}
# What a list of places makes: its size follows from the network's own tensors.
PICKERS = frozenset(("Gather", "GatherND"))
