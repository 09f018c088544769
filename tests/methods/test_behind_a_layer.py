"""Methods behind a feature layer that a table of literals does not show whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper
from support import nets

import onnxcam
from onnxcam import Explainer, methods
from onnxcam.errors import UsageError

X = np.array([[[[1, 0], [2, -1]], [[0, 3], [1, 0]]]], "f4")  # as in test_methods.py


def _found(
    name: str, proto: Any, x: np.ndarray = X, layer: str | None = "a", **options: Any
) -> Any:
    chosen = {"device": "cpu", "threads": 1, "upsampling": "none", "feature_layer": layer}
    return Explainer(proto, name, **{**chosen, **options})(x, target=0)


def test_fem_by_hand() -> None:
    """Above mean + deviation lie 2 of (1, 0, 2, 0) and 3 of (0, 3, 1, 0), means 3/4 and 1."""
    proto = nets.one_by_one()
    found = _found("fem", proto, parameters={"sigmas": 1})
    np.testing.assert_allclose(found.map, [[0, 1], [0.75, 0]], rtol=1e-6)
    found = _found("fem", proto, parameters={"sigmas": 1, "form": "peer"})
    np.testing.assert_allclose(found.map, [[0.25, 0.75], [0.75, 0]], rtol=1e-6)


def test_fem_counts_what_is_rare_in_channels_below_0() -> None:
    """As tokens are: means -2 and -1, of which the one place lies far above."""
    nodes = [
        helper.make_node("MaxPool", ["x"], ["a"], kernel_shape=[1, 1]),
        helper.make_node("GlobalAveragePool", ["a"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    proto = nets.model(nodes, {"x": ["N", 2, 3, 3]}, {"y": ["N", 2]})
    x = np.stack([np.full((3, 3), -2.5, "f4"), np.full((3, 3), -1.0, "f4")])[None]
    x[0, 0, 1, 2] = 2
    found = _found("fem", proto, x)
    want = np.zeros((3, 3))
    want[1, 2] = 2
    np.testing.assert_allclose(found.signed_map, want, atol=1e-6)


def test_eigen_cam_without_a_mean_taken_off() -> None:
    """X^T X = [[5, 2], [2, 10]], first eigenvector (0.3378, 0.9412): the paper's Eigen-CAM."""
    found = _found("eigen-cam", nets.one_by_one(), parameters={"centred": "no"})
    v = np.linalg.eigh(np.array([[5.0, 2], [2, 10]]))[1][:, -1]
    np.testing.assert_allclose(found.map, np.tensordot(abs(v), np.maximum(X[0], 0), 1), rtol=1e-6)


