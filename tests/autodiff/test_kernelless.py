"""Operators that ONNX Runtime runs on a GPU only: their definition and its gradient, against NumPy.

They are written here once more from ONNX Runtime's documentation of them, in double.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper
from support.contrib_case import lowered
from support.gradcheck import run

from onnxcam.autodiff import vjp_model

Arrays = Mapping[str, np.ndarray]
MICROSOFT = "com.microsoft"


@dataclass(frozen=True)
class Case:
    """A node and what it computes.

    Attributes:
        op_type: Operator.
        shapes: Of its inputs, which are floats; omitted where None.
        attributes: Of the node.
        oracle: Returns its outputs for its inputs (in double).
    """

    op_type: str
    shapes: Mapping[str, tuple[int, ...] | None]
    oracle: Callable[..., tuple[np.ndarray, ...]]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def feeds(self) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(0)
        shapes = {k: s for k, s in self.shapes.items() if s is not None}
        return {k: rng.standard_normal(s).astype(np.float32) for k, s in shapes.items()}

    def outputs(self, feeds: Arrays) -> dict[str, np.ndarray]:
        given = {k: np.asarray(v, np.float64) for k, v in feeds.items()}
        return dict(zip(("y", "sum"), self.oracle(**given), strict=False))

    def model(self) -> ModelProto:
        feeds = self.feeds()
        return _model(self.op_type, self.shapes, feeds, self.outputs(feeds), self.attributes)


def _model(
    op_type: str, names: Any, feeds: Arrays, outputs: Arrays, attributes: Mapping[str, Any]
) -> ModelProto:
    inputs = [k if k in feeds else "" for k in names]
    node = helper.make_node(op_type, inputs, list(outputs), name="node", domain=MICROSOFT)
    node.attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())
    kinds = {k: helper.np_dtype_to_tensor_dtype(v.dtype) for k, v in feeds.items()}
    kind = kinds[next(iter(feeds))]
    graph = helper.make_graph(
        [node], "graph",
        [helper.make_tensor_value_info(k, kinds[k], v.shape) for k, v in feeds.items()],
        [helper.make_tensor_value_info(k, kind, v.shape) for k, v in outputs.items()],
    )  # fmt: skip
    imports = [helper.make_opsetid("", 20), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9)


def _gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.vectorize(math.erf)(x / np.sqrt(2))) / 2


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _bias_split_gelu(x: np.ndarray, b: np.ndarray) -> tuple[np.ndarray]:
    left, right = np.split(x + b, 2, axis=-1)
    return (left * _gelu(right),)


def _group_norm(x: np.ndarray, g: np.ndarray, b: np.ndarray, *, eps: float, silu: bool) -> Any:
    """Channels last, two groups."""
    n, h, w, c = x.shape
    groups = x.reshape(n, h * w, 2, c // 2)
    mean, var = groups.mean((1, 3), keepdims=True), groups.var((1, 3), keepdims=True)
    y = ((groups - mean) / np.sqrt(var + eps)).reshape(x.shape) * g + b
    return y / (1 + np.exp(-y)) if silu else y


def _skip_group_norm(
    x: np.ndarray, g: np.ndarray, b: np.ndarray, s: np.ndarray, c: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    total = x + (s[:, None, None] if s.ndim == 2 else s) + c
    return _group_norm(total, g, b, eps=1e-5, silu=True), total


def _conv(x: np.ndarray, w: np.ndarray, b: np.ndarray | float = 0.0) -> np.ndarray:
    """Channels last but for w [M, C, 2, 3], a stride of 2 along the height, 1 pad on the left."""
    x = np.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0)))
    high, wide = (x.shape[1] - 2) // 2 + 1, x.shape[2] - 2
    y = np.zeros((x.shape[0], high, wide, len(w)))
    for i in range(high):
        for j in range(wide):
            y[:, i, j] = np.einsum("nhwc,mchw->nm", x[:, 2 * i : 2 * i + 2, j : j + 3], w)
    return y + b


WINDOW = {"strides": [2, 1], "pads": [0, 1, 0, 0]}
IMAGE, WEIGHTS = (2, 5, 4, 3), (4, 3, 2, 3)
NORM = {"x": (2, 2, 3, 4), "g": (4,), "b": (4,)}
CASES = {
    "bias add": Case("BiasAdd", {"x": (2, 3, 4), "b": (4,), "s": (2, 3, 4)},
                     lambda x, b, s: (x + b + s,)),
    "bias softmax": Case("BiasSoftmax", {"x": (2, 3, 4), "b": (1, 3, 4)},
                         lambda x, b: (_softmax(x + b),), {"axis": 2, "is_inner_broadcast": 0}),
    "bias softmax of two axes": Case(
        "BiasSoftmax", {"x": (2, 3, 4), "b": (2, 1, 4)},
        lambda x, b: (_softmax((x + b).reshape(2, 12)).reshape(x.shape),),
        {"axis": 1, "is_inner_broadcast": 1}),
    "bias split gelu": Case("BiasSplitGelu", {"x": (2, 3, 8), "b": (8,)}, _bias_split_gelu),
    "matmul, activation": Case(
        "FusedMatMulActivation", {"x": (4, 3), "w": (4, 2)},
        lambda x, w: (np.tanh(0.5 * x.T @ w),), {"transA": 1, "alpha": 0.5, "activation": "Tanh"}),
    "matmul, softmax": Case(
        "FusedMatMulActivation", {"x": (3, 4), "w": (2, 4)},
        lambda x, w: (_softmax(x @ w.T),),
        {"transB": 1, "activation": "Softmax", "activation_axis": -1}),
    "group norm": Case(
        "GroupNorm", NORM, lambda x, g, b: (_group_norm(x, g, b, eps=0.1, silu=False),),
        {"groups": 2, "activation": 0, "epsilon": 0.1}),
    "group norm, silu": Case(
        "GroupNorm", NORM, lambda x, g, b: (_group_norm(x, g, b, eps=1e-5, silu=True),),
        {"groups": 2, "activation": 1}),
    "group norm, channels first": Case(
        "GroupNorm", {**NORM, "x": (2, 4, 2, 3)},
        lambda x, g, b: (np.moveaxis(
            _group_norm(np.moveaxis(x, 1, 3), g, b, eps=1e-5, silu=True), 3, 1),),
        {"groups": 2, "activation": 1, "channels_last": 0}),
    "skip group norm": Case("SkipGroupNorm", {**NORM, "s": (2, 2, 3, 4), "c": (4,)},
                            _skip_group_norm, {"groups": 2, "activation": 1}),
    "skip group norm, a vector": Case("SkipGroupNorm", {**NORM, "s": (2, 4)}, _skip_group_norm,
                                      {"groups": 2, "activation": 1}),
    "conv": Case("NhwcConv", {"x": IMAGE, "w": WEIGHTS, "b": (4,)},
                 lambda x, w, b: (_conv(x, w, b),), WINDOW),
    "conv, no bias": Case("NhwcConv", {"x": IMAGE, "w": WEIGHTS}, lambda x, w: (_conv(x, w),),
                          WINDOW),
    "conv, sum, activation": Case(
        "NhwcFusedConv", {"x": IMAGE, "w": WEIGHTS, "b": None, "z": (2, 2, 3, 4)},
        lambda x, w, z: (np.maximum(_conv(x, w) + z, 0),), {**WINDOW, "activation": "Relu"}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_definition(name: str) -> None:
    case = CASES[name]
    feeds = case.feeds()
    got = run(lowered(case.model()), feeds)
    for key, want in case.outputs(feeds).items():
        np.testing.assert_allclose(got[key], want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_gradient(name: str) -> None:
    case = CASES[name]
    feeds = case.feeds()
    got, cts = _gradients(case.model(), feeds, case.outputs(feeds))
    for key in feeds:
        _compare(got[f"grad::{key}"], case.outputs, feeds, key, cts)


def test_mean_of_integers() -> None:
    """The rounding passes straight through; nothing saturates here but one column."""
    x = np.random.default_rng(1).integers(0, 256, (2, 3, 4)).astype(np.uint8)
    x[:, :, 3] = 255
    feeds = {"x": x, "s": np.float32(0.02), "z": np.uint8(100), "t": np.float32(0.014)}
    feeds = {k: np.asarray(v) for k, v in feeds.items()} | {"o": np.asarray(np.uint8(120))}

    def mean(f: Arrays) -> dict[str, np.ndarray]:
        real = (np.asarray(f["x"], np.float64) - 100) * 0.02
        return {"y": np.clip(real.mean(1) / 0.014 + 120, -0.5, 255.5)}

    attributes = {"axes": [1], "keepdims": 0}
    model = _model("QLinearReduceMean", feeds, feeds, mean(feeds), attributes)
    whole = run(lowered(model), feeds)["y"]
    np.testing.assert_array_equal(whole, np.clip(np.round(mean(feeds)["y"]), 0, 255))
    assert (whole[:, 3] == 255).all() and (whole[:, :3] < 255).any()
    got, cts = _gradients(model, feeds, mean(feeds), ["x"])
    _compare(got["grad::x"], mean, feeds, "x", cts)


def _gradients(
    model: ModelProto, feeds: Arrays, outputs: Arrays, wrt: Any = None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the gradients for random cotangents, and these; the node itself is cut out."""
    grad = vjp_model(model, list(wrt or feeds), list(outputs))
    (node,) = [n for n in grad.graph.node if n.domain]
    grad.graph.node.remove(node)
    kept = [o for o in grad.graph.output if o.name not in node.output]
    del grad.graph.output[:]
    grad.graph.output.extend(kept)
    rng = np.random.default_rng(2)
    cts = {k: rng.standard_normal(v.shape) for k, v in outputs.items()}
    return run(grad, {**feeds, **{f"ct::{k}": v.astype(np.float32) for k, v in cts.items()}}), cts


def _compare(
    got: np.ndarray, forward: Callable[[Arrays], Arrays], feeds: Arrays, key: str, cts: Arrays
) -> None:
    """Compare a gradient with central differences."""
    x = np.asarray(feeds[key], np.float64)
    want = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[place] = 1e-6
        ends = [forward({**feeds, key: x + side * step}) for side in (1, -1)]
        want[place] = sum(((ends[0][k] - ends[1][k]) * ct).sum() for k, ct in cts.items()) / 2e-6
    scale = max(1.0, float(np.abs(want).max()))
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * scale, err_msg=key)
