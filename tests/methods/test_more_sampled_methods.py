"""Methods of many runs against closed forms, naive loops and Captum."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from architectures.export import FEATURE, OUTPUT, export
from onnx import helper
from scipy import ndimage
from support import nets
from support.peer_packages import captum_attr
from torch import Tensor, nn

from onnxcam import Explainer
from onnxcam.errors import UsageError

RNG = np.random.default_rng(8)
SIDE = 6
POINT = RNG.normal(size=(1, 2, SIDE, SIDE)).astype("f4")
W = RNG.normal(size=(2 * SIDE * SIDE, 3)).astype("f4")


def _linear(power: int = 1) -> Any:
    """y = W x^power of pictures [N, 2, 6, 6]."""
    nodes = [
        helper.make_node("MaxPool", ["x"], ["m"], kernel_shape=[1, 1]),
        helper.make_node("Mul", ["m", "m"], ["s"]),
        helper.make_node("Flatten", ["s" if power == 2 else "m"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    return nets.model(nodes, {"x": ["N", 2, SIDE, SIDE]}, {"y": ["N", 3]}, {"w": W})


def _found(proto: Any, name: str, x: np.ndarray, target: Any = 0, seed: int = 6, **options: Any):
    layer = options.pop("layer", None)
    budget = options.pop("budget", None)
    explain = Explainer(
        proto, name, device="cpu", threads=1, upsampling="none", parameters=options, seed=seed,
        feature_layer=layer, budget=budget,
        reduction_layer=OUTPUT if layer == FEATURE else None,
    )  # fmt: skip
    return explain(x, target=target)


def _plane(target: int, x: np.ndarray = POINT) -> np.ndarray:
    return (W[:, target].reshape(2, SIDE, SIDE) * x[0]).sum(0)


# ---- feature permutation


def test_permutation_of_a_linear_model_is_what_the_background_lacks(tmp_path: Path) -> None:
    """M_i = w_i (x_i - mean of b_i), exactly, where all of the background is taken."""
    others = RNG.normal(size=(5, 2, SIDE, SIDE)).astype("f4")
    np.save(tmp_path / "b.npy", others)
    settings = {"background": str(tmp_path / "b.npy"), "regions": 36, "samples": 5}
    found = _found(_linear(), "feature-permutation", POINT, 1, **settings)
    want = _plane(1, POINT - others.mean(0, keepdims=True))
    np.testing.assert_allclose(found.signed_map, want, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found.standard_error, 0)
    assert found.parameters["exchanged_with"] == 5 and found.signed


def test_permutation_by_some_of_the_background_is_within_its_error(tmp_path: Path) -> None:
    others = RNG.normal(size=(400, 2, SIDE, SIDE)).astype("f4")
    np.save(tmp_path / "b.npy", others)
    settings = {"background": str(tmp_path / "b.npy"), "regions": 9, "samples": 60}
    whole = {**settings, "samples": 400}
    found, want = (_found(_linear(), "feature-permutation", POINT, **s) for s in (settings, whole))
    away = np.abs(found.signed_map - want.signed_map) / found.standard_error
    assert away.max() < 3.5 and found.standard_error.max() < want.signed_map.max()


def test_permutation_needs_others(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a single input has none") as error:
        _found(_linear(), "feature-permutation", POINT)
    assert "feature-ablation" in str(error.value.hint)


# ---- Shapley values by sampling


def test_shapley_values_by_sampling_of_a_linear_model_are_exact() -> None:
    found = _found(_linear(), "shapley-sampling", POINT, 2, regions=36, orders=2)
    np.testing.assert_allclose(found.signed_map, _plane(2), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.standard_error, 0, atol=1e-4)


def test_shapley_values_by_sampling_are_within_their_error() -> None:
    """Against all orders, of a net of three features that work together."""
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["m"]),
        helper.make_node("Relu", ["m"], ["r"]),
        helper.make_node("MatMul", ["r", "b"], ["y"]),
    ]
    a, b = RNG.normal(size=(3, 7)).astype("f4"), RNG.normal(size=(7, 2)).astype("f4")
    proto = nets.model(nodes, {"x": ["N", 3]}, {"y": ["N", 2]}, {"a": a, "b": b})
    x = np.array([[1.0, -2, 0.5]], "f4")

    def y(seen: tuple[int, ...]) -> float:
        shown = np.zeros(3, "f4")
        shown[list(seen)] = x[0, list(seen)]
        return float(np.maximum(shown @ a, 0) @ b[:, 1])

    want = np.zeros(3)
    orders = list(permutations(range(3)))
    for order in orders:
        for i, feature in enumerate(order):
            want[feature] += (y(order[: i + 1]) - y(order[:i])) / len(orders)
    found = _found(proto, "shapley-sampling", x, 1, orders=300)
    away = np.abs(found.signed_map.ravel() - want) / found.standard_error.ravel()
    assert away.max() < 3.5 and found.standard_error.max() < 0.3 * np.abs(want).max()
    total = y((0, 1, 2)) - y(())
    assert found.signed_map.sum() == pytest.approx(total, rel=1e-4)  # in every order


def test_shapley_values_of_one_region_and_of_a_small_budget() -> None:
    one = _found(_linear(), "shapley-sampling", POINT, regions=1, orders=3)
    np.testing.assert_allclose(one.signed_map, _plane(0).sum() / 36, rtol=1e-4)
    some = _found(_linear(), "shapley-sampling", POINT, regions=9, budget=4)
    assert some.parameters["stopped"] and some.signed_map.sum() == pytest.approx(
        _plane(0).sum(), rel=1e-3
    )


# ---- along a path


def test_blurred_gradients_of_a_linear_model() -> None:
    """The integral of a constant gradient is that times the whole way from the blurred input."""
    found = _found(_linear(), "blur-integrated-gradients", POINT, 1, steps=6, blur=0.3)
    blurred = ndimage.gaussian_filter(
        POINT[0].astype(float), [0, 0.3 * SIDE, 0.3 * SIDE], mode="nearest"
    )
    want = (W[:, 1].reshape(2, SIDE, SIDE) * (POINT[0] - blurred)).sum(0)
    np.testing.assert_allclose(found.signed_map, want, rtol=1e-3, atol=1e-4)
    assert abs(found.parameters["completeness_error"]) < 1e-3
    curved = _found(_linear(2), "blur-integrated-gradients", POINT, 1, steps=200, blur=0.3)
    assert abs(curved.parameters["completeness_error"]) < 0.02 * abs(float(curved.score))


def test_a_table_cannot_be_blurred() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    proto = nets.model(nodes, {"x": ["N", 2]}, {"y": ["N", 3]}, {"w": W[:2]})
    with pytest.raises(UsageError, match="no space to blur"):
        _found(proto, "blur-integrated-gradients", np.ones((1, 2), "f4"))


def test_squared_gradients_are_both_moments() -> None:
    """mean g^2 = (mean g)^2 + var g, of the same noise; one channel, so that no maximum differs."""
    nodes = [
        helper.make_node("MaxPool", ["x"], ["m"], kernel_shape=[1, 1]),
        helper.make_node("Mul", ["m", "m"], ["s"]),
        helper.make_node("Flatten", ["s"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    proto = nets.model(nodes, {"x": ["N", 1, 6, 6]}, {"y": ["N", 3]}, {"w": W[:36]})
    x = POINT[:, :1]
    both, mean, var = (
        _found(proto, name, x, samples=9).map for name in ("squaregrad", "smoothgrad", "vargrad")
    )
    np.testing.assert_allclose(both, mean**2 + var, rtol=1e-4)


# ---- at a layer


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.body = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.SiLU())
        self.head = nn.Sequential(nn.Conv2d(5, 4, 3, stride=2), nn.SiLU(), nn.Flatten(),
                                  nn.Linear(4 * 9, 3))  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class _Both(nn.Module):
    def __init__(self, net: _Net) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a = self.net.body(x)
        return self.net.head(a), a


def _exported(net: _Net) -> Any:
    return export(_Both(net).eval(), X.repeat(2, 1, 1, 1), dynamo=False)


X = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(2))


def test_conductance_sums_up_and_is_the_integral() -> None:
    """Against autograd at the same points, and the score's difference."""
    net = _Net()
    proto = _exported(net.eval())
    found = _found(proto, "conductance", X.numpy(), 1, steps=40, layer=FEATURE)
    rise = (net(X) - net(0 * X)).detach()[0, 1].item()
    assert found.signed_map.sum() == pytest.approx(rise, rel=5e-3)
    few = _found(proto, "conductance", X.numpy(), 1, steps=4, layer=FEATURE)
    want, before = np.zeros((8, 8)), None
    for t in np.linspace(0, 1, 5):
        a = net.body(float(t) * X).detach().requires_grad_()
        net.head(a)[0, 1].backward()
        here = a.detach().numpy()[0], a.grad.numpy()[0]
        if before is not None:
            want += ((here[0] - before[0]) * (here[1] + before[1]) / 2).sum(0)
        before = here
    np.testing.assert_allclose(few.signed_map, want, rtol=1e-3, atol=1e-5)


