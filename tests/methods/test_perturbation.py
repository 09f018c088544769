"""Perturbation methods: by hand, by closed forms, against naive NumPy, and against Captum."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import combinations, product
from math import factorial
from typing import Any

import numpy as np
import pytest
import torch
from onnx import helper
from scipy.stats import qmc
from support import nets
from support.peer_packages import captum_attr

from onnxcam import Explainer, methods
from onnxcam.errors import UsageError
from onnxcam.methods import SampledMethod
from onnxcam.methods.perturb.regions import regions
from onnxcam.run.fitting import check_asked
from onnxcam.run.session import Session
from onnxcam.targets import Score

RNG = np.random.default_rng(21)
SIDE = 6
POINT = RNG.normal(size=(1, 2, SIDE, SIDE)).astype("f4")
W = RNG.normal(size=(2 * SIDE * SIDE, 3)).astype("f4")
BIAS = np.array([3, -2, 1], "f4")


def _linear() -> Any:
    """y = W x + b of pictures [N, 2, 6, 6]."""
    nodes = [
        helper.make_node("MaxPool", ["x"], ["m"], kernel_shape=[1, 1]),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["y"]),
    ]
    return nets.model(
        nodes, {"x": ["N", 2, SIDE, SIDE]}, {"y": ["N", 3]}, {"w": W, "b": BIAS}
    )  # fmt: skip


def _plane(target: int, baseline: float = 0) -> np.ndarray:
    """What each place adds to the score, against a baseline."""
    return (W[:, target].reshape(2, SIDE, SIDE) * (POINT[0] - baseline)).sum(0)


def _explained(proto: Any, name: str, x: np.ndarray, target: Any = 0, **settings: Any) -> Any:
    options = {"device": "cpu", "threads": 1, "upsampling": "none", "parameters": settings}
    return Explainer(proto, name, **options, seed=6)(x, target=target)


def _predict(proto: Any, x: np.ndarray) -> np.ndarray:
    return _session(proto.SerializeToString()).run({"x": x.astype("f4")})[0]


@cache
def _session(data: bytes) -> Session:
    return Session(data, device="cpu", threads=1)


# ---- a linear model


@pytest.mark.parametrize("baseline", [0.0, 0.7])
def test_feature_ablation_of_a_linear_model(baseline: float) -> None:
    found = _explained(_linear(), "feature-ablation", POINT, 1, regions=36, baseline=baseline)
    np.testing.assert_allclose(found.map, _plane(1, baseline), rtol=1e-3, atol=1e-4)
    assert found.signed and (found.map < 0).any() and found.parameters["parts"] == 36


@pytest.mark.parametrize("samples", [100, 600])
def test_kernel_shap_of_a_linear_model_is_exact(samples: int) -> None:
    """However few coalitions there are, once they tell the parts apart."""
    found = _explained(_linear(), "kernel-shap", POINT, 2, regions=36, samples=samples)
    np.testing.assert_allclose(found.map, _plane(2), rtol=1e-3, atol=1e-3)
    whole, nothing = _predict(_linear(), np.concatenate([POINT, 0 * POINT]))[:, 2]
    assert found.map.sum() == pytest.approx(whole - nothing, rel=1e-4)


def test_lime_of_a_linear_model_is_exact_without_a_penalty() -> None:
    settings = {"regions": 36, "samples": 200, "penalty": 0, "fill": "value", "score": "score"}
    found = _explained(_linear(), "lime", POINT, 0, **settings)
    np.testing.assert_allclose(found.map, _plane(0), rtol=1e-3, atol=1e-3)
    assert found.parameters["fit"] == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(found.standard_error, 0, atol=1e-3)


def test_occlusion_of_a_linear_model_is_the_mean_over_windows() -> None:
    """A window of 1 is the share of a place; of 3, what the windows that cover it have in sum."""
    one = _explained(_linear(), "occlusion", POINT, 0, window=1, stride=1)
    np.testing.assert_allclose(one.map, _plane(0), rtol=1e-3, atol=1e-4)
    share, want, often = _plane(0), np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE))
    for i, j in product(range(0, SIDE, 2), repeat=2):  # 0, 2 and, cut off, 4
        box = np.s_[i : i + 3, j : j + 3]
        want[box] += share[box].sum()
        often[box] += 1
    found = _explained(_linear(), "occlusion", POINT, 0, window=3, stride=2)
    np.testing.assert_allclose(found.map, want / often, rtol=1e-3, atol=1e-4)


def test_sobol_indices_of_a_linear_model_are_within_their_error() -> None:
    """Of independent masks from 0 to 1 the variance of a cell is (its share)^2 / 12."""
    settings = {"cells": 3, "designs": 256, "score": "score"}
    found = _explained(_linear(), "sobol", POINT, 0, **settings)
    share = _plane(0).reshape(3, 2, 3, 2).sum((1, 3))
    away = np.abs(found.raw_map - share**2 / (share**2).sum()) / found.standard_error
    assert away.max() < 3.5 and found.standard_error.max() < 0.1
    assert found.raw_map.sum() == pytest.approx(1, abs=0.1)


def test_hsic_finds_the_cells_of_a_linear_model() -> None:
    settings = {"cells": 3, "samples": 400, "score": "score", "regions": 9}
    del settings["regions"]
    found = _explained(_linear(), "hsic", POINT, 0, **settings)
    share = np.abs(_plane(0).reshape(3, 2, 3, 2).sum((1, 3)))
    assert found.raw_map.argmax() == share.argmax() and (found.raw_map > 0).all()


@pytest.mark.parametrize("space", [(40, 40), (30, 50), (12, 12, 12)])
def test_noise_is_cut_into_regions_as_well(space: tuple[int, ...]) -> None:
    """SLIC follows edges, and joins what is left over: of noise it would leave a few."""
    for channels in (1, 3):
        labels = regions(RNG.normal(size=(channels, *space)), 50)
        assert 25 <= labels.max() + 1 <= 110 and labels.shape == space
        assert (np.unique(labels) == np.arange(labels.max() + 1)).all()
        assert np.bincount(labels.ravel()).max() < 0.15 * labels.size


# ---- MATLAB's occlusion


def test_matlabs_occlusion_has_a_value_a_window() -> None:
    """With clipping the centres are inside, without it the windows; the map is one of windows."""
    share = _plane(0)
    centred = _explained(_linear(), "occlusion", POINT, window=3, stride=2, edges="centred")
    inside = _explained(_linear(), "occlusion", POINT, window=3, stride=2, edges="inside")
    want = [
        [share[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].sum() for j in (0, 2, 4)]
        for i in (0, 2, 4)
    ]
    np.testing.assert_allclose(centred.raw_map, want, rtol=1e-3, atol=1e-3)
    want = [[share[i : i + 3, j : j + 3].sum() for j in (0, 2)] for i in (0, 2)]
    np.testing.assert_allclose(inside.raw_map, want, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("shape", [(7,), (5, 6), (3, 4, 5)])
def test_occlusion_of_any_rank(shape: tuple[int, ...]) -> None:
    size = 2 * int(np.prod(shape))
    w = RNG.normal(size=(size, 2)).astype("f4")
    nodes = [
        helper.make_node("MaxPool", ["x"], ["m"], kernel_shape=[1] * len(shape)),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    proto = nets.model(nodes, {"x": ["N", 2, *shape]}, {"y": ["N", 2]}, {"w": w})
    x = RNG.normal(size=(1, 2, *shape)).astype("f4")
    found = _explained(proto, "occlusion", x, 1, window=1, stride=1)
    want = (w[:, 1].reshape(2, *shape) * x[0]).sum(0)
    np.testing.assert_allclose(found.map, want, rtol=1e-3, atol=1e-4)


def _shares(shape: tuple[int, ...]) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return a linear model of inputs [2, *shape], one of them, and the share of each number."""
    w = RNG.normal(size=(2 * int(np.prod(shape)), 2)).astype("f4")
    nodes = [
        helper.make_node("MaxPool", ["x"], ["m"], kernel_shape=[1] * len(shape)),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    proto = nets.model(nodes, {"x": ["N", 2, *shape]}, {"y": ["N", 2]}, {"w": w})
    x = RNG.normal(size=(1, 2, *shape)).astype("f4")
    return proto, x, w[:, 1].reshape(2, *shape) * x[0]


@pytest.mark.parametrize(
    ("shape", "window", "stride"),
    [((7,), (3,), 2), ((7,), (1, 3), (1, 2)), ((5, 6), (1, 4), (2, 3)), ((5, 6), (2, 1, 4), (2, 3)),
     ((3, 4, 5), (1, 2, 3), (1, 2, 1)), ((3, 4, 5), (1, 1, 2, 3), 2), ((8,), (0.25,), 1)],
)  # fmt: skip
def test_windows_of_their_own_shape(shape: Any, window: Any, stride: Any) -> None:
    """Sequences, pictures and volumes, with and without windows over channels, by plain loops."""
    proto, x, share = _shares(shape)
    pairs = zip(window[-len(shape) :], shape, strict=True)
    size = [int(v) if v >= 1 else round(v * n) for v, n in pairs]
    step = [*stride] if isinstance(stride, tuple) else [stride] * len(shape)
    size, step = [window[0] if len(window) > len(shape) else 2, *size], [2, *step[-len(shape) :]]
    if len(window) > len(shape):
        step[0] = stride[0] if isinstance(stride, tuple) and len(stride) > len(shape) else size[0]
    want, often = np.zeros(share.shape), np.zeros(share.shape)
    counts = [1 + -(-(n - s) // d) for n, s, d in zip(share.shape, size, step, strict=True)]
    for at in product(*map(range, counts)):
        box = tuple(slice(i * d, i * d + s) for i, d, s in zip(at, step, size, strict=True))
        want[box] += share[box].sum()
        often[box] += 1
    found = _explained(proto, "occlusion", x, 1, window=[*window], stride=stride)
    np.testing.assert_allclose(found.map, (want / np.maximum(often, 1)).mean(0), atol=2e-5)


def test_windows_over_channels_by_hand() -> None:
    """A channel at a time: the map of each is its share, and they are kept beside their mean."""
    proto, x, share = _shares((4,))
    found = _explained(proto, "occlusion", x, 1, window="1x1", stride=1)
    np.testing.assert_allclose(found.relief, share, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.signed_map, share.mean(0), rtol=1e-4, atol=1e-5)
    coarse = _explained(proto, "occlusion", x, 1, window="1x2", stride=2, edges="inside")
    want = share.reshape(2, 2, 2).sum(2).mean(0)
    np.testing.assert_allclose(coarse.raw_map, want, rtol=1e-4, atol=1e-5)


def test_windows_that_do_not_fit_are_refused() -> None:
    for window, match in (("1x1x2x2", "4 numbers.*2 axes of space"), ("2", None)):
        if match is None:
            assert _explained(_linear(), "occlusion", POINT, window=window).map.any()
            continue
        with pytest.raises(UsageError, match=match):
            _explained(_linear(), "occlusion", POINT, window=window)
    for wrong in ("2x", "axb", [2, 0], "2x-1", [], [True, 2]):
        with pytest.raises(UsageError, match="window is .* or one for each axis, as 8x16"):
            _explained(_linear(), "occlusion", POINT, window=wrong)


# ---- naive versions on a net


def _seen(x: np.ndarray, labels: np.ndarray, shown: np.ndarray) -> np.ndarray:
    other = x.copy()
    for region in range(labels.max() + 1):
        if not shown[region]:
            other[0][:, labels == region] = 0
    return other


def test_shapley_values_of_a_net_are_the_sum_over_all_orders() -> None:
    proto = nets.cnn(size=SIDE)
    found = _explained(proto, "kernel-shap", POINT, 1, regions=5, samples=1000)
    labels = regions(POINT[0], 5)
    count = labels.max() + 1

    def value(members: tuple[int, ...]) -> float:
        shown = np.isin(np.arange(count), members)
        return float(_predict(proto, _seen(POINT, labels, shown))[0, 1])

    for region in range(count):
        others, total = [r for r in range(count) if r != region], 0.0
        for size in range(count):
            weight = factorial(size) * factorial(count - size - 1) / factorial(count)
            for members in combinations(others, size):
                total += weight * (value((*members, region)) - value(members))
        places = labels == region
        np.testing.assert_allclose(found.map[places], total / places.sum(), rtol=1e-3, atol=1e-5)
    assert not found.standard_error.any()


def test_sampled_shapley_values_are_within_their_error() -> None:
    proto, x = nets.cnn(size=12), RNG.normal(size=(1, 2, 12, 12)).astype("f4")
    exact = _explained(proto, "kernel-shap", x, 1, regions=9, samples=5000)
    count = exact.parameters["parts"]
    some = _explained(proto, "kernel-shap", x, 1, regions=9, samples=int(2**count) // 2)
    away = np.abs(some.map - exact.map) / np.maximum(some.standard_error, 1e-9)
    assert (some.standard_error > 0).all() and away.max() < 4


def test_lime_is_sklearns_ridge_over_the_same_masks() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    proto = nets.cnn(size=SIDE)
    settings = {"regions": 9, "samples": 60, "fill": "value"}
    found = _explained(proto, "lime", POINT, 2, **settings)
    labels, rng = regions(POINT[0], 9), np.random.default_rng(6)
    count = labels.max() + 1
    rows = np.array([np.ones(count, bool), *(rng.random(count) < 0.5 for _ in range(59))])
    y = np.concatenate([_predict(proto, _seen(POINT, labels, row)) for row in rows])
    y = (np.exp(y) / np.exp(y).sum(1, keepdims=True))[:, 2]
    ones = np.ones(count)
    cosine = np.array([r @ ones / np.sqrt(max(r.sum(), 1e-12) * count) for r in rows.astype(float)])
    near = np.sqrt(np.exp(-((1 - cosine) ** 2) / 0.25**2))
    fit = linear_model.Ridge(alpha=1.0).fit(rows, y, sample_weight=near)
    np.testing.assert_allclose(found.map, fit.coef_[labels], rtol=1e-3, atol=1e-7)
    assert found.parameters["fit"] == pytest.approx(fit.score(rows, y, near), rel=1e-4)


def test_sobol_is_the_naive_double_loop() -> None:
    proto = nets.cnn(size=SIDE)
    found = _explained(proto, "sobol", POINT, 0, cells=2, designs=8, score="score")
    designs = qmc.Sobol(8, scramble=True, rng=np.random.default_rng(6)).random(8)

    def value(mask: np.ndarray) -> float:
        large = np.repeat(np.repeat(mask.reshape(2, 2), 3, 0), 3, 1)
        return float(_predict(proto, POINT * large)[0, 0])

    whole = [value(row[:4]) for row in designs]
    for cell in range(4):
        gone = 0.0
        for row, y in zip(designs, whole, strict=True):
            mixed = row[:4].copy()
            mixed[cell] = row[4 + cell]
            gone += (y - value(mixed)) ** 2
        want = gone / (2 * 8 * np.var(whole, ddof=1))
        assert found.raw_map.ravel()[cell] == pytest.approx(want, rel=1e-3)


def test_hsic_is_the_naive_trace() -> None:
    proto = nets.cnn(size=SIDE)
    found = _explained(proto, "hsic", POINT, 0, cells=2, samples=20, score="score")
    masks = qmc.LatinHypercube(4, rng=np.random.default_rng(6)).random(20) >= 0.5
    assert (masks.sum(0) == 10).all()
    large = np.repeat(np.repeat(masks.reshape(20, 1, 2, 2), 3, 2), 3, 3)
    y = np.concatenate([_predict(proto, POINT * each) for each in large])[:, 0].astype(float)
    middle = np.eye(20) - 1 / 20
    outer = np.exp(-((y[:, None] - y) ** 2) / (2 * np.median(y) ** 2))
    for cell in range(4):
        m = masks[:, cell].astype(float)
        inner = 1 + (0.5 - (m[:, None] - m) ** 2)
        want = np.trace(middle @ inner @ middle @ outer) / 20**2
        assert found.raw_map.ravel()[cell] == pytest.approx(want, rel=1e-3, abs=1e-9)


# ---- over channels and positions


X = np.array([[[[1, 0], [2, -1]], [[0, 3], [1, 0]]]], "f4")  # as in test_methods.py
A = np.maximum(X[0], 0)


def test_recipro_cam_by_hand() -> None:
    """Behind the layer a mean over 4 places, then fc: each place alone, alone."""
    proto = nets.one_by_one()
    fc = nets.numpy_helper.to_array(proto.graph.initializer[0])
    options = {"feature_layer": "a", "device": "cpu", "threads": 1, "upsampling": "none"}
    single = Explainer(
        proto, "recipro-cam", parameters={"around": "single", "score": "score"}, **options
    )(X, target=1)
    want = np.einsum("khw,k->hw", A, fc[:, 1]) / 4
    np.testing.assert_allclose(single.map, want, rtol=1e-5, atol=1e-6)
    soft = Explainer(proto, "recipro-cam", parameters={"score": "score"}, **options)(X, target=1)
    for i, j in product(range(2), repeat=2):
        near = sum(
            want[k, m] * (0.5 if k == i else 0.25) * (0.5 if m == j else 0.25)
            for k, m in product(range(2), repeat=2)
        )
        assert soft.map[i, j] == pytest.approx(near, rel=1e-4, abs=1e-6)
    likely = Explainer(proto, "recipro-cam", parameters={"around": "single"}, **options)(
        X, target=0
    )
    y = np.einsum("khw,kc->hwc", A, fc) / 4
    p = np.exp(y) / np.exp(y).sum(-1, keepdims=True)
    np.testing.assert_allclose(likely.map, p[..., 0], rtol=1e-4)


def test_is_cam_of_one_step_is_score_cam_and_ss_cam_without_noise_too() -> None:
    proto = nets.cnn(size=SIDE)
    want = _explained(proto, "score-cam", POINT, 1)
    for name, settings in ("is-cam", {"steps": 1}), ("ss-cam", {"samples": 2, "noise": 0}):
        found = _explained(proto, name, POINT, 1, **settings)
        np.testing.assert_allclose(found.signed_map, want.signed_map, rtol=1e-4)


def test_is_cam_is_the_naive_double_loop() -> None:
    proto = nets.cnn(size=SIDE)
    found = _explained(proto, "is-cam", POINT, 1, steps=3)
    layer = found.feature_layer
    from onnxcam.model.draft import expose
    from onnxcam.model.model import load

    session = Session(expose(load(proto), [layer]), device="cpu")
    (a,) = session.run({"x": POINT}, [layer])
    means = []
    for channel in a[0]:
        large = torch.nn.functional.interpolate(
            torch.from_numpy(channel)[None, None], POINT.shape[2:], mode="bilinear",
            align_corners=True,
        )[0, 0].numpy()  # fmt: skip
        mask = (large - large.min()) / (large.max() - large.min() + 1e-8)
        means.append(np.mean([_predict(proto, POINT * mask * i / 3)[0, 1] for i in (1, 2, 3)]))
    powers = np.exp(np.array(means) - max(means))
    want = np.tensordot(powers / powers.sum(), a[0], 1)
    np.testing.assert_allclose(found.signed_map, want, rtol=1e-3)


def test_aise_finds_the_place_that_the_score_is_of() -> None:
    """y is what lies at one place: bells there gain, bells elsewhere lose."""
    w = np.zeros((2 * SIDE * SIDE, 3), "f4")
    w[1 * SIDE + 4, 0] = 1
    proto = _linear()
    proto.graph.initializer[0].CopyFrom(nets.numpy_helper.from_array(w, "w"))
    x = np.ones_like(POINT)
    found = _explained(proto, "aise", x, 0, evaluations=40, score="score")
    assert np.unravel_index(found.map.argmax(), found.map.shape) == (1, 4)
    assert found.map[1, 4] > 2.5 and found.map[5, 0] < 0.5 * found.map[1, 4]


def test_aise_finds_an_object_of_which_no_bell_alone_is_enough() -> None:
    """The class needs most of an area, so that each bell that is kept alone loses it."""
    w = np.zeros((2, SIDE, SIDE, 3), "f4")
    w[0, :4, :4, 0] = 1
    proto = _linear()
    proto.graph.initializer[0].CopyFrom(nets.numpy_helper.from_array(w.reshape(-1, 3), "w"))
    proto.graph.initializer[1].CopyFrom(
        nets.numpy_helper.from_array(np.array([-12, 0, -99], "f4"), "b")
    )
    found = _explained(proto, "aise", np.ones_like(POINT), 0, evaluations=40)
    assert _predict(proto, np.ones_like(POINT))[0, 0] > 0.9
    assert found.map[:4, :4].min() > found.map[5:, :].max() > 0
    assert found.map[:4, :4].min() > found.map[:, 5:].max()


# ---- Captum


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
def test_occlusion_feature_ablation_and_shapley_values_are_captums() -> None:
    attr = captum_attr()
    weights = torch.from_numpy(W), torch.from_numpy(BIAS)

    def net(x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x.flatten(1) @ weights[0] / 5) * 3 + weights[1]

    nodes = [
        helper.make_node("MaxPool", ["x"], ["m"], kernel_shape=[1, 1]),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["g"]),
        helper.make_node("Div", ["g", "five"], ["d"]),
        helper.make_node("Tanh", ["d"], ["t"]),
        helper.make_node("Mul", ["t", "three"], ["u"]),
        helper.make_node("Add", ["u", "b"], ["y"]),
    ]
    held = {"w": W, "five": np.float32([5]), "three": np.float32([3]), "b": BIAS}
    proto = nets.model(nodes, {"x": ["N", 2, SIDE, SIDE]}, {"y": ["N", 3]}, held)
    x = torch.from_numpy(POINT)
    for window, stride in (2, 1), (3, 2), (4, 3):
        want = attr.Occlusion(net).attribute(
            x, (2, window, window), strides=(2, stride, stride), baselines=0.3, target=1
        )
        found = _explained(proto, "occlusion", POINT, 1, window=window, stride=stride, baseline=0.3)
        np.testing.assert_allclose(found.map, want[0, 0].numpy(), rtol=1e-3, atol=1e-5)
    for window, stride in ((1, 2, 3), (1, 1, 2)), ((2, 2, 4), (2, 1, 3)), ((1, 4, 4), (1, 2, 4)):
        want = attr.Occlusion(net).attribute(x, window, strides=stride, baselines=0.3, target=1)[0]
        shape = "x".join(map(str, window))
        found = _explained(proto, "occlusion", POINT, 1, window=shape, stride=stride, baseline=0.3)
        np.testing.assert_allclose(found.map, want.mean(0).numpy(), rtol=1e-3, atol=1e-5)
        if window[0] == 1:
            np.testing.assert_allclose(found.relief, want.numpy(), rtol=1e-3, atol=1e-5)
    labels = regions(POINT[0], 5)
    mask = torch.from_numpy(labels)[None, None].expand_as(x).contiguous()
    want = attr.FeatureAblation(net).attribute(x, feature_mask=mask, target=2)
    found = _explained(proto, "feature-ablation", POINT, 2, regions=5)
    np.testing.assert_allclose(found.map, want[0, 0].numpy(), rtol=1e-3, atol=1e-5)
    want = attr.ShapleyValues(net).attribute(x, feature_mask=mask, target=2)[0, 0].numpy()
    found = _explained(proto, "kernel-shap", POINT, 2, regions=5, samples=1000)
    size = np.bincount(labels.ravel())[labels]
    np.testing.assert_allclose(found.map * size, want, rtol=2e-3, atol=1e-4)


# ---- what has no gradient


def _trees(features: int = 3) -> Any:
    """A forest of two stumps: x_0 <= 0.5 and x_2 <= -1 vote for a class each."""
    nodes = helper.make_node(
        "TreeEnsembleClassifier", ["x"], ["label", "p"], domain="ai.onnx.ml",
        nodes_treeids=[0, 0, 0, 1, 1, 1], nodes_nodeids=[0, 1, 2] * 2,
        nodes_featureids=[0, 0, 0, 2, 0, 0], nodes_values=[0.5, 0, 0, -1, 0, 0],
        nodes_hitrates=[1.0] * 6, nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"] * 2,
        nodes_truenodeids=[1, 0, 0] * 2, nodes_falsenodeids=[2, 0, 0] * 2,
        nodes_missing_value_tracks_true=[0] * 6,
        class_treeids=[0, 0, 1, 1], class_nodeids=[1, 2, 1, 2], class_ids=[0, 1, 0, 1],
        class_weights=[0.5, 0.5, 0.5, 0.5], classlabels_int64s=[0, 1, 2], post_transform="NONE",
    )  # fmt: skip
    ports = helper.make_tensor_value_info("x", 1, ["N", features])
    out = [helper.make_tensor_value_info("label", 7, ["N"]),
           helper.make_tensor_value_info("p", 1, ["N", 3])]  # fmt: skip
    graph = helper.make_graph([nodes], "forest", [ports], out)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


@pytest.mark.parametrize("name", ["feature-ablation", "kernel-shap", "occlusion", "lime", "rise",
                                  "sobol", "hsic"])  # fmt: skip
def test_forests_have_maps_of_their_features(name: str) -> None:
    """x = (2, 5, -3) passes the first threshold only, and 5 is looked at by nobody."""
    x = np.array([[2, 5, -3]], "f4")
    settings: dict[str, Any] = {"score": "score"}
    if name in ("rise", "sobol", "hsic"):
        settings["cells"] = 3
    if name == "lime":
        settings["penalty"] = 0.01
    if name == "occlusion":
        settings.update(window=1, stride=1)
    found = _explained(_trees(), name, x, 1, **settings)
    assert found.map.shape == (3,)
    if name in ("feature-ablation", "kernel-shap", "occlusion"):
        np.testing.assert_allclose(found.map, [0.5, 0, -0.5], atol=1e-5)
    elif name == "lime":
        assert found.map[0] > 0.3 and abs(found.map[1]) < 0.05 and found.map[2] < -0.3
    elif name != "rise":
        assert found.map[1] < 0.2 * min(found.map[0], found.map[2])


def test_few_samples_are_said_to_be() -> None:
    found = _explained(_linear(), "kernel-shap", POINT, regions=36, samples=10)
    assert any("8 samples cannot tell 36 parts apart" in said for said in found.diagnosis)


# ---- other targets


def test_what_is_explained_may_be_another_target() -> None:
    """The margin of two scores of a linear model has the difference of their shares."""
    from onnxcam.targets import Margin, Probability

    options = {"device": "cpu", "threads": 1, "upsampling": "none", "parameters": {"regions": 36}}
    explain = Explainer(_linear(), "feature-ablation", **options)
    found = explain(POINT, target=[Margin(0, 2), Margin(1, 2), 1])
    np.testing.assert_allclose(found[0].map, _plane(0) - _plane(2), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found[1].map, _plane(1) - _plane(2), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found[2].map, _plane(1), rtol=1e-3, atol=1e-3)
    scores = _predict(_linear(), POINT)[0]
    assert found[0].quantity == "margin over 2"
    assert found[0].score == pytest.approx(scores[0] - scores[2], rel=1e-4)
    likely = explain(POINT, target=Probability(1))
    assert likely.score == pytest.approx(np.exp(scores[1]) / np.exp(scores).sum(), rel=1e-4)


def test_a_head_may_be_asked_for_another_target() -> None:
    from onnxcam.targets import Margin

    options = {"feature_layer": "a", "device": "cpu", "threads": 1, "upsampling": "none"}
    explain = Explainer(nets.one_by_one(), "recipro-cam",
                        parameters={"around": "single", "score": "score"}, **options)  # fmt: skip
    found, first, second = explain(X, target=[Margin(0, 1), 0, 1])
    np.testing.assert_allclose(found.map, first.map - second.map, rtol=1e-4, atol=1e-6)


# ---- a budget


@pytest.mark.parametrize("name", ["occlusion", "lime", "kernel-shap", "sobol", "hsic", "rise",
                                  "score-cam", "ablation-cam", "recipro-cam", "ss-cam", "is-cam",
                                  "aise", "feature-ablation", "smoothgrad",
                                  "guided-integrated-gradients", "shapley-sampling",
                                  "squaregrad", "internal-influence",
                                  "blur-integrated-gradients"])  # fmt: skip
@pytest.mark.parametrize("budget", [1, 3, 20])
def test_a_budget_gives_the_map_so_far(name: str, budget: int) -> None:
    told: list[int] = []
    found = Explainer(
        nets.cnn(size=SIDE), name, device="cpu", threads=1, budget=budget, batch_size=2,
        progress=lambda done, total: told.append(done),
    )(POINT, target=1)  # fmt: skip
    assert np.isfinite(found.map).all()
    assert max(told) <= max(budget, 2)
    small = (name == "score-cam" and budget > 1) or (name == "ablation-cam" and budget == 20)
    assert ("stopped" in found.parameters) != small
    assert small or "the map so far" in found.diagnosis[0]


@pytest.mark.parametrize("budget", [0, -1, 1.5, True])
def test_a_budget_is_a_number_of_runs(budget: Any) -> None:
    with pytest.raises(UsageError, match="budget"):
        Explainer(nets.cnn(), "rise", budget=budget)
    assert Explainer(nets.cnn(), "gradcam", budget=1)


def test_a_method_that_cannot_end_early_takes_no_budget() -> None:
    rise = methods.find("rise")
    assert isinstance(rise, SampledMethod)
    whole = replace(rise, anytime=False)
    check_asked(whole, Score(), None, matched=False)
    with pytest.raises(UsageError, match="rise has no map before its last run"):
        check_asked(whole, Score(), 5, matched=False)


@pytest.mark.parametrize("budget", [1, 2, 4, 7])
def test_a_region_so_far_is_one_that_suffices(budget: int) -> None:
    """A search that ends early has found such a region, and says that there may be smaller ones."""
    options = {"device": "cpu", "threads": 1, "upsampling": "none", "batch_size": 1}
    options["parameters"] = {"score": "score", "level": 0.8}
    proto = _linear()
    w = np.abs(W) * (np.arange(72) % 36 > 20)[:, None]
    proto.graph.initializer[0].CopyFrom(nets.numpy_helper.from_array(w, "w"))
    proto.graph.initializer[1].CopyFrom(nets.numpy_helper.from_array(np.zeros(3, "f4"), "b"))
    x = np.ones_like(POINT)
    for name in ("sufficient-region", "contrastive-region"):
        whole = Explainer(proto, name, **options)(x, target=1)
        some = Explainer(proto, name, **options, budget=budget)(x, target=1)
        assert some.parameters["share"] >= whole.parameters["share"] > 0
        assert some.parameters["stopped"] and "stopped" not in whole.parameters
        assert any("not as small as it could be" in each for each in some.diagnosis)
        inside = some.map > 0
        part = _predict(proto, x * (inside if name[0] == "s" else ~inside))[0, 1]
        bar = 0.8 * _predict(proto, x)[0, 1]
        assert part >= bar if name[0] == "s" else part < bar


def test_a_guided_path_so_far_is_its_first_steps() -> None:
    """Of a linear model the first 5 of 50 steps have a tenth of the whole way, value by value."""
    options = {"device": "cpu", "threads": 1, "upsampling": "none", "batch_size": 1}
    name, settings = "guided-integrated-gradients", {"steps": 50}
    some = Explainer(_linear(), name, **options, budget=7, parameters=settings)(POINT, target=1)
    assert some.parameters["stopped"] == "the budget of 7 runs is spent"
    whole = Explainer(_linear(), name, **options, parameters=settings)(POINT, target=1)
    assert np.abs(some.relief).sum() < 0.2 * np.abs(whole.relief).sum()
    assert "completeness_error" not in some.parameters


# ---- small regions


def test_small_regions_of_a_model_that_looks_at_two_places() -> None:
    """y_0 = x_a + x_b, both 1: half of it is in either, and both must go for less than half."""
    w = np.zeros((2 * SIDE * SIDE, 3), "f4")
    w[[1 * SIDE + 1, 4 * SIDE + 4], 0] = 1
    proto = _linear()
    proto.graph.initializer[0].CopyFrom(nets.numpy_helper.from_array(w, "w"))
    proto.graph.initializer[1].CopyFrom(nets.numpy_helper.from_array(np.zeros(3, "f4"), "b"))
    x, settings = np.ones_like(POINT), {"score": "score", "cells": 6}
    one = _explained(proto, "sufficient-region", x, 0, level=0.5, **settings)
    assert one.map.sum() == 1 and one.map[1, 1] + one.map[4, 4] == 1
    assert one.parameters["share"] == pytest.approx(1 / 36) and one.diagnosis == ()
    both = _explained(proto, "sufficient-region", x, 0, level=0.8, **settings)
    assert both.map.sum() == 2 and both.map[1, 1] == both.map[4, 4] == 1
    need = _explained(proto, "contrastive-region", x, 0, level=0.5, **settings)
    assert need.map.sum() == 2 and need.map[1, 1] == need.map[4, 4] == 1
    need = _explained(proto, "contrastive-region", x, 0, level=0.8, **settings)
    assert need.map.sum() == 1


def test_a_region_that_is_not_there_is_said_to_be() -> None:
    found = _explained(_linear(), "sufficient-region", POINT * 0, 0, score="score")  # y is the bias
    assert any("nothing of the input is needed" in said for said in found.diagnosis)
    found = _explained(_linear(), "contrastive-region", POINT * 0, 0, score="score")
    assert any("no such region: nothing is missed" in said for said in found.diagnosis)
    assert not found.map.any()


def test_regions_do_what_they_say() -> None:
    proto = nets.cnn(size=12)
    x = RNG.normal(size=(1, 2, 12, 12)).astype("f4")
    likely = lambda z: np.exp(z) / np.exp(z).sum(1, keepdims=True)  # noqa: E731
    target = int(_predict(proto, x)[0].argmax())
    whole = likely(_predict(proto, x))[0, target]
    for name in ("sufficient-region", "contrastive-region"):
        found = _explained(proto, name, x, None, level=0.8, cells=6)
        part = found.raw_map if name.startswith("suff") else 1 - found.raw_map
        there = likely(_predict(proto, x * part))[0, target]
        assert (there >= 0.8 * whole) == name.startswith("suff") or found.diagnosis
