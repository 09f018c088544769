"""Models of one operator with random attributes and sizes, sensible or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.random import Generator
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
PADS = ("pads", "pads", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
MODES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize")


@dataclass(frozen=True)
class Drawn:
    """A node, the shape of its input ``h``, its constants, and the opset."""

    node: NodeProto
    shape: tuple[int, ...]
    given: Mapping[str, Array] = field(default_factory=dict)
    opset: int = 17


@dataclass(frozen=True)
class Subject:
    """A model from ``x`` to ``y``, an input, and the operator."""

    model: ModelProto
    x: Array
    op: str


def subject(seed: int) -> Subject:
    """Return the model of a seed: x is doubled before the operator."""
    rng = np.random.default_rng(seed)
    op = KINDS[rng.integers(len(KINDS))]
    drawn = DRAW[op](rng, op)
    named = [f"d{i}" for i in range(len(drawn.shape))]
    shape: Any = named if rng.random() < 0.5 else drawn.shape
    given = {name: value for name, value in drawn.given.items() if name in drawn.node.input}
    given["two"] = np.array(2, "f4")
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "two"], ["h"]), drawn.node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in given.items()],
    )
    opsets = [helper.make_opsetid("", drawn.opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    count = int(np.prod(drawn.shape))
    x = rng.permutation(count).reshape(drawn.shape).astype("f4") / 4 + np.float32(0.1)
    return Subject(model, x, op)


def _one(rng: Generator, *values: Any) -> Any:
    return values[rng.integers(len(values))]


def _ints(rng: Generator, low: int, high: int, count: int) -> list[int]:
    return [int(v) for v in rng.integers(low, high + 1, count)]


def _padding(rng: Generator, count: int, most: int) -> dict[str, Any]:
    kind = _one(rng, *PADS)
    return {"pads": _ints(rng, 0, most, 2 * count)} if kind == "pads" else {"auto_pad": kind}


def _convolution(rng: Generator, op: str) -> Drawn:
    n, group = int(rng.integers(1, 3)), int(_one(rng, 1, 1, 2))
    kernel = _ints(rng, 1, 4, n)
    channels, filters = (group * k for k in _ints(rng, 1, 2, 2))
    said: dict[str, Any] = {"strides": _ints(rng, 1, 4, n), "dilations": _ints(rng, 1, 3, n)}
    said = {**said, "group": group, **_padding(rng, n, 3)}
    if rng.random() < 0.5:
        said["kernel_shape"] = kernel
    size = _ints(rng, 1, 8, n)
    front = (filters, channels // group) if op == "Conv" else (channels, filters // group)
    if op == "ConvTranspose":
        if rng.random() < 0.4:
            said["output_padding"] = _ints(rng, 0, 3, n)
        if rng.random() < 0.3:
            said["output_shape"] = _ints(rng, 1, 12, n)
    inputs = ["h", "w"] + ["b"] * int(rng.integers(2))
    given = {"w": rng.normal(size=(*front, *kernel)), "b": rng.normal(size=filters)}
    given = {name: value.astype("f4") for name, value in given.items()}
    shape = (int(rng.integers(1, 3)), channels, *size)
    opset = int(_one(rng, 11, 13, 19, 22))
    return Drawn(helper.make_node(op, inputs, ["y"], **said), shape, given, opset)


def _pool(rng: Generator, op: str) -> Drawn:
    n, opset = int(rng.integers(1, 3)), int(_one(rng, 7, 9, 10, 11, 13, 18, 19, 22))
    said: dict[str, Any] = {"kernel_shape": _ints(rng, 1, 6, n), "strides": _ints(rng, 1, 4, n)}
    if opset >= {"MaxPool": 10, "AveragePool": 19, "LpPool": 18}[op]:
        said["dilations"] = _ints(rng, 1, 3, n)
    said.update(_padding(rng, n, 4))
    if opset >= (18 if op == "LpPool" else 10):
        said["ceil_mode"] = int(rng.integers(2))
    if op == "AveragePool":
        said["count_include_pad"] = int(rng.integers(2))
    if op == "LpPool":
        said["p"] = int(rng.integers(1, 4))
    shape = (2, 2, *_ints(rng, 1, 8, n))
    return Drawn(helper.make_node(op, ["h"], ["y"], **said), shape, opset=opset)


def _resize(rng: Generator, op: str) -> Drawn:
    opset, shape = int(_one(rng, 11, 13, 18, 19)), (1, 2, *_ints(rng, 1, 6, 2))
    said: dict[str, Any] = {
        "mode": _one(rng, "nearest", "linear", "cubic"),
        "coordinate_transformation_mode": _one(rng, *MODES),
    }
    if said["mode"] == "nearest":
        kinds = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
        said["nearest_mode"] = _one(rng, *kinds)
    if said["mode"] == "cubic":
        said.update(
            cubic_coeff_a=float(_one(rng, -0.5, -0.75)), exclude_outside=int(rng.integers(2))
        )
    if opset >= 18:
        said.update({"antialias": 1} if rng.random() < 0.3 else {})
        said.update({"axes": [2, 3]} if rng.random() < 0.3 else {})
    beside = 0 if "axes" in said else 2
    low, high = rng.uniform(0, 0.4, 2), rng.uniform(0.5, 1, 2)
    roi = np.array([*([0] * beside), *low, *([1] * beside), *high], "f4")
    scales = np.array([*([1] * beside), *rng.uniform(0.3, 3, 2)], "f4")
    sizes = np.array([*shape[:beside], *_ints(rng, 1, 9, 2)], np.int64)
    inputs = ["h", "roi", "scales"]
    if rng.random() < 0.5:
        inputs = ["h", "roi", "none" if opset == 11 else "", "sizes"]
        if opset >= 18 and rng.random() < 0.3:
            policies = ("stretch", "not_larger", "not_smaller")
            said["keep_aspect_ratio_policy"] = _one(rng, *policies)
    given = {"roi": roi, "scales": scales, "sizes": sizes, "none": np.zeros(0, "f4")}
    return Drawn(helper.make_node(op, inputs, ["y"], **said), shape, given, opset)


def _norm(rng: Generator, op: str) -> Drawn:
    n, channels = int(rng.integers(1, 4)), int(_one(rng, 1, 2, 4))
    shape = (int(rng.integers(1, 3)), channels, *_ints(rng, 1, 5, n - 1 if n > 1 else n))
    axis, opset, groups = int(rng.integers(-len(shape), len(shape))), 17, int(_one(rng, 1, 2, 3))
    said: dict[str, Any] = {}
    inputs, width = ["h"], (channels,)
    if op == "BatchNormalization":
        inputs, opset = ["h", "a", "b", "m", "v"], int(_one(rng, 9, 15))
        said = {"epsilon": float(_one(rng, 1e-5, 0.1))}
    elif op == "InstanceNormalization":
        inputs, opset = ["h", "a", "b"], int(_one(rng, 6, 11, 17))
    elif op == "LayerNormalization":
        said, width = {"axis": axis}, shape[axis % len(shape) :]
        inputs = ["h", "a"] + ["b"] * int(rng.integers(2))
    elif op == "GroupNormalization":
        inputs, opset, said = ["h", "a", "b"], int(_one(rng, 18, 20, 21)), {"num_groups": groups}
        width = (groups,) if opset < 21 else width
    elif op == "LRN":
        said = {"size": int(rng.integers(1, 7)), "alpha": 0.3, "beta": 0.7, "bias": 1.5}
    elif op == "MeanVarianceNormalization":
        said = {"axes": [i for i in range(len(shape)) if rng.random() < 0.6] or [0]}
    else:
        said, opset = {"axis": axis}, int(_one(rng, 11, 13))
    given = {name: rng.uniform(0.5, 1.5, width).astype("f4") for name in "abmv"}
    return Drawn(helper.make_node(op, inputs, ["y"], **said), shape, given, opset)


def _product(rng: Generator, op: str) -> Drawn:
    a, b, c = _ints(rng, 1, 3, 3)
    fits = rng.random() < 0.8
    if op == "MatMul":
        left, right = (_ints(rng, 1, 3, int(rng.integers(1, 4))) for _ in range(2))
        if fits:
            right[max(len(right) - 2, 0)] = left[-1]
        given = {"w": rng.normal(size=right).astype("f4")}
        return Drawn(helper.make_node(op, ["h", "w"], ["y"]), tuple(left), given)
    turned = {"transA": int(rng.integers(2)), "transB": int(rng.integers(2))}
    shape = (b, a) if turned["transA"] else (a, b)
    weights = ((c, b) if turned["transB"] else (b, c)) if fits else tuple(_ints(rng, 1, 3, 2))
    biases = ((a, c), (c,), (1,), (1, c), (a, 1), ())
    given = {"w": rng.normal(size=weights), "b": rng.normal(size=_one(rng, *biases))}
    given = {name: np.asarray(value, "f4") for name, value in given.items()}
    inputs = ["h", "w"] + ["b"] * int(rng.integers(2))
    node = helper.make_node(op, inputs, ["y"], **turned, alpha=0.5, beta=2.0)
    return Drawn(node, shape, given, int(_one(rng, 7, 9, 11, 13)))


NORMS = (
    "BatchNormalization", "InstanceNormalization", "LRN", "LayerNormalization",
    "GroupNormalization", "LpNormalization", "MeanVarianceNormalization", "Softmax",
)  # fmt: skip
DRAW: dict[str, Callable[[Generator, str], Drawn]] = {
    **dict.fromkeys(("Conv", "ConvTranspose"), _convolution),
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), _pool),
    "Resize": _resize,
    **dict.fromkeys(NORMS, _norm),
    **dict.fromkeys(("Gemm", "MatMul"), _product),
}
KINDS = (*DRAW, "Conv", "ConvTranspose", "ConvTranspose", "Resize", "Resize", "AveragePool")