@pytest.mark.peers
def test_influence_is_captums() -> None:
    attr, net = captum_attr(), _Net()
    proto = _exported(net.eval())
    found = _found(proto, "internal-influence", X.numpy(), 2, steps=10, layer=FEATURE)
    want = attr.InternalInfluence(net, net.body).attribute(X, target=2, n_steps=10)
    np.testing.assert_allclose(found.signed_map, want[0].sum(0).detach(), rtol=1e-3, atol=1e-6)


@pytest.mark.peers
def test_gradient_shap_is_captums(tmp_path: Path) -> None:
    """Of random numbers of their own: the difference is within the errors of both."""
    attr, net = captum_attr(), _Net()
    proto = _exported(net.eval())
    others = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(9))
    np.save(tmp_path / "b.npy", others.numpy())
    settings = {"samples": 3000, "background": str(tmp_path / "b.npy"), "noise": 0.1}
    found = _found(proto, "expected-gradients", X.numpy(), 0, **settings)
    torch.manual_seed(0)
    spread = 0.1 * float(X.max() - X.min())
    want = attr.GradientShap(net).attribute(
        X, others, n_samples=3000, stdevs=spread, target=0
    )[0].sum(0).detach().numpy()  # fmt: skip
    away = np.abs(found.signed_map - want) / (2**0.5 * found.standard_error)
    assert away.max() < 4.5 and away.mean() < 1.2


