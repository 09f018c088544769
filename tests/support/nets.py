"""Tiny ONNX models for the tests, with weights that a person can read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Sequence[Any]],
    outputs: dict[str, Sequence[Any]],
    weights: dict[str, np.ndarray] | None = None,
    *,
    opset: int = 20,
    ir_version: int = 9,
    dtype: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """Return a checked model."""
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info(n, dtype, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, dtype, s) for n, s in outputs.items()],
        [numpy_helper.from_array(v, n) for n, v in (weights or {}).items()],
    )
    proto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version
    )
    onnx.checker.check_model(proto)
    return proto


def cnn(
    *, classes: int = 3, channels: int = 2, size: int = 6, batch: Any = "N", softmax: bool = False
) -> onnx.ModelProto:
    """Conv 3x3, Relu, global average pool, Gemm [, Softmax]; weights from a fixed seed."""
    rng = np.random.default_rng(7)
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["conv"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"], name="relu"),
        helper.make_node("GlobalAveragePool", ["relu"], ["pool"], name="pool"),
        helper.make_node("Flatten", ["pool"], ["flat"], name="flat"),
        helper.make_node("Gemm", ["flat", "fc", "fcb"], ["logits"], name="fc", transB=1),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["logits"], ["prob"], name="softmax"))
    weights = {
        "w": rng.normal(size=(4, channels, 3, 3)).astype("f4"),
        "b": rng.normal(size=4).astype("f4"),
        "fc": rng.normal(size=(classes, 4)).astype("f4"),
        "fcb": rng.normal(size=classes).astype("f4"),
    }
    output = "prob" if softmax else "logits"
    return model(nodes, {"x": [batch, channels, size, size]}, {output: [batch, classes]}, weights)


def one_by_one() -> onnx.ModelProto:
    """A head without a body: x [N, 2, 2, 2] is the feature; logits = pool(relu(x)) fc."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="a"),
        helper.make_node("GlobalAveragePool", ["a"], ["pool"], name="pool"),
        helper.make_node("Flatten", ["pool"], ["flat"], name="flat"),
        helper.make_node("MatMul", ["flat", "fc"], ["logits"], name="fc"),
    ]
    fc = np.array([[1, -2], [3, 4]], "f4")  # [channel, class]
    return model(nodes, {"x": ["N", 2, 2, 2]}, {"logits": ["N", 2]}, {"fc": fc})