@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize("name", ["eigen-cam", "kpca-cam"])
def test_of_features_on_both_sides_of_0_the_smaller_part_stands_out(name: str, turn: int) -> None:
    """As behind a layer normalisation, the channels sum up to 0: their sum tells no sign."""
    nodes = [
        helper.make_node("MaxPool", ["x"], ["a"], kernel_shape=[1, 1]),
        helper.make_node("GlobalAveragePool", ["a"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    proto = nets.model(nodes, {"x": ["N", 4, 5, 5]}, {"y": ["N", 4]})
    half = np.random.default_rng(3).normal(size=(2, 5, 5)).astype("f4") / 4
    half[:, 1:3, 2:4] += np.array([2, -1], "f4").reshape(2, 1, 1) * turn
    map = _found(name, proto, np.concatenate([half, -half])[None]).signed_map
    inside = np.zeros((5, 5), bool)
    inside[1:3, 2:4] = True
    assert map[inside].min() > map[~inside].max() and map[inside].min() > 0


@pytest.mark.parametrize("name", ["eigen-cam", "kpca-cam"])
def test_of_activities_the_active_part_stands_out(name: str) -> None:
    """Though it is the larger one; SiLU's few numbers below 0 change nothing."""
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["s"]),
        helper.make_node("Mul", ["x", "s"], ["a"]),
        helper.make_node("GlobalAveragePool", ["a"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    proto = nets.model(nodes, {"x": ["N", 4, 5, 5]}, {"y": ["N", 4]})
    x = np.random.default_rng(4).normal(1, 0.05, size=(1, 4, 5, 5)).astype("f4")
    x[..., :2, :2] = -1
    map = _found(name, proto, x).signed_map
    assert map[2:, 2:].min() > 0 > map[:2, :2].max()


def test_shapley_cam_sees_how_channels_act_together() -> None:
    """y = (sum of a)^2 / 2 = s^2 / 2: dy/da = s and H a = s, so that half of s is the weight."""
    nodes = [
        helper.make_node("MaxPool", ["x"], ["m"], kernel_shape=[1, 1]),
        helper.make_node("Relu", ["m"], ["a"]),
        helper.make_node("Flatten", ["a"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["s"]),
        helper.make_node("Mul", ["s", "s"], ["y"]),
    ]
    weights = {"w": np.full((8, 1), 0.5**0.5, "f4")}
    proto = nets.model(nodes, {"x": ["N", 2, 2, 2]}, {"y": ["N", 1]}, weights)
    plain, found = (_found(name, proto).map for name in ("gradcam", "shapley-cam"))
    np.testing.assert_allclose(plain, 7 * np.maximum(X[0], 0).sum(0), rtol=1e-6)
    np.testing.assert_allclose(found, plain / 2, rtol=1e-6)


def test_random_weights_are_those_of_their_draw() -> None:
    proto = nets.one_by_one()
    zero, same, other = (
        _found("random-cam", proto, parameters={"draw": n}).signed_map for n in (0, 0, 5)
    )
    np.testing.assert_array_equal(zero, same)
    want = np.tensordot(np.random.default_rng(5).uniform(-1, 1, 2), np.maximum(X[0], 0), 1)
    np.testing.assert_allclose(other, want, rtol=1e-6)


@pytest.mark.parametrize("name", ["eigen-cam", "kpca-cam", "fem", "random-cam"])
def test_what_knows_no_class_needs_no_gradient(name: str) -> None:
    """A layer that no gradient reaches has such a map; the file has no gradient to expose."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Round", ["a"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    proto = nets.model(nodes, {"x": ["N", 2, 2, 2]}, {"y": ["N", 2]})
    found = _found(name, proto)
    assert np.isfinite(found.signed_map).all() and "no class" in methods.find(name).limits
    with pytest.raises(UsageError, match="no gradient to expose"):
        onnxcam.convert(nets.cnn(), method=name, expose=["gradient"])


@pytest.mark.parametrize("name", ["eigen-cam", "eigen-gradcam", "seg-eigen-cam", "kpca-cam"])
def test_a_constant_layer_has_an_empty_map(name: str) -> None:
    found = _found(name, nets.one_by_one(), np.ones_like(X))
    assert np.isfinite(found.signed_map).all() and np.abs(found.signed_map).max() < 1e-5


def test_eigen_smoothing_is_the_component_of_what_is_summed() -> None:
    proto = nets.one_by_one()
    rows = (np.maximum(X[0], 0) * np.array([1, 3]).reshape(2, 1, 1) / 4).reshape(2, 4).T
    rows = rows - rows.mean(0)
    want = rows @ np.linalg.svd(rows)[2][0]
    want = want if want @ rows.sum(1) >= 0 else -want
    for name in ("gradcam", "hirescam"):
        found = _found(name, proto, parameters={"smoothing": "eigen"})
        np.testing.assert_allclose(found.signed_map.ravel(), want, rtol=1e-5, atol=1e-6)
        assert found.parameters["smoothing"] == "eigen"


# ---- FullGrad

WEIGHT = np.array([2, -1], "f4").reshape(1, 2, 1, 1)
CONV = helper.make_node("Conv", ["x", "w", "b"], ["z"])
NORM = helper.make_node("BatchNormalization", ["x", "g", "b", "m", "v"], ["z"], epsilon=0.0)
REST = [
    helper.make_node("Relu", ["z"], ["a"]),
    helper.make_node("Flatten", ["a"], ["f"]),
    helper.make_node("MatMul", ["f", "fc"], ["y"]),
]


def test_fullgrad_by_hand() -> None:
    """z = 2 x_0 - x_1 + 1/2 = [[2.5, -2.5], [3.5, -1.5]], y = (1, 1, 3, 1) relu(z)."""
    weights = {"w": WEIGHT, "b": np.array([0.5], "f4"), "fc": np.array([[1], [1], [3], [1]], "f4")}
    proto = nets.model([CONV, *REST], {"x": ["N", 2, 2, 2]}, {"y": ["N", 1]}, weights)
    found = _found("fullgrad", proto, layer=None)
    # |x dx| = (2, 0, 12, 0) and (0, 0, 3, 0); |b dz| = (1, 0, 3, 0) / 2
    np.testing.assert_allclose(found.map, [[2 / 12 + 1 / 3, 0], [3, 0]], rtol=1e-6)


def test_fullgrad_finds_the_bias_of_a_normalisation() -> None:
    """b - m g / sqrt(v) = (1 - 3, 1 - 4) = (-2, -3): z = (x_0 - 2, 2 x_1 - 3)."""
    given = {"g": [1, 4], "b": [1, 1], "m": [3, 2], "v": [1, 4]}
    weights = {k: np.array(v, "f4") for k, v in given.items()}
    proto = nets.model(
        [NORM, *REST], {"x": ["N", 2, 2, 2]}, {"y": ["N", 1]},
        {**weights, "fc": np.arange(1, 9, dtype="f4")[:, None]},
    )  # fmt: skip
    x = np.array([[[[5, 0], [3, 4]], [[1, 4], [3, 0]]]], "f4")
    found = _found("fullgrad", proto, x, layer=None)
    # dz = (1, 0, 3, 4) and (0, 6, 7, 0), dx = (1, 0, 3, 4) and (0, 12, 14, 0)
    want = np.array([5, 0, 9, 16]) / 16 + np.array([0, 48, 42, 0]) / 48
    want = want + np.array([1, 0, 3, 4]) / 4 + np.array([0, 6, 7, 0]) / 7
    np.testing.assert_allclose(found.map.ravel(), want, rtol=1e-6)


def test_fullgrad_needs_a_bias() -> None:
    with pytest.raises(UsageError, match="biases.*there is none"):
        _found("fullgrad", nets.one_by_one(), layer=None)
