"""Methods on gradients of many inputs: by hand, by closed forms, against naive versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from support import nets

from onnxcam import Explainer
from onnxcam.errors import InputError, UsageError
from onnxcam.methods.gradient.guided_integrated_gradients import _attributed
from onnxcam.methods.gradient.xrai import ranked
from onnxcam.methods.moments import Fourth

RNG = np.random.default_rng(12)
SIDE = 6
POINT = RNG.normal(size=(1, 2, SIDE, SIDE)).astype("f4")
W = RNG.normal(size=(2 * SIDE * SIDE, 2)).astype("f4")


def _polynomial(power: int) -> Any:
    """y = sum_j w_j x_j^power."""
    nodes = [
        helper.make_node("MaxPool", ["x"], ["m"], kernel_shape=[1, 1]),
        *(helper.make_node("Mul", ["m" if p == 2 else f"p{p - 1}", "m"], [f"p{p}"])
          for p in range(2, power + 1)),
        helper.make_node("Flatten", ["m" if power == 1 else f"p{power}"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]  # fmt: skip
    return nets.model(nodes, {"x": ["N", 2, SIDE, SIDE]}, {"y": ["N", 2]}, {"w": W})


def _plane(target: int) -> np.ndarray:
    return W[:, target].reshape(2, SIDE, SIDE)


def _found(name: str, proto: Any, x: np.ndarray, target: Any = 0, **options: Any) -> Any:
    chosen = {"device": "cpu", "threads": 1, "upsampling": "none", **options}
    return Explainer(proto, name, **chosen)(x, target=target)


# ---- ending early


@pytest.mark.parametrize("name", ["integrated-gradients", "vargrad", "expected-gradients",
                                  "smooth-gradcam++", "xrai"])  # fmt: skip
def test_a_budget_gives_the_map_so_far(name: str) -> None:
    for budget in (1, 7):
        options = {"budget": budget, "batch_size": 2, "feature_layer": None}
        found = _found(name, nets.cnn(size=SIDE), POINT, **options)
        assert np.isfinite(found.map).all() and "the map so far" in found.diagnosis[0]
        assert found.parameters["stopped"]


def test_integrated_gradients_that_end_early_are_of_the_whole_way() -> None:
    """Of w x^2 a few steps of fifty, wherever they lie, come near w x^2; the first ones do not."""
    whole, some = (
        _found("integrated-gradients", _polynomial(2), POINT, budget=budget, batch_size=1)
        for budget in (None, 10)
    )
    error = np.linalg.norm(some.signed_map - whole.signed_map)
    assert error < 0.15 * np.linalg.norm(whole.signed_map)


# ---- VarGrad


def test_the_variance_and_its_error() -> None:
    values = np.random.default_rng(0).normal(1e3, 2, (40, 3))
    found = Fourth()
    for value in values:
        found.add(value)
    away = values - values.mean(0)
    np.testing.assert_allclose(found.variance, values.var(0), rtol=1e-10)
    want = np.sqrt(((away**4).mean(0) - values.var(0) ** 2) / 40)
    np.testing.assert_allclose(found.error, want, rtol=1e-6)


@pytest.mark.parametrize("target", [0, 1])
def test_vargrad_of_a_square_is_within_its_error(target: int) -> None:
    """dy/dx = 2 w (x + e): its variance is 4 w^2 s^2; of a linear model it is 0."""
    settings = {"samples": 800}
    found = _found("vargrad", _polynomial(2), POINT, target, parameters=settings, seed=4)
    spread = 0.15 * (POINT.max() - POINT.min())
    size = np.abs(_plane(target)).max(0)
    # Where two channels are nearly alike the larger of two samples is drawn.
    clear = size > 1.2 * np.abs(_plane(target)).min(0)
    away = (np.abs(found.map - 4 * size**2 * spread**2) / found.standard_error)[clear]
    assert (away <= 3).mean() > 0.95 and away.max() < 4.5 and away.mean() > 0.3
    flat = _found("vargrad", _polynomial(1), POINT, target, parameters={"samples": 5})
    np.testing.assert_allclose(flat.map, 0, atol=1e-9)


def test_vargrad_is_the_variance_of_the_gradients() -> None:
    found = _found("vargrad", _polynomial(3), POINT, 1, parameters={"samples": 9}, seed=2)
    spread = 0.15 * (POINT.max() - POINT.min())
    noise = np.random.default_rng(2).standard_normal((9, *POINT.shape[1:]))
    slopes = 3 * _plane(1) * (POINT[0] + spread * noise) ** 2
    np.testing.assert_allclose(found.map, slopes.var(0).max(0), rtol=1e-4)


# ---- expected gradients


def test_expected_gradients_of_a_background(tmp_path: Path) -> None:
    """Of w x^2: E over b and t of (x - b) 2 w (b + t (x - b)) is w (x^2 - E b^2)."""
    background = RNG.normal(size=(4, 2, SIDE, SIDE)).astype("f4")
    np.save(tmp_path / "b.npy", background)
    settings = {"samples": 2000, "background": str(tmp_path / "b.npy")}
    found = _found("expected-gradients", _polynomial(2), POINT, 0, parameters=settings, seed=1)
    want = (_plane(0) * (POINT[0] ** 2 - (background**2).mean(0))).sum(0)
    away = np.abs(found.signed_map - want) / found.standard_error
    assert (away <= 3).mean() > 0.95 and away.max() < 4.5 and away.mean() > 0.3


def test_expected_gradients_are_the_naive_mean(tmp_path: Path) -> None:
    background = RNG.normal(size=(3, 2, SIDE, SIDE)).astype("f4")
    np.save(tmp_path / "b.npy", background)
    settings = {"samples": 7, "background": str(tmp_path / "b.npy")}
    found = _found("expected-gradients", _polynomial(3), POINT, [0, 1], parameters=settings, seed=6)
    rng = np.random.default_rng(6)
    total = np.zeros((2, SIDE, SIDE))
    for _ in range(7):
        start = background[rng.integers(3)]
        at = start + rng.random() * (POINT[0] - start)
        for k in (0, 1):
            total[k] += ((POINT[0] - start) * 3 * _plane(k) * at**2).sum(0) / 7
    for k in (0, 1):
        np.testing.assert_allclose(found[k].signed_map, total[k], rtol=1e-4, atol=1e-5)


def test_without_a_background_positions_are_shuffled() -> None:
    """The background has the input's mean: of a linear model the share is w (x - mean x)."""
    settings = {"samples": 3000}
    found = _found("expected-gradients", _polynomial(1), POINT, 0, parameters=settings, seed=1)
    mean = POINT[0].mean((1, 2), keepdims=True)
    want = (_plane(0) * (POINT[0] - mean)).sum(0)
    away = np.abs(found.signed_map - want) / found.standard_error
    assert (away <= 3).mean() > 0.95 and away.max() < 4.5


