"""Nodes of old opsets, each with the values that its attributes may have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import numpy as np

Arrays: TypeAlias = dict[str, np.ndarray[Any, Any]]
RNG = np.random.default_rng(0)


@dataclass(frozen=True)
class Case:
    """A node of one operator and opset.

    Attributes:
        op: Operator type.
        opset: Opset.
        inputs: What is fed.
        constants: Inputs behind those, which are weights.
        rows: Its attributes, one dict a node.
    """

    op: str
    opset: int
    inputs: Arrays
    constants: Arrays
    rows: list[dict[str, Any]]


CASES: list[Case] = []


def enter(
    ops: str, opsets: Iterable[int], inputs: Arrays, constants: Arrays | None = None, **choices: Any
) -> None:
    """Enter nodes with all combinations of attributes; None leaves one out."""
    rows = [dict(zip(choices, row, strict=True)) for row in product(*choices.values())]
    rows = [{k: v for k, v in row.items() if v is not None} for row in rows]
    for op, opset in product(ops.split(), opsets):
        CASES.append(Case(op, opset, inputs, constants or {}, rows))


def normal(*shape: int) -> np.ndarray[Any, Any]:
    """Return standard normal numbers, float32."""
    return RNG.normal(size=shape).astype("f4")


def uniform(*shape: int) -> np.ndarray[Any, Any]:
    """Return numbers from 0.5 to 1.5, float32."""
    return RNG.uniform(0.5, 1.5, shape).astype("f4")


def floats(*values: float) -> np.ndarray[Any, Any]:
    """Return a row of float32."""
    return np.array(values, "f4")


X, R = {"x": normal(2, 3, 4, 5)}, {"x": normal(3, 6)}
NARROW = {"x": X["x"][..., :4]}
PAIR = {"a": R["x"], "b": R["x"][::-1].copy()}

# ---- axes, sizes and limits that became inputs
REDUCTIONS = " ".join(
    f"Reduce{r}" for r in "L1 L2 LogSum LogSumExp Max Mean Min Prod SumSquare".split()
)
POSITIVE = {"x": abs(X["x"])}
enter(REDUCTIONS, [7], POSITIVE, axes=[None, [1], [2, 3]], keepdims=[None, 0])
enter(REDUCTIONS, [11, 12, 13], POSITIVE, axes=[None, [1], [-1, 2]], keepdims=[None, 0])
enter("ReduceSum", [7, 11, 12], X, axes=[None, [1], [2, 3]], keepdims=[None, 0])
enter("ReduceSum", [13], X, {"a": np.array([1, -1])}, keepdims=[None, 0])
enter("Squeeze", [7, 11], {"x": X["x"][:, :1, :, :1]}, axes=[None, [1], [1, 3]])
enter("Unsqueeze", [7, 11], R, axes=[[0, 3], [1]])
enter("Split", [7, 11, 12], X, axis=[3], split=[[2, 3], [4, 1]])
enter("Split", [12], NARROW, axis=[3, -1])
enter("Split", [13], NARROW, {"s": np.array([1, 3])}, axis=[3])
enter("Split", [13], NARROW, axis=[3])
enter("Slice", [7, 9], X, starts=[[1, -3]], ends=[[2, 99]], axes=[[0, 3]])
enter("Slice", [7, 9], X, starts=[[0, 1]], ends=[[1, -1]])
PADS = [[0, 0, 1, 2, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0, 2, 3]]
enter("Pad", [7, 10], X, mode=[None, "constant", "edge", "reflect"], value=[None, 0.5], pads=PADS)
enter("Pad", [7], X, pads=[[0, 0, -1, 0, 0, 0, 0, -2]], value=[1.5])
enter("Clip", [7, 10], X, min=[None, -0.5, 0.0], max=[None, 0.25, 6.0])
enter("TopK", [7], R, k=[2], axis=[None, 1])
enter("TopK", [10], R, {"k": np.array([2])})
enter("Dropout", [7, 10], X, ratio=[None, 0.3])
enter("Dropout", [12], X, {"r": np.array(0.3, "f4")})
enter("DFT", [17], {"x": normal(2, 4, 6, 1)}, axis=[None, 1, 2], onesided=[None, 1])

# ---- softmax
enter("Softmax LogSoftmax Hardmax", [7], X, axis=[None, 0, 1, 2, 3])
enter("Softmax LogSoftmax Hardmax", [11, 12], X, axis=[None, 0, 1, 2, 3, -1, -2])
enter("Softmax LogSoftmax Hardmax", [9], {"x": X["x"][..., :1, :1]}, axis=[None, 2])
enter("Softmax LogSoftmax Hardmax", [13], X, axis=[None, 0, 1, -2])

# ---- enlarging and shrinking
GROWS = [[1, 1, 2, 2], [1, 1, 1.5, 2.3], [1, 1, 3, 1]]
SHRINKS = [[1, 1, 0.5, 0.6], [1, 1, 0.5, 1], [1, 1, 2, 0.5], [1, 1, 0.7, 1.6], [1, 1, 1, 1]]
MODES = [None, "nearest", "linear"]
for each in GROWS:
    factors = {"s": floats(*each)}
    enter("Upsample", [7], X, mode=MODES, scales=[factors["s"].tolist()])
    enter("Upsample", [9], X, factors, mode=MODES)
    enter("Upsample", [9], X | factors, mode=MODES)
for each in GROWS + SHRINKS:
    factors = {"s": floats(*each)}
    enter("Resize", [10], X, factors, mode=MODES)
    enter("Resize", [10], X | factors, mode=MODES)
WAYS = [None, "asymmetric", "align_corners", "pytorch_half_pixel"]
KINDS = ["nearest", "linear", "cubic"]
enter(
    "Resize", [11, 13], X, {"r": floats(), "s": floats(1, 1, 1.5, 2.5)}, mode=KINDS,
    coordinate_transformation_mode=WAYS, nearest_mode=[None, "floor", "ceil"],
)  # fmt: skip
enter(
    "Resize", [11, 13], X, {"r": floats(), "s": floats(), "z": np.array([2, 3, 7, 3])},
    mode=KINDS, coordinate_transformation_mode=WAYS,
)  # fmt: skip
GRID = {"g": RNG.uniform(-1.2, 1.2, (2, 3, 3, 2)).astype("f4")}
enter(
    "GridSample", [16], X, GRID, mode=[None, "bilinear", "bicubic", "nearest"],
    padding_mode=[None, "border", "reflection"], align_corners=[None, 1],
)  # fmt: skip
BOXES = {"r": floats(0.3, 0.6, 3.2, 2.9)[None], "b": np.array([1])}
enter(
    "RoiAlign", [10], X, BOXES, output_height=[2], output_width=[3], mode=["avg", "max"],
    sampling_ratio=[None, 2],
)  # fmt: skip
enter("MaxRoiPool", [7], X, {"r": floats(0, 0, 0, 3, 3)[None]}, pooled_shape=[[2, 2]])

# ---- normalisation
NORMS = {k: uniform(3) for k in ("scale", "bias", "mean", "var")}
OF_ALL = {k: uniform(3, 4, 5) for k in NORMS}
enter("BatchNormalization", [7, 8, 9, 13], X, NORMS, epsilon=[None, 0.1], momentum=[None, 0.5])
enter("BatchNormalization", [7], X, NORMS, spatial=[1])
enter("BatchNormalization", [7, 8], X, OF_ALL, spatial=[0], epsilon=[None, 0.1])
GROUPS = {"x": normal(2, 6, 3, 4)}
enter("GroupNormalization", [18], GROUPS, {"s": uniform(3), "b": uniform(3)}, num_groups=[3])
enter("InstanceNormalization", [7], X, {"s": uniform(3), "b": uniform(3)})
enter("LpNormalization", [7], X, axis=[None, 1], p=[None, 1])
enter("LRN", [7], X, size=[3], alpha=[None, 0.1], beta=[None, 0.5], bias=[None, 2.0])

# ---- windows
PADDED = {"pads": [None, [1, 1, 0, 1]], "strides": [None, [2, 1]]}
enter("AveragePool", [7, 10, 11], X, kernel_shape=[[2, 3]], count_include_pad=[None, 1], **PADDED)
enter(
    "AveragePool", [7, 11], X, kernel_shape=[[2, 3]], count_include_pad=[None, 1],
    auto_pad=["SAME_UPPER", "SAME_LOWER", "VALID"],
)  # fmt: skip
enter(
    "AveragePool", [10, 11], X, kernel_shape=[[3, 2]], strides=[[2, 2]], ceil_mode=[1],
    count_include_pad=[None, 1], pads=[None, [0, 1, 0, 0]],
)  # fmt: skip
enter("MaxPool", [7, 8, 10, 11], X, kernel_shape=[[2, 3]], **PADDED)
enter(
    "MaxPool", [10], X, kernel_shape=[[2, 2]], ceil_mode=[0, 1], dilations=[None, [1, 2]],
    strides=[[2, 2]],
)  # fmt: skip
enter("LpPool", [7, 11], X, kernel_shape=[[2, 3]], p=[None, 1, 3], pads=[None, [1, 1, 0, 1]])
enter("GlobalLpPool", [7], X, p=[None, 1, 3])
enter("GlobalAveragePool GlobalMaxPool", [7], X)
enter(
    "Conv", [7, 11], X, {"w": normal(6, 1, 3, 2), "b": normal(6)}, group=[3],
    pads=[None, [1, 0, 2, 1]], strides=[None, [2, 1]], dilations=[None, [1, 2]],
)  # fmt: skip
enter(
    "ConvTranspose", [7, 11], X, {"w": normal(3, 2, 3, 2)}, pads=[None, [1, 0, 1, 1]],
    strides=[None, [2, 1]],
)  # fmt: skip

# ---- arithmetic
enter("Add Div Mul Sub Greater Less", [7], {"a": R["x"], "b": R["x"][:1]})
enter("Pow", [7], {"a": abs(R["x"]), "b": R["x"][:1]})
enter("Max Min Sum Mean", [7], PAIR)
enter("Less Greater Equal", [11], PAIR)
enter("Mod", [10], PAIR, fmod=[1])
enter("PRelu", [7, 9], X, {"s": uniform(3, 1, 1)})
enter(
    "Gemm", [7, 9, 11], R, {"w": normal(6, 4), "c": normal(4)}, alpha=[None, 0.5], beta=[None, 2.0]
)
enter("Elu LeakyRelu HardSigmoid Selu", [7], X, alpha=[None, 0.4])
enter("Abs Ceil Exp Floor Identity Neg Reciprocal Relu Sigmoid Softplus Softsign Tanh", [7], R)
enter("Cos Sin Tan Atan Shape Size Transpose", [7], R)
enter("IsNaN", [9], R)
enter("Round", [11], R)
enter("CumSum", [11], R, {"a": np.array(1)}, exclusive=[None, 1], reverse=[None, 1])
enter("Cast", [7, 9], {"x": R["x"] * 9}, to=[1, 6, 7, 9, 10, 11])

# ---- choices and places
enter("ArgMax ArgMin", [7], X, axis=[None, 1, 3], keepdims=[None, 0])
enter("ArgMax ArgMin", [11], X, axis=[None, 1, -2], keepdims=[None, 0])
enter("Flatten", [7, 9], X, axis=[None, 0, 2])
enter("Flatten", [11], X, axis=[None, 0, -1])
enter("Concat", [7], PAIR, axis=[0, 1])
enter("Concat", [11], PAIR, axis=[0, -1])
enter("Gather", [7, 11], R, {"i": np.array([[2, 0]])}, axis=[None, 1])
enter("GatherElements", [11], R, {"i": np.array([[1, 2], [0, 1]])}, axis=[None, 1])
enter("GatherND", [11], R, {"i": np.array([[1, 2], [0, 5]])})
enter("Scatter", [9], R, {"i": np.array([[2, 0, 1]]), "u": normal(1, 3)}, axis=[None, 1])
enter("ScatterND", [11], R, {"i": np.array([[1], [0]]), "u": normal(2, 6)})
ONE_HOT = {"d": np.array(4), "v": floats(0, 1)}
enter("OneHot", [9], {"x": np.array([1, 0, 3])}, ONE_HOT, axis=[None, 0])
enter("Tile", [7], R, {"r": np.array([2, 1])})
enter("Reshape", [7], X, {"s": np.array([0, -1, 5])})
enter("Expand", [8], R, {"s": np.array([2, 1, 6])})
BLOCKS = {"x": normal(1, 8, 2, 4)}
enter("DepthToSpace", [7], BLOCKS, blocksize=[2])
enter("DepthToSpace", [11], BLOCKS, blocksize=[2], mode=[None, "DCR", "CRD"])
enter("SpaceToDepth", [7], BLOCKS, blocksize=[2])
