"""CAM through every head that is global average pooling and one linear layer, however written."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from onnxcam import Explainer
from onnxcam.errors import UsageError

_RNG = np.random.default_rng(11)
C, H, W = 6, 4, 5
X = _RNG.normal(size=(1, 3, H, W)).astype("f4")
W1, FC = (_RNG.normal(size=s).astype("f4") for s in ((C, 3, 1, 1), (C, 4)))
GAIN = _RNG.uniform(0.5, 2, C).astype("f4")

# From the feature tensor a [N, C, H, W] to the logits y [N, 4].
HEADS = {
    "GlobalAveragePool": "p = GlobalAveragePool(a) f = Flatten(p) y = Gemm(f, fc)",
    "AveragePool": "p = AveragePool<kernel_shape = [4,5]>(a) f = Flatten(p) y = Gemm(f, fc)",
    "AveragePool, strides": "p = AveragePool<kernel_shape = [4,5], strides = [4,5]>(a) "
    "f = Flatten(p) y = Gemm(f, fc)",
    "ReduceMean": "f = ReduceMean<keepdims = 0>(a, a23) y = MatMul(f, fc)",
    "ReduceMean, kept": "p = ReduceMean(a, a23) f = Reshape(p, flat) y = MatMul(f, fc)",
    "ReduceSum, Div": "s = ReduceSum<keepdims = 0>(a, a23) f = Div(s, twenty) y = MatMul(f, fc)",
    "ReduceSum, Mul": "s = ReduceSum(a, a23) p = Mul(s, part) f = Flatten(p) y = Gemm(f, fc)",
    "one axis, then the other": "m = ReduceMean<keepdims = 0>(a, a3) "
    "f = ReduceMean<keepdims = 0>(m, a2) y = MatMul(f, fc)",
    "one axis, then the other, kept": "m = ReduceMean(a, a2) p = ReduceMean(m, a3) f = Flatten(p) "
    "y = MatMul(f, fc)",
    "sums of one axis, Div": "m = ReduceSum<keepdims = 0>(a, a3) s = ReduceSum<keepdims = 0>(m, a2)"
    " f = Div(s, twenty) y = MatMul(f, fc)",
    "Transpose": "t = Transpose<perm = [0, 2, 3, 1]>(a) f = ReduceMean<keepdims = 0>(t, a12) "
    "y = MatMul(f, fc)",
    "Transpose, kept": "t = Transpose<perm = [0, 2, 3, 1]>(a) p = ReduceMean(t, a12) "
    "f = Flatten(p) y = Gemm(f, fc)",
    "Reshape": "t = Reshape(a, joined) f = ReduceMean<keepdims = 0>(t, a2) y = MatMul(f, fc)",
    "Reshape, Transpose": "t = Reshape(a, joined) u = Transpose<perm = [0, 2, 1]>(t) "
    "f = ReduceMean<keepdims = 0>(u, a1) y = MatMul(f, fc)",
    "Conv behind": "p = GlobalAveragePool(a) c = Conv(p, conv) y = Flatten(c)",
    "Conv before": "c = Conv(a, conv, bias) p = GlobalAveragePool(c) y = Flatten(p)",
    "Conv before, ReduceMean": "c = Conv(a, conv) y = ReduceMean<keepdims = 0>(c, a23)",
    "MatMul before": "t = Transpose<perm = [0, 2, 3, 1]>(a) c = MatMul(t, fc) b = Add(c, bias) "
    "y = ReduceMean<keepdims = 0>(b, a12)",
    "a bias before": "b = Add(a, three) p = GlobalAveragePool(b) f = Flatten(p) y = Gemm(f, fc)",
    "a bias behind": "f = ReduceMean<keepdims = 0>(a, a23) m = MatMul(f, fc) y = Add(m, bias)",
}
_SCALED = {  # the same, with a factor for each channel in it
    "a scale before": "b = Mul(a, gain) p = GlobalAveragePool(b) f = Flatten(p) y = Gemm(f, fc)",
    "a scale behind": "p = GlobalAveragePool(a) b = Mul(p, gain) f = Flatten(b) y = Gemm(f, fc)",
    "BatchNormalization": "b = BatchNormalization<epsilon = 0.0>(a, flatgain, zeros, zeros, ones) "
    "p = GlobalAveragePool(b) f = Flatten(p) y = Gemm(f, fc)",
}
REFUSED = {
    "nothing pools": "f = Flatten(a) y = MatMul(f, large)",
    "windows": "p = AveragePool<kernel_shape = [2,5], strides = [2,5]>(a) f = Flatten(p) "
    "y = MatMul(f, twice)",
    "one axis": "m = ReduceMean<keepdims = 0>(a, a2) f = Flatten(m) y = MatMul(f, wide)",
    "a maximum": "p = GlobalMaxPool(a) f = Flatten(p) y = Gemm(f, fc)",
    "positions scaled": "b = Mul(a, place) p = GlobalAveragePool(b) f = Flatten(p) y = Gemm(f, fc)",
    "a 3 x 3 Conv": "c = Conv<pads = [1,1,1,1]>(a, conv3) p = GlobalAveragePool(c) y = Flatten(p)",
    "two layers": "c = Conv(a, square) p = GlobalAveragePool(c) f = Flatten(p) y = Gemm(f, fc)",
    "a gate": "b = Mul(a, a) p = GlobalAveragePool(b) f = Flatten(p) y = Gemm(f, fc)",
}


def _model(head: str) -> onnx.ModelProto:
    proto = parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 20]> g (float[N,3,4,5] x) => (float[N,4] y) '
        f"{{ c1 = Conv(x, w1) a = Relu(c1) {head} }}"
    )
    weights: dict[str, Any] = {
        "w1": W1, "fc": FC, "conv": FC.T.reshape(4, C, 1, 1).copy(), "bias": np.ones(4, "f4"),
        "a23": np.array([2, 3]), "a12": np.array([1, 2]), "a1": np.array([1]), "a2": np.array([2]),
        "a3": np.array([3]),
        "flat": np.array([-1, C]), "joined": np.array([0, C, -1]), "twenty": np.array(20, "f4"),
        "part": np.array(0.05, "f4"), "three": np.array(3, "f4"), "gain": GAIN.reshape(C, 1, 1),
        "flatgain": GAIN, "zeros": np.zeros(C, "f4"), "ones": np.ones(C, "f4"),
        "large": np.ones((C * H * W, 4), "f4"), "twice": np.ones((C * 2, 4), "f4"),
        "wide": np.ones((C * W, 4), "f4"), "place": _RNG.normal(size=(1, H, W)).astype("f4"),
        "conv3": np.ones((4, C, 3, 3), "f4"), "square": np.ones((C, C, 1, 1), "f4"),
    }  # fmt: skip
    used = {name for node in proto.graph.node for name in node.input}
    kept = [numpy_helper.from_array(v, name) for name, v in weights.items() if name in used]
    proto.graph.initializer.extend(kept)
    return proto


def _expected(weights: np.ndarray) -> np.ndarray:
    a = np.maximum(np.einsum("kc,chw->khw", W1[..., 0, 0], X[0]), 0)
    return np.tensordot(weights, a, 1)


@pytest.mark.parametrize("name", [*HEADS, *_SCALED])
def test_the_map_is_the_classifiers_weighted_sum(name: str) -> None:
    proto = _model({**HEADS, **_SCALED}[name])
    found = Explainer(proto, "cam", feature_layer="a", cache=False)(X, 2)
    weights = FC[:, 2] * GAIN if name in _SCALED else FC[:, 2]
    np.testing.assert_allclose(found.raw_map, _expected(weights), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", REFUSED)
def test_other_heads_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="CAM needs global average pooling and a linear"):
        Explainer(_model(REFUSED[name]), "cam", feature_layer="a", cache=False)


def test_tokens_and_steps_in_time() -> None:
    """A sequence whose tokens are normalised channels last: the layer's axes are not the pool's."""
    proto = parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 20]> g (float[N,3,9] x) => (float[N,4] y) {'
        "c = Conv(x, w1) t = Transpose<perm = [0, 2, 1]>(c) n = LayerNormalization(t, ones)"
        "u = Transpose<perm = [0, 2, 1]>(n) p = ReduceMean(u, a2) f = Flatten(p) y = Gemm(f, fc) }"
    )
    given = {"w1": W1[..., 0], "ones": np.ones(C, "f4"), "a2": np.array([2]), "fc": FC}
    proto.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in given.items())
    x = _RNG.normal(size=(1, 3, 9)).astype("f4")
    found = Explainer(proto, "cam", cache=False)(x, 1)
    c = np.einsum("kc,ct->tk", W1[..., 0, 0], x[0])
    n = (c - c.mean(1, keepdims=True)) / np.sqrt(c.var(1, keepdims=True) + 1e-5)
    assert found.feature_layer == "n"
    np.testing.assert_allclose(found.raw_map, n @ FC[:, 1], rtol=1e-4, atol=1e-4)