# ---- SESS


def test_sess_of_one_scale_is_gradcam() -> None:
    """One window is the input: Grad-CAM from 0 to 1, enlarged and smoothed."""
    proto = nets.cnn()
    x = np.random.default_rng(5).normal(size=(1, 2, 6, 6)).astype("f4")
    cam = _found(proto, "gradcam", x, 1)
    found = _found(proto, "sess", x, 1, scales=1, keep=1)
    want = (cam.raw_map - cam.raw_map.min()) / np.ptp(cam.raw_map)
    assert want.shape == (6, 6)  # the layer is as large as the input
    want = ndimage.gaussian_filter(want, 6 * 5 / 224, mode="mirror", truncate=1)
    np.testing.assert_allclose(found.raw_map, want, rtol=1e-4, atol=1e-6)
    assert found.parameters["windows"] == 1


def test_sess_by_hand() -> None:
    """Two scales of a signal that a layer leaves as it is, by loops."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("GlobalAveragePool", ["a"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    weights = {"w": np.array([[1, -1], [-0.5, 2]], "f4")}
    proto = nets.model(nodes, {"x": ["N", 2, 7]}, {"y": ["N", 2]}, weights)
    x = np.random.default_rng(1).normal(size=(1, 2, 7)).astype("f4")
    found = _found(proto, "sess", x, 0, scales=2, keep=1, score="score", layer="a")

    def resized(row: np.ndarray, size: int) -> np.ndarray:
        at = np.clip((np.arange(size) + 0.5) * len(row) / size - 0.5, 0, len(row) - 1)
        return np.interp(at, np.arange(len(row)), row)

    large = np.stack([resized(row, 9) for row in x[0]])
    windows = [(x[0], 7, 0), (large[:, :7], 9, 0), (large[:, 2:], 9, 2)]
    y = [np.maximum(np.maximum(w, 0).mean(1) @ [1, -0.5], 0) for w, _, _ in windows]
    total, count = np.zeros(7), np.zeros(7)
    for (window, size, start), score in zip(windows, y, strict=True):
        cam = np.maximum(np.maximum(window, 0).T @ [1, -0.5], 0)
        whole = np.zeros(size)
        whole[start : start + 7] = (cam - cam.min()) / np.ptp(cam)
        part = resized(whole, 7) * score / max(y)
        total, count = total + part, count + (part > 0)
    mean = np.divide(total, count, out=np.zeros(7), where=count > 0)
    want = ndimage.gaussian_filter(mean, 7 * 5 / 224, mode="mirror", truncate=1)
    np.testing.assert_allclose(found.raw_map, want, rtol=1e-4, atol=1e-6)
