"""Methods that run a model many times: by hand, by closed forms, and against naive NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper
from support import nets

from onnxcam import Explainer, methods
from onnxcam.errors import UsageError
from onnxcam.methods.moments import Moments
from onnxcam.run.session import Session

X = np.array([[[[1, 0], [2, -1]], [[0, 3], [1, 0]]]], "f4")  # as in test_methods.py
A = np.maximum(X[0], 0)


def _explained(proto: Any, name: str, x: np.ndarray, target: Any = 0, **options: Any) -> Any:
    chosen = {"device": "cpu", "threads": 1, "upsampling": "none", **options}
    return Explainer(proto, name, **chosen)(x, target=target)


# ---- by hand


def test_score_cam_by_hand() -> None:
    """H_0 = [[1/2, 0], [1, 0]] and H_1 = [[0, 1], [1/3, 0]]: what x H_k scores, by fc and pool."""
    proto = nets.one_by_one()
    scores = {0: ((2.5 + 3) / 4, (2 / 3 + 10) / 4), 1: ((-5 + 4) / 4, (-4 / 3 + 40 / 3) / 4)}
    found = _explained(proto, "score-cam", X, [0, 1], feature_layer="a")
    for target, (first, second) in scores.items():
        weights = np.array([1 / (1 + np.exp(second - first)), 1 / (1 + np.exp(first - second))])
        np.testing.assert_allclose(found[target].map, np.tensordot(weights, A, 1), rtol=1e-5)


def test_ablation_cam_by_hand() -> None:
    """y = 15/4 and 10/4; without channel 0 they are 12/4 and 16/4, without channel 1 3/4, -6/4."""
    found = _explained(nets.one_by_one(), "ablation-cam", X, [0, 1], feature_layer="a")
    np.testing.assert_allclose(found[0].map, [[0.2, 2.4], [1.2, 0]], atol=1e-6)
    np.testing.assert_allclose(found[1].signed_map, [[-0.6, 4.8], [0.4, 0]], atol=1e-6)
    np.testing.assert_allclose(found[1].map, [[0, 4.8], [0.4, 0]], atol=1e-6)


def test_ablation_cam_of_a_negative_score_keeps_its_sign() -> None:
    """The channel without which the score falls speaks for the class, whatever the score is."""
    proto = nets.one_by_one()
    fc = proto.graph.initializer[0]
    fc.CopyFrom(nets.numpy_helper.from_array(np.array([[-5, 0], [3, 0]], "f4"), "fc"))
    found = _explained(proto, "ablation-cam", X, 0, feature_layer="a")
    assert found.score == pytest.approx(-0.75)
    np.testing.assert_allclose(found.signed_map, [[-5, 12], [-6, 0]], atol=1e-5)
    nothing = _explained(proto, "ablation-cam", X, 1, feature_layer="a")
    assert nothing.score == 0 and not nothing.map.any()


def test_moments() -> None:
    values = np.random.default_rng(0).normal(1e6, 1, (50, 3))
    found = Moments()
    found.add(values[0])
    assert np.isinf(found.error).all()
    for value in values[1:]:
        found.add(value)
    np.testing.assert_allclose(found.mean, values.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.error, values.std(0, ddof=1) / np.sqrt(50), rtol=1e-6)


# ---- closed forms

RNG = np.random.default_rng(11)
SIDE = 8
POINT = RNG.normal(size=(1, 2, SIDE, SIDE)).astype("f4")
W = RNG.normal(size=(2 * SIDE * SIDE, 2)).astype("f4")
W += 0.5 * np.sign(W)  # none is hardly there
BIAS = np.array([3, -2], "f4")


def _linear(power: int) -> Any:
    """y = sum_j w_j x_j^power + b."""
    first = helper.make_node("MaxPool", ["x"], ["m"], kernel_shape=[1, 1])
    square = helper.make_node("Mul", ["m", "m"], ["s"])
    rest = [
        helper.make_node("Flatten", ["m" if power == 1 else "s"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["y"]),
    ]
    nodes = [first, *([square] if power == 2 else []), *rest]
    return nets.model(nodes, {"x": ["N", 2, SIDE, SIDE]}, {"y": ["N", 2]}, {"w": W, "b": BIAS})


def _plane(target: int) -> np.ndarray:
    return W[:, target].reshape(2, SIDE, SIDE)


def _assert_within_errors(found: Any, want: np.ndarray) -> None:
    """Of independent places 0.3 % lie outside of three standard errors."""
    error = found.standard_error
    assert error.shape == found.raw_map.shape and (error > 0).all()
    away = np.abs(found.raw_map - want) / error
    assert (away <= 3).mean() > 0.97 and away.max() < 4.5
    assert away.mean() > 0.3  # the error is not merely large


@pytest.mark.parametrize("target", [0, 1])
def test_integrated_gradients_of_polynomials(target: int) -> None:
    """w x of a linear model, w x^2 of a quadratic one; with a baseline w (x^2 - b^2)."""
    for power, baseline in (1, 0.0), (2, 0.0), (2, 0.5):
        settings = {"steps": 3, "baseline": baseline}
        found = _explained(
            _linear(power), "integrated-gradients", POINT, target, parameters=settings
        )
        want = (_plane(target) * (POINT[0] ** power - baseline**power)).sum(0)
        np.testing.assert_allclose(found.signed_map, want, rtol=1e-4, atol=1e-5)
        assert (found.map < 0).any() and found.diagnosis == ()
        assert abs(found.parameters["completeness_error"]) < 1e-3
        assert found.standard_error is None and "seed" not in found.parameters


def test_integrated_gradients_say_where_they_are_incomplete() -> None:
    """One step of a kink: relu(x - 3/4) rises by 1/4 to x = 1; the slope half-way there is 0."""
    nodes = [
        helper.make_node("MaxPool", ["x"], ["m"], kernel_shape=[1, 1]),
        helper.make_node("Sub", ["m", "t"], ["s"]),
        helper.make_node("Relu", ["s"], ["a"]),
        helper.make_node("GlobalAveragePool", ["a"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    weights = {"t": np.array(0.75, "f4")}
    proto = nets.model(nodes, {"x": ["N", 1, 2, 2]}, {"y": ["N", 1]}, weights)
    x = np.ones((1, 1, 2, 2), "f4")
    found = _explained(proto, "integrated-gradients", x, parameters={"steps": 1})
    assert found.parameters["completeness_error"] == pytest.approx(-0.25)
    assert any("incomplete" in said and "more steps" in said for said in found.diagnosis)
    found = _explained(proto, "integrated-gradients", x, parameters={"steps": 500})
    assert not any("incomplete" in said for said in found.diagnosis)


def test_smoothgrad_of_a_linear_model_is_its_weights() -> None:
    found = _explained(_linear(1), "smoothgrad", POINT, 1, parameters={"samples": 5})
    np.testing.assert_allclose(found.map, np.abs(_plane(1)).max(0), rtol=1e-5)
    np.testing.assert_allclose(found.standard_error, 0, atol=1e-6)


def test_smoothgrad_of_a_square_is_within_its_error() -> None:
    """dy/dx = 2 w (x + e): its mean is 2 w x, its standard error 2 |w| s / sqrt(samples)."""
    x = POINT + 4 * np.sign(POINT)  # clear of 0, where the absolute value has a kink
    x[:, 1] *= 0.01  # one channel is the largest
    proto = _linear(2)
    found = _explained(proto, "smoothgrad", x, 0, parameters={"samples": 400}, seed=2)
    plane = _plane(0)[0]
    _assert_within_errors(found, np.abs(2 * plane * x[0, 0]))
    spread = 0.15 * (x.max() - x.min())
    want = 2 * np.abs(plane) * spread / np.sqrt(400)
    np.testing.assert_allclose(found.standard_error, want, rtol=0.2)


def _shifted(cells: int, shift: int) -> np.ndarray:
    """Return what a row of a mask is made of, [SIDE, cells]."""
    cell = -(-SIDE // cells)
    many = (cells + 1) * cell
    at = (np.arange(many) + 0.5) * cells / many - 0.5
    rows = [np.interp(at, np.arange(cells), np.eye(cells)[k]) for k in range(cells)]
    return np.array(rows).T[shift : shift + SIDE]


@pytest.mark.parametrize("cells", [3, 8])
def test_rise_of_a_linear_model_is_within_its_error(cells: int) -> None:
    """E[y m_i] / p = b + sum_j w_j x_j (p + (1 - p) c_ij): c_ij is what two places share."""
    keep = 0.4
    settings = {"masks": 3000, "cells": cells, "keep": keep, "score": "score"}
    found = _explained(_linear(1), "rise", POINT, 0, parameters=settings, seed=5)
    cell = -(-SIDE // cells)
    overlap = np.mean([_shifted(cells, s) @ _shifted(cells, s).T for s in range(cell)], 0)
    shared = np.einsum("ab,cd->acbd", overlap, overlap)
    share = (_plane(0) * POINT[0]).sum(0)
    want = BIAS[0] + np.einsum("hw,hwab->ab", share, keep + (1 - keep) * shared)
    away = np.abs(found.raw_map - want) / found.standard_error
    assert away.max() < 3  # neighbours go together: this is a handful of independent places
    assert away.mean() > 0.1
    assert not np.allclose(found.raw_map, share, rtol=0.1)


def test_errors_shrink_with_the_root_of_the_samples() -> None:
    small, large = (
        _explained(_linear(1), "rise", POINT, parameters={"masks": n}) for n in (200, 3200)
    )
    ratio = np.median(small.standard_error / large.standard_error)
    assert ratio == pytest.approx(4, rel=0.15)
    assert small.as_dict()["map"]["standard_error"] == pytest.approx(
        float(np.sqrt((small.standard_error**2).mean()))
    )


# ---- RISE as its paper says it, place by place


def _naive_mask(rng: np.random.Generator, cells: int, keep: float) -> np.ndarray:
    grid = (rng.random((cells, cells)) < keep).astype(float)
    cell = -(-SIDE // cells)
    rows, columns = int(rng.integers(cell)), int(rng.integers(cell))
    mask = np.zeros((SIDE, SIDE))
    for i in range(SIDE):
        for j in range(SIDE):
            y, x = (
                min(max((k + 0.5) * cells / ((cells + 1) * cell) - 0.5, 0), cells - 1)
                for k in (i + rows, j + columns)
            )
            top, left = int(y), int(x)
            for a, down in (top, 1 - y + top), (min(top + 1, cells - 1), y - top):
                for b, right in (left, 1 - x + left), (min(left + 1, cells - 1), x - left):
                    mask[i, j] += grid[a, b] * down * right
    return mask


@pytest.mark.parametrize("score", ["score", "probability"])
def test_rise_is_the_naive_sum_over_the_same_masks(score: str) -> None:
    proto = nets.cnn(size=SIDE)
    settings = {"masks": 37, "cells": 3, "keep": 0.3, "score": score}
    found = _explained(proto, "rise", POINT, [2, 0], parameters=settings, seed=9)
    session, rng = Session(proto, device="cpu"), np.random.default_rng(9)
    want = np.zeros((3, SIDE, SIDE))
    for _ in range(37):
        mask = _naive_mask(rng, 3, 0.3)
        (y,) = session.run({"x": (POINT * mask).astype("f4")})[0]
        if score == "probability":
            y = np.exp(y - y.max()) / np.exp(y - y.max()).sum()
        want += y[:, None, None] * mask / (37 * 0.3)
    for result, target in zip(found, (2, 0), strict=True):
        error = np.linalg.norm(result.map - want[target]) / np.linalg.norm(want[target])
        assert error <= 1e-5


def test_rise_of_scores_that_are_no_probabilities_asks_what_to_do() -> None:
    proto = nets.cnn(size=SIDE)
    options = {"reduction_layer": "conv", "parameters": {"masks": 4}}
    with pytest.raises(UsageError, match=r"'conv' are no logits.*score='score'"):
        _explained(proto, "rise", POINT, **options)
    options["parameters"]["score"] = "score"
    assert _explained(proto, "rise", POINT, **options).map.any()


# ---- parameters


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"samples": 1}, "samples is 1, and must be a whole number, 2 to 1,000,000"),
        ({"samples": 2.5}, "samples is 2.5, and must be a whole number"),
        ({"samples": True}, "samples is True"),
        ({"samples": "many"}, "samples is 'many'"),
        ({"noise": float("nan")}, "noise is nan, and must be a number, 0 to 10"),
        ({"noise": -0.1}, "noise is -0.1"),
        ({"masks": 3}, "smoothgrad has no parameter 'masks'.*samples, noise"),
    ],
)
def test_parameters_have_ranges(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Explainer(nets.cnn(), "smoothgrad", parameters=given)


def test_parameters_of_words_have_choices() -> None:
    with pytest.raises(UsageError, match="score is 'logit', and must be probability or score"):
        methods.find("rise").settings({"score": "logit"})
    with pytest.raises(UsageError, match="saliency has no parameter 'score'. It has none"):
        Explainer(nets.cnn(), "saliency", parameters={"score": "score"})


def test_whole_numbers_may_be_floats() -> None:
    settings = methods.find("smoothgrad").settings({"samples": 4.0, "noise": 1})
    assert settings == {"samples": 4, "noise": 1.0}
    assert isinstance(settings["samples"], int) and isinstance(settings["noise"], float)


def test_what_is_said_of_methods_is_complete() -> None:
    names = set()
    for method in map(methods.find, methods.names()):
        settings = method.settings({})
        assert set(settings) == {p.name for p in method.parameters}
        known = {*settings, "channels", "windows", "regions", "positions", "cells"}
        assert method.kind == "graph" or method.cost.runs.split(" x ")[0] in known
        for p in method.parameters:
            assert p.help and p.checked(p.default) == p.default
            assert p.choices or p.default == "" if p.kind is str else p.low < p.high
            names.add((p.name, p.kind))
    assert len({name for name, _ in names}) == len(names), "one option, two kinds"
