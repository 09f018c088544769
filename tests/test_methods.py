"""Methods by literal values and by naive NumPy, apart from any real model."""

from __future__ import annotations

import nets
import numpy as np
import pytest
from onnx import helper

from onnxcam import Explainer, methods
from onnxcam.errors import UsageError
from onnxcam.methods.registry import graph_method

X = np.array([[[[1, 0], [2, -1]], [[0, 3], [1, 0]]]], "f4")  # [1, 2, 2, 2]
# relu(x): channel 0 = [[1, 0], [2, 0]], channel 1 = [[0, 3], [1, 0]]; fc = [[1, -2], [3, 4]]
CAM = {0: [[1, 9], [5, 0]], 1: [[-2, 12], [0, 0]]}


@pytest.mark.parametrize("target", [0, 1])
def test_cam_by_hand(target: int) -> None:
    explain = Explainer(nets.one_by_one(), "cam", device="cpu", upsampling="none")
    np.testing.assert_allclose(explain(X, target=target).map, CAM[target], atol=1e-6)


@pytest.mark.parametrize("target", [0, 1])
def test_gradcam_by_hand(target: int) -> None:
    """Behind global average pooling Grad-CAM is CAM over the number of positions, rectified."""
    explain = Explainer(nets.one_by_one(), device="cpu", upsampling="none", feature_layer="a")
    found = explain(X, target=target)
    np.testing.assert_allclose(found.signed_map, np.array(CAM[target]) / 4, atol=1e-6)
    np.testing.assert_allclose(found.map, np.maximum(np.array(CAM[target]) / 4, 0), atol=1e-6)


def _head(nodes: list, weights: dict[str, np.ndarray], out: list[int]) -> object:
    first = [
        helper.make_node("MaxPool", ["x"], ["m"], kernel_shape=[1, 1]),
        helper.make_node("Relu", ["m"], ["a"]),
    ]
    return nets.model([*first, *nodes], {"x": ["N", 2, 2, 2]}, {"y": ["N", *out]}, weights)


FC = np.array([[1, -2], [3, 4]], "f4")
POOL = helper.make_node("GlobalAveragePool", ["a"], ["p"])
FLAT = helper.make_node("Flatten", ["p"], ["f"])


def test_cam_with_a_convolutional_classifier_and_bias() -> None:
    nodes = [
        POOL,
        helper.make_node("Conv", ["p", "w", "b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["y"]),
    ]
    weights = {"w": FC.T.reshape(2, 2, 1, 1).copy(), "b": np.array([5, 6], "f4")}
    explain = Explainer(_head(nodes, weights, [2]), "cam", device="cpu", upsampling="none")
    np.testing.assert_allclose(explain(X, target=1).map, CAM[1], atol=1e-6)


def test_cam_with_reduce_mean_without_kept_axes() -> None:
    nodes = [
        helper.make_node("ReduceMean", ["a", "axes"], ["f"], keepdims=0),
        helper.make_node("MatMul", ["f", "fc"], ["y"]),
    ]
    proto = _head(nodes, {"fc": FC, "axes": np.array([2, 3])}, [2])
    explain = Explainer(proto, "cam", device="cpu", upsampling="none")
    np.testing.assert_allclose(explain(X, target=0).map, CAM[0], atol=1e-6)


@pytest.mark.parametrize(
    ("nodes", "weights", "words"),
    [
        (
            [
                POOL,
                FLAT,
                helper.make_node("MatMul", ["f", "fc"], ["h"]),
                helper.make_node("MatMul", ["h", "fc"], ["y"]),
            ],
            {"fc": FC},
            "more than one linear layer",
        ),
        (
            [POOL, FLAT, helper.make_node("Tanh", ["f"], ["y"])],
            {},
            "a Tanh stands in the classifier",
        ),
        (
            [
                helper.make_node("Flatten", ["a"], ["f"]),
                helper.make_node("MatMul", ["f", "big"], ["y"]),
            ],
            {"big": np.ones((8, 2), "f4")},
            "a Flatten follows it",
        ),
        (
            [
                POOL,
                FLAT,
                helper.make_node("MatMul", ["f", "fc"], ["h"]),
                helper.make_node("Add", ["h", "f"], ["y"]),
            ],
            {"fc": FC},
            "is used 2 times",
        ),
    ],
)
def test_cam_refuses_other_heads(nodes: list, weights: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Explainer(_head(nodes, weights, [2]), "cam", device="cpu", feature_layer="a")


def test_an_unknown_method_lists_the_known() -> None:
    with pytest.raises(UsageError, match="no method 'gradcamm'.*gradcam"):
        methods.find("gradcamm")


def test_two_methods_cannot_share_a_name() -> None:
    with pytest.raises(ValueError, match="two methods"):
        graph_method("gradcam", needs=("activation",), cite="")(lambda: None)


def test_every_method_says_where_it_comes_from() -> None:
    assert {"cam", "gradcam"} <= set(methods.names())
    for name in methods.names():
        method = methods.find(name)
        assert method.cite and "=" in method.summary