def test_a_background_fits_the_input(tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", np.zeros((4, 3, SIDE, SIDE), "f4"))
    for file, words in (tmp_path / "b.npy", "no inputs like"), (tmp_path / "no.npy", "cannot be"):
        with pytest.raises(InputError, match=words):
            _found(
                "expected-gradients", _polynomial(1), POINT, parameters={"background": str(file)}
            )


# ---- guided integrated gradients


@pytest.mark.parametrize("distance", [0.0, 0.02, 1.0])
def test_guided_integrated_gradients_sum_up_to_the_score(distance: float) -> None:
    """Of a linear model every path gives w x; of others the sum comes near, by small steps."""
    settings = {"steps": 20, "distance": distance}
    found = _found("guided-integrated-gradients", _polynomial(1), POINT, 1, parameters=settings)
    np.testing.assert_allclose(found.signed_map, (_plane(1) * POINT[0]).sum(0), atol=1e-5)
    settings["steps"] = 300
    found = _found("guided-integrated-gradients", _polynomial(2), POINT, 1, parameters=settings)
    missed = found.parameters["completeness_error"]
    assert abs(missed) < 0.03 * np.abs(found.signed_map).sum()


def test_a_guided_path_by_hand() -> None:
    """y = x_0 x_1 from (0, 0) to (1, 2) in two steps of 3/2, freely.

    Both gradients are 0 at first: both values go half of their way. At (1/2, 1) the gradient is
    (1, 1/2): of them the second is smaller and goes to 2, then the first to 1.
    """
    found = _attributed(np.array([1.0, 2.0]), np.zeros(2), lambda at: at[::-1].copy(), 2, 0.5, 1.0)
    np.testing.assert_allclose(found, [0.5 * 1, 1 * 0.5])


# ---- XRAI


def test_regions_are_ranked_by_their_gain() -> None:
    """The densest region first; of the one around it only what is new counts."""
    share = np.array([[4.0, 2, 0], [2, 0, 1], [0, 1, 1]])
    first = np.zeros((3, 3), bool)
    first[0, 0] = True
    second = np.zeros((3, 3), bool)
    second[:2, :2] = True
    found = ranked(share, np.stack([second, first]), least=1)
    third = 4 / 3
    np.testing.assert_allclose(found, [[4, third, 0.6], [third, third, 0.6], [0.6, 0.6, 0.6]])
    np.testing.assert_allclose(ranked(share, np.stack([second, first]), least=2)[:2, :2], 2)


def test_xrai_marks_the_region_that_counts() -> None:
    """A bright square on a dark ground, and a model that adds up what is bright in it."""
    x = np.zeros((1, 2, 32, 32), "f4")
    x[:, :, 8:20, 8:20] = 1
    weights = np.zeros((2, 32, 32), "f4")
    weights[:, 8:20, 8:20] = 1
    nodes = [
        helper.make_node("MaxPool", ["x"], ["m"], kernel_shape=[1, 1]),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    given = {"w": weights.reshape(-1, 1)}
    proto = nets.model(nodes, {"x": ["N", 2, 32, 32]}, {"y": ["N", 1]}, given)
    found = _found("xrai", proto, x, parameters={"steps": 2})
    inside, outside = found.map[8:20, 8:20], found.map[:2]
    assert inside.min() > outside.max()


def test_xrai_is_for_pictures() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    weights = {"w": np.ones((2, 2, 3), "f4")}
    proto = nets.model(nodes, {"x": ["N", 2, 8]}, {"y": ["N", 2]}, weights)
    with pytest.raises(UsageError, match="xrai explains pictures.*1 axes"):
        _found("xrai", proto, np.ones((1, 2, 8), "f4"))


# ---- Smooth Grad-CAM++


@pytest.mark.parametrize("samples", [2, 6])
def test_smooth_gradcam_plus_plus_of_a_constant_gradient(samples: int) -> None:
    """Behind a linear head the powers of the gradient are all there is: it is Grad-CAM++."""
    x = np.array([[[[1, 0], [2, -1]], [[0, 3], [1, 0]]]], "f4")
    settings = {"parameters": {"samples": samples}, "feature_layer": "a"}
    found = _found("smooth-gradcam++", nets.one_by_one(), x, [0, 1], **settings)
    want = _found("gradcam++", nets.one_by_one(), x, [0, 1], feature_layer="a")
    for each, other in zip(found, want, strict=True):
        np.testing.assert_allclose(each.map, other.map, rtol=1e-5)


def test_smooth_gradcam_plus_plus_is_the_naive_one() -> None:
    """y = sum w relu(x)^3, at a = relu(x): g = 3 w a^2 of each noisy copy."""
    nodes = [
        helper.make_node("MaxPool", ["x"], ["m"], kernel_shape=[1, 1]),
        helper.make_node("Relu", ["m"], ["a"]),
        helper.make_node("Mul", ["a", "a"], ["b"]),
        helper.make_node("Mul", ["b", "a"], ["c"]),
        helper.make_node("Flatten", ["c"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    proto = nets.model(nodes, {"x": ["N", 2, SIDE, SIDE]}, {"y": ["N", 2]}, {"w": W})
    settings = {"parameters": {"samples": 5, "noise": 0.2}, "feature_layer": "a", "seed": 3}
    found = _found("smooth-gradcam++", proto, POINT, 1, **settings)
    spread = 0.2 * (POINT.max() - POINT.min())
    noise = np.random.default_rng(3).standard_normal((5, *POINT.shape[1:]))
    g = 3 * _plane(1) * np.maximum(POINT[0] + spread * noise, 0) ** 2
    one, two, three = (np.mean(g**p, 0) for p in (1, 2, 3))
    a = np.maximum(POINT[0], 0)
    below = 2 * two + three * a.sum((1, 2), keepdims=True)
    with np.errstate(invalid="ignore"):
        alpha = np.where(below == 0, 0, two / below)
    want = np.tensordot((alpha * np.maximum(one, 0)).sum((1, 2)), a, 1)
    np.testing.assert_allclose(found.map, np.maximum(want, 0), rtol=1e-4)
