"""Operators that move, repeat, pick and add up elements, in every version's spelling."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper

from support.fuzzing.graphs import Scope, UnfitError, axis_of, family


def _axes(s: Scope, since: int, x: str, axes: list[int] | None, op_type: str, **more: Any) -> str:
    """Add a node whose axes became an input in opset ``since``."""
    if axes is None:
        return s.add(op_type, [x], **more)
    if s.opset >= since:
        return s.add(op_type, [x, s.const(np.array(axes, np.int64))], **more)
    return s.add(op_type, [x], axes=axes, **more)


def _ints(s: Scope, *values: int) -> str:
    return s.const(np.array(values, np.int64))


@family
def _reshape(s: Scope) -> str:
    x = s.pick(1)
    shape = list(s.shape(x))
    if len(shape) > 1 and s.chance(0.6):
        at = int(s.rng.integers(len(shape) - 1))
        shape[at : at + 2] = [shape[at] * shape[at + 1]]
    else:
        at = int(s.rng.integers(len(shape)))
        part = s.one_of([d for d in range(1, shape[at] + 1) if shape[at] % d == 0])
        shape[at : at + 1] = [part, shape[at] // part]
    if s.chance(0.4):
        shape[int(s.rng.integers(len(shape)))] = -1
    if s.chance(0.3) and at > 0 and shape[0] > 0:
        shape[0] = 0
    return s.add("Reshape", [x, _ints(s, *shape)])


@family
def _reshape_by_shape(s: Scope) -> str:
    x = s.pick(2)
    first = s.add("Gather", [s.add("Shape", [x]), _ints(s, 0)])
    return s.add("Reshape", [x, s.add("Concat", [first, _ints(s, -1)], axis=0)])


@family
def _flatten(s: Scope) -> str:
    x = s.pick(1)
    return s.add("Flatten", [x], axis=int(s.rng.integers(len(s.shape(x)) + 1)))


@family
def _transpose(s: Scope) -> str:
    x = s.pick(1)
    if s.chance(0.2):
        return s.add("Transpose", [x])
    return s.add("Transpose", [x], perm=s.rng.permutation(len(s.shape(x))).tolist())


@family
def _slice(s: Scope) -> str:
    x = s.pick(1)
    axis = axis_of(s, x)
    size = s.shape(x)[axis]
    start, end = int(s.rng.integers(size)), s.one_of([size, size - 1, 2**31 - 1, -1])
    if s.opset < 10:
        return s.add("Slice", [x], starts=[start], ends=[end], axes=[axis % len(s.shape(x))])
    step = s.one_of([1, 1, 2, -1, -2])
    if step < 0:
        start, end = size - 1 - start, s.one_of([-size - 1, -(2**31)])
    return s.add("Slice", [x, *(_ints(s, v) for v in (start, end, axis, step))])


@family
def _concat(s: Scope) -> str:
    x = s.pick(1)
    axis = axis_of(s, x) % len(s.shape(x))
    around = [d for i, d in enumerate(s.shape(x)) if i != axis]
    others = [
        n for n in s.pool
        if len(s.shape(n)) > axis and [d for i, d in enumerate(s.shape(n)) if i != axis] == around
    ]  # fmt: skip
    return s.add("Concat", [x, s.one_of(others), s.one_of(others)], axis=axis)


@family
def _split(s: Scope) -> str:
    x = s.pick(1)
    axis = axis_of(s, x)
    size = s.shape(x)[axis]
    if size < 2:
        raise UnfitError
    at = int(s.rng.integers(1, size))
    if size % 2 == 0 and s.chance(0.4):
        more = {"num_outputs": 2} if s.opset >= 18 else {}
        return s.add("Split", [x], 2, axis=axis, **more)
    if s.opset >= 13:
        return s.add("Split", [x, _ints(s, at, size - at)], 2, axis=axis)
    return s.add("Split", [x], 2, axis=axis, split=[at, size - at])


@family
def _pad(s: Scope) -> str:
    x = s.pick(1)
    mode = s.one_of(["constant", "constant", "reflect", "edge"])
    pads = [int(s.rng.integers(min(d, 3))) for d in s.shape(x)] * 2
    if s.opset < 11:
        return s.add("Pad", [x], mode=mode, pads=pads, value=0.4)
    inputs = [x, _ints(s, *pads)]
    if mode == "constant" and s.chance(0.5):
        inputs.append(s.const(np.float32(0.4)))
    return s.add("Pad", inputs, mode=mode)


@family
def _gather(s: Scope) -> str:
    x = s.pick(1)
    axis = axis_of(s, x)
    size = s.shape(x)[axis]
    low = -size if s.opset >= 11 else 0
    shape = s.one_of([(), (1,), (2,), (2, 2)])
    return s.add("Gather", [x, s.const(s.rng.integers(low, size, shape))], axis=axis)


@family
def _gather_elements(s: Scope) -> str:
    x = s.pick(1)
    axis = axis_of(s, x)
    index = s.const(s.rng.integers(0, s.shape(x)[axis], s.shape(x)))
    return s.add("GatherElements", [x, index], axis=axis)


@family
def _gather_nd(s: Scope) -> str:
    x = s.pick(2)
    index = np.stack([s.rng.integers(0, d, 3) for d in s.shape(x)[:2]], -1)
    return s.add("GatherND", [x, s.const(index)])


@family
def _scatter(s: Scope) -> str:
    x = s.pick(2)
    update = s.const(s.floats(1, *s.shape(x)[1:]))
    if s.chance(0.5):
        index = s.const(s.rng.integers(0, s.shape(x)[0], (1, *s.shape(x)[1:])))
        return s.add("ScatterElements", [x, index, update], axis=0)
    return s.add("ScatterND", [x, s.const(np.array([[0]])), update])


@family
def _expand(s: Scope) -> str:
    x = s.pick(0, 4)
    shape = [2, *s.shape(x)] if s.chance(0.5) else [3 if d == 1 else d for d in s.shape(x)]
    if s.chance(0.3):
        shape = [1 if i else d for i, d in enumerate(shape)]
    return s.add("Expand", [x, _ints(s, *shape)])


@family
def _tile(s: Scope) -> str:
    x = s.pick(1)
    return s.add("Tile", [x, _ints(s, *s.integers(1, 2, len(s.shape(x))))])


@family
def _squeeze(s: Scope) -> str:
    x = s.pick(1)
    ones = [i for i, d in enumerate(s.shape(x)) if d == 1]
    if not ones:
        raise UnfitError
    return _axes(s, 13, x, s.one_of([None, ones[:1]]), "Squeeze")


@family
def _unsqueeze(s: Scope) -> str:
    x = s.pick(0, 4)
    return _axes(s, 13, x, s.one_of([[0], [len(s.shape(x))], [0, 1]]), "Unsqueeze")


@family
def _reduce(s: Scope) -> str:
    x = s.pick(1)
    name = s.one_of(["Mean", "Sum", "Max", "Min", "L1", "L2", "LogSumExp", "Prod", "SumSquare"])
    axes = s.one_of([None, [axis_of(s, x)], list(range(len(s.shape(x))))[-2:]])
    since = 13 if name == "Sum" else 18
    return _axes(s, since, x, axes, f"Reduce{name}", keepdims=int(s.chance(0.5)))


@family
def _ordered(s: Scope) -> str:
    x = s.pick(1)
    axis = axis_of(s, x)
    kind = s.one_of(["TopK", "CumSum", "ArgMax", "Trilu"])
    if kind == "TopK":
        k = int(s.rng.integers(1, s.shape(x)[axis] + 1))
        return s.add(kind, [x, _ints(s, k)], 2, axis=axis) if s.opset >= 10 else s.add(
            kind, [x], 2, axis=axis, k=k)  # fmt: skip
    if kind == "CumSum":
        return s.add(kind, [x, s.const(np.int64(axis))], exclusive=int(s.chance(0.5)),
                     reverse=int(s.chance(0.5)))  # fmt: skip
    if kind == "Trilu":
        return s.add(kind, [x, s.const(np.int64(s.one_of([-1, 0, 1])))], upper=int(s.chance(0.5)))
    picked = s.add(kind, [x], axis=axis, keepdims=1)
    return s.add("GatherElements", [x, picked], axis=axis)


@family
def _blocks(s: Scope) -> str:
    x = s.pick(4, 4)
    if s.chance(0.5):
        return s.add("SpaceToDepth", [x], blocksize=2)
    more: dict[str, Any] = {"mode": "CRD"} if s.opset >= 11 else {}
    return s.add("DepthToSpace", [x], blocksize=2, **more)


@family
def _resize(s: Scope) -> str:
    x = s.pick(3, 4)
    rank = len(s.shape(x))
    factors = np.array([1, 1, *s.rng.choice([0.5, 1, 1.5, 2], rank - 2)], np.float32)
    mode = s.one_of(["nearest", "linear"])
    if s.opset < 9:
        return s.add("Upsample", [x], mode=mode, scales=factors.tolist())
    scales = s.parameter(factors)
    if s.opset < 11:
        return s.add("Upsample" if s.opset < 10 else "Resize", [x, scales], mode=mode)
    how = s.one_of(["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"])
    more: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": how}
    if mode == "nearest":
        more["nearest_mode"] = s.one_of(["floor", "round_prefer_floor", "ceil"])
    if s.chance(0.4):
        size = [*s.shape(x)[:2], *s.integers(1, 5, rank - 2)]
        return s.add("Resize", [x, *_nothing(s), *_nothing(s), _ints(s, *size)], **more)
    return s.add("Resize", [x, *_nothing(s), scales], **more)


def _nothing(s: Scope) -> list[str]:
    """Return the place of the region, or of scales: left out only from opset 13 on."""
    return [""] if s.opset >= 13 and s.chance(0.7) else [s.parameter([])]


@family
def _einsum(s: Scope) -> str:
    x = s.pick(2, 2)
    return s.add("Einsum", [x, x], equation=s.one_of(["ij,ik->jk", "ij,kj->ik", "ij,ij->i"]))


@family
def _constant_of_shape(s: Scope) -> str:
    x = s.pick(1)
    value = helper.make_tensor("value", 1, [1], [0.5])
    ones = s.add("ConstantOfShape", [s.add("Shape", [x])], value=value)
    return s.add("Mul", [x, ones])
