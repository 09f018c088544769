"""BiLRP: by hand, by its sums, against relevance dimension by dimension, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper
from support import nets

from onnxcam.autodiff.api import vjp_model
from onnxcam.errors import OnnxcamError
from onnxcam.methods.lrp import lrp_epsilon
from onnxcam.run.session import Session
from onnxcam.run.similarity import bilrp

RNG = np.random.default_rng(3)
A, B = (RNG.normal(size=(1, 2, 6, 6)).astype("f4") for _ in range(2))
RULES = lrp_epsilon.composite(1e-9)
CPU: Any = {"device": "cpu", "threads": 1, "rules": RULES}


def _without_bias() -> Any:
    proto = nets.cnn()
    for tensor in proto.graph.initializer:
        if tensor.name in ("b", "fcb"):
            tensor.CopyFrom(nets.numpy_helper.from_array(np.zeros(tensor.dims, "f4"), tensor.name))
    return proto


def test_by_hand() -> None:
    """f = (2 x_1, 3 x_2) of two places: only what lies in the same place is alike."""
    nodes = [
        helper.make_node("MaxPool", ["x"], ["m"], kernel_shape=[1]),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    weights = {"w": np.diag([2, 3]).astype("f4")}
    proto = nets.model(nodes, {"x": ["N", 1, 2]}, {"y": ["N", 2]}, weights)
    first, second = np.array([[[1, 2]]], "f4"), np.array([[[5, -1]]], "f4")
    found = bilrp(proto, first, second, **CPU)
    assert found.score == pytest.approx(2 * 10 - 6 * 3)
    np.testing.assert_allclose(found.pairs, [[20, 0], [0, -18]], rtol=1e-6)
    np.testing.assert_allclose(found.first, [20, -18], rtol=1e-6)
    np.testing.assert_allclose(found.second, [20, -18], rtol=1e-6)


def test_the_pairs_sum_up_to_the_similarity_without_biases() -> None:
    found = bilrp(_without_bias(), A, B, layer="flat", cells=3, **CPU)
    assert found.pairs.shape == (3, 3, 3, 3)
    assert found.pairs.sum() == pytest.approx(found.score, rel=1e-4)


def test_the_pairs_are_the_products_of_relevance() -> None:
    proto = nets.cnn()
    made = Session(vjp_model(proto, ["x"], ["flat"], overrides=RULES), device="cpu")
    want = np.zeros((6, 6, 6, 6))
    for m in range(4):
        seed = np.eye(4, dtype="f4")[[m]]
        one, two = (
            (made.run({"x": x, "ct::flat": seed}, ["grad::x"])[0] * x)[0].sum(0) for x in (A, B)
        )
        want += np.einsum("ab,cd->abcd", one, two)
    found = bilrp(proto, A, B, layer="flat", cells=6, **CPU)
    np.testing.assert_allclose(found.pairs, want, rtol=1e-4, atol=1e-5)


def test_what_is_no_embedding_is_refused() -> None:
    with pytest.raises(OnnxcamError, match=r"'conv' holds no embedding \[1, M\]"):
        bilrp(nets.cnn(), A, B, layer="conv", **CPU)
    with pytest.raises(OnnxcamError, match="2 inputs"):
        bilrp(nets.cnn(), np.concatenate([A, A]), B, layer="flat", **CPU)
