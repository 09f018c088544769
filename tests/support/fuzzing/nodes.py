"""What random graphs are made of: one function an operator family, in every version's spelling."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from support.fuzzing.graphs import FAMILIES, Scope, UnfitError, axis_of, family

# ---- elementwise

_UNARY: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in ("Relu", "Sigmoid", "Tanh", "Softplus", "Elu", "Selu", "Neg", "Abs",
                              "Erf", "Sin", "Cos", "Gelu", "Mish", "HardSwish", "Softsign",
                              "Identity", "HardSigmoid", "Celu", "Atan", "Exp", "Dropout",
                              "Sign", "Floor")),
    ("LeakyRelu", {"alpha": 0.2}), ("ThresholdedRelu", {"alpha": 0.3}),
    ("Gelu", {"approximate": "tanh"}), ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}),
]  # fmt: skip


@family
def _unary(s: Scope) -> str:
    op_type, attributes = s.one_of(_UNARY)
    return s.add(op_type, [s.pick()], **attributes)


@family
def _positive(s: Scope) -> str:
    x = s.pick()
    above = s.add("Add", [s.add("Mul", [x, x]), s.const(np.float32(0.7))])
    op_type = s.one_of(["Sqrt", "Log", "Reciprocal", "Div", "Pow"])
    if op_type == "Div":
        return s.add("Div", [s.pick(), above])
    if op_type == "Pow":
        return s.add("Pow", [above, s.const(np.float32(s.one_of([0.5, 2, 1.5])))])
    return s.add(op_type, [above])


@family
def _binary(s: Scope) -> str:
    x, y = s.pick(), s.pick()
    if s.chance(0.3):
        shape = [d if s.chance(0.5) else 1 for d in s.shape(x)]
        y = s.const(s.floats(*shape[s.integers(0, len(shape), 1)[0] :]))
    pair = [x, y] if s.chance(0.5) else [y, x]
    return s.add(s.one_of(["Add", "Sub", "Mul", "Mul", "Max", "Min", "Mean", "Sum"]), pair)


@family
def _many(s: Scope) -> str:
    x = s.pick()
    return s.add(s.one_of(["Sum", "Mean", "Max", "Min"]), [x, s.pick(), x][: s.one_of([1, 3])])


@family
def _clip(s: Scope) -> str:
    x = s.pick()
    if s.opset < 11:
        return s.add("Clip", [x], min=-0.6, max=0.8)
    low, high = (s.const(np.float32(v)) for v in (-0.6, 0.8))
    return s.add("Clip", s.one_of([[x, low, high], [x, "", high], [x, low], [x]]))


@family
def _prelu(s: Scope) -> str:
    x = s.pick(2)
    channels = s.shape(x)[1]
    return s.add("PRelu", [x, s.const(s.floats(channels, *[1] * (len(s.shape(x)) - 2)))])


@family
def _where(s: Scope) -> str:
    x, y = s.pick(), s.pick()
    if s.chance(0.5):
        condition = s.add(s.one_of(["Greater", "Less"]), [x, s.const(np.float32(0.1))])
    else:
        condition = s.const(s.rng.random(s.shape(x)) < 0.5)
    return s.add("Where", [condition, x, y] if s.chance(0.5) else [condition, y, x])


@family
def _double(s: Scope) -> str:
    x = s.add("Cast", [s.pick()], to=TensorProto.DOUBLE)
    s.pool.remove(x)  # in double: no partner of the others
    return s.add("Cast", [x], to=TensorProto.FLOAT)


# ---- convolutions, pools, normalisations


def _windows(s: Scope, n: int, *, dilate: bool = True) -> dict[str, Any]:
    attributes: dict[str, Any] = {"kernel_shape": s.integers(1, 3, n)}
    if s.chance(0.6):
        # A stride above the window is refused with auto_pad.
        attributes["strides"] = [int(s.rng.integers(1, k + 1)) for k in attributes["kernel_shape"]]
    if dilate and s.chance(0.3):
        attributes["dilations"] = s.integers(1, 2, n)
    kind = s.rng.random()
    kernel = attributes["kernel_shape"]
    if kind < 0.5:
        attributes["pads"] = [int(s.rng.integers(k)) for k in kernel * 2]
    elif kind < 0.7 and "dilations" not in attributes:
        attributes["auto_pad"] = s.one_of(["SAME_UPPER", "SAME_LOWER", "VALID"])
    return attributes


@family
def _conv(s: Scope) -> str:
    x = s.pick(3, 5)
    channels = s.shape(x)[1]
    attributes = _windows(s, len(s.shape(x)) - 2)
    group = s.one_of([g for g in range(1, channels + 1) if channels % g == 0])
    inner = group * s.one_of([1, 2])
    kernel = attributes["kernel_shape"]
    if s.chance(0.3):
        attributes.pop("auto_pad", None)
        w = s.const(s.floats(channels, inner // group, *kernel) / 2)
        op_type = "ConvTranspose"
    else:
        w, op_type = s.const(s.floats(inner, channels // group, *kernel) / 2), "Conv"
    if s.chance(0.3):
        del attributes["kernel_shape"]
    inputs = s.one_of([[x, w], [x, w, ""], [x, w, s.const(s.floats(inner))]])
    return s.add(op_type, inputs, group=group, **attributes)


@family
def _pool(s: Scope) -> str:
    x = s.pick(3, 5)
    op_type = s.one_of(["MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool"])
    if op_type.startswith("Global"):
        return s.add(op_type, [x])
    dilate = s.opset >= {"MaxPool": 10, "AveragePool": 19, "LpPool": 18}[op_type]
    attributes = _windows(s, len(s.shape(x)) - 2, dilate=dilate)
    if s.opset >= {"MaxPool": 10, "AveragePool": 10, "LpPool": 18}[op_type]:
        # In a Scan's body onnx keeps no shapes to count by: its window too many stays there.
        plain = "auto_pad" not in attributes and not (s.is_body and "pads" in attributes)
        attributes["ceil_mode"] = int(s.chance(0.5) and plain)
    if op_type == "AveragePool":
        attributes["count_include_pad"] = int(s.chance(0.5))
    return s.add(op_type, [x], **attributes)


@family
def _norm(s: Scope) -> str:
    x = s.pick(3, 4)
    c = s.shape(x)[1]
    scale, bias, mean = (s.const(s.floats(c)) for _ in range(3))
    kind = s.one_of(["BatchNormalization", "InstanceNormalization", "LRN", "GroupNormalization",
                     "MeanVarianceNormalization"])  # fmt: skip
    if kind == "BatchNormalization":
        variance = s.const(s.floats(c, positive=True))
        return s.add(kind, [x, scale, bias, mean, variance], epsilon=1e-3)
    if kind == "MeanVarianceNormalization":
        if s.values[x].std(axis=(0, 2)).min() < 0.1:
            raise UnfitError  # nearly a pole
        return s.add(kind, [x], axes=[0, 2])
    if kind == "LRN":
        return s.add(kind, [x], size=s.one_of([1, 3]), alpha=0.3, beta=0.7)
    if kind == "GroupNormalization":
        if s.opset < 21:
            raise UnfitError
        return s.add(kind, [x, scale, bias], num_groups=c, epsilon=0.05, stash_type=1)
    return s.add(kind, [x, scale, bias], epsilon=0.05)


@family
def _layer_norm(s: Scope) -> str:
    x = s.pick(1)
    axis = axis_of(s, x)
    tail = s.shape(x)[axis:]
    inputs = [x, s.const(s.floats(*tail))] + ([s.const(s.floats(*tail))] if s.chance(0.5) else [])
    return s.add("LayerNormalization", inputs, axis=axis, epsilon=0.05)


@family
def _softmax(s: Scope) -> str:
    x = s.pick(1)
    # Before opset 13 they flatten first, which the reference evaluator forgets.
    axis = axis_of(s, x) if s.opset >= 13 else len(s.shape(x)) - 1
    return s.add(s.one_of(["Softmax", "LogSoftmax", "Softmax", "Hardmax"]), [x], axis=axis)


@family
def _matmul(s: Scope) -> str:
    x = s.pick(1)
    other = s.pick(1) if s.chance(0.3) else s.const(s.floats(s.shape(x)[-1], s.one_of([1, 2, 4])))
    if s.chance(0.2):
        rank = len(s.shape(x))
        other = s.add("Transpose", [x], perm=[*range(rank - 2), rank - 1, rank - 2])
    return s.add("MatMul", [x, other])


@family
def _gemm(s: Scope) -> str:
    x = s.pick(2, 2)
    a, b = int(s.chance(0.3)), int(s.chance(0.5))
    inner, out = s.shape(x)[1 - a], s.one_of([1, 2, 4])
    w = s.const(s.floats(*((out, inner) if b else (inner, out))))
    inputs = [x, w]
    if s.opset < 11 or s.chance(0.6):
        inputs.append(s.const(s.floats(*s.one_of([(out,), (1, out), (1, 1)]))))
    elif s.chance(0.5):
        inputs.append("")
    return s.add("Gemm", inputs, transA=a, transB=b, alpha=0.7, beta=1.3)


FAMILIES += [_unary, _binary, _conv, _pool] * 3  # what networks are mostly made of
