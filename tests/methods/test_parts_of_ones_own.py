"""Segments from a file, and regions apart from each other: by hand, against Captum, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import helper
from support import nets
from support.peer_packages import captum_attr
from torch import Tensor, nn

from onnxcam import Explainer
from onnxcam.errors import InputError

LABELS = np.array([[3, 3, 7, 7], [3, 9, 9, 7], [3, 9, 9, 7], [5, 5, 5, 5]])
WEIGHTS = np.random.default_rng(1).normal(size=(16, 2)).astype("f4")
X = np.random.default_rng(2).normal(size=(1, 1, 4, 4)).astype("f4")
SHAPLEY = ("kernel-shap", "shapley-sampling")


class _Bent(nn.Module):
    """tanh of sums: parts that work together."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x.flatten(1) @ torch.from_numpy(WEIGHTS))


def _bent() -> Any:
    nodes = [
        helper.make_node("MaxPool", ["x"], ["m"], kernel_shape=[1, 1]),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["z"]),
        helper.make_node("Tanh", ["z"], ["y"]),
    ]
    return nets.model(nodes, {"x": ["N", 1, 4, 4]}, {"y": ["N", 2]}, {"w": WEIGHTS})


def _explain(proto: Any, name: str, **settings: Any) -> Any:
    return Explainer(
        proto, name, device="cpu", threads=1, upsampling="none", parameters=settings,
        reduction_layer="y",
    )  # fmt: skip


@pytest.fixture
def segments(tmp_path: Path) -> str:
    np.save(tmp_path / "s.npy", LABELS)
    return str(tmp_path / "s.npy")


def _without(parts: Any) -> float:
    x = np.where(np.isin(LABELS, parts), 0, X[0, 0]).ravel()
    return float(np.tanh(x @ WEIGHTS[:, 1]))


@pytest.mark.parametrize("name", ["feature-ablation", "lime", *SHAPLEY, "feature-permutation"])
def test_the_parts_are_those_of_the_file(name: str, segments: str, tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", np.zeros((3, 1, 4, 4), "f4"))
    more: dict[str, Any] = {} if name == "feature-ablation" else {"samples": 200}
    more = {"orders": 60} if name == "shapley-sampling" else more
    more |= {"background": str(tmp_path / "b.npy")} if name == "feature-permutation" else {}
    found = _explain(_bent(), name, segments=segments, score="score", **more)(X, target=1)
    for label in np.unique(LABELS):
        own = found.map[label == LABELS]
        assert np.ptp(own) == 0
        if name.startswith("feature"):
            assert own[0] == pytest.approx(_without([]) - _without([label]), abs=1e-5)
    if name == "kernel-shap":  # of four parts every coalition is asked
        assert found.map.sum() == pytest.approx(_without([]) - _without([3, 5, 7, 9]), abs=1e-5)


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["feature-ablation", "shapley-sampling"])
def test_captum_with_its_feature_mask(name: str, segments: str) -> None:
    attr, mask = captum_attr(), torch.from_numpy(np.unique(LABELS, return_inverse=True)[1])
    peer = {"feature-ablation": "FeatureAblation", "shapley-sampling": "ShapleyValues"}[name]
    want = getattr(attr, peer)(_Bent()).attribute(
        torch.from_numpy(X), target=1, feature_mask=mask.reshape(1, 1, 4, 4)
    )
    more = {} if name == "feature-ablation" else {"orders": 3000}
    found = _explain(_bent(), name, segments=segments, score="score", **more)(X, target=1)
    got = found.map
    if name == "shapley-sampling":  # a share lies evenly on its part
        sizes = np.array([[(label == LABELS).sum() for label in row] for row in LABELS])
        error = found.standard_error * sizes
        assert (np.abs(got * sizes - want[0, 0].numpy()) <= 4 * error + 1e-5).all()
    else:
        np.testing.assert_allclose(got, want[0, 0].numpy(), rtol=1e-3, atol=1e-6)


def test_segments_that_do_not_fit_are_refused(segments: str, tmp_path: Path) -> None:
    np.save(tmp_path / "small.npy", LABELS[:2])
    np.save(tmp_path / "real.npy", LABELS / 2)
    for name, match in (("small", "do not fit: int64 .2, 4., and the input has .4, 4. places"),
                        ("real", "do not fit: float64"), ("none", "cannot be read")):  # fmt: skip
        with pytest.raises(InputError, match=match):
            _explain(_bent(), "feature-ablation", segments=str(tmp_path / f"{name}.npy"))(X)


def _brightest() -> Any:
    """The score is the brightest place."""
    nodes = [
        helper.make_node("GlobalMaxPool", ["x"], ["m"]),
        helper.make_node("Flatten", ["m"], ["y"]),
    ]
    return nets.model(nodes, {"x": ["N", 1, 8, 8]}, {"y": ["N", 1]}, {})


def test_each_bright_spot_suffices() -> None:
    """Of spots of 5, 4, 3 and 2 three are half of the score; the gradient sees the first."""
    x = np.zeros((1, 1, 8, 8), "f4")
    for (row, column), value in zip([(1, 1), (6, 6), (1, 6), (6, 1)], (5, 4, 3, 2), strict=True):
        x[0, 0, row, column] = value
    explain = _explain(_brightest(), "sufficient-region", cells=8, disjoint=6, score="score")
    found = explain(x)
    assert found.parameters["regions"] == 3 and found.parameters["share"] == pytest.approx(1 / 64)
    assert found.map[1, 1] == 1 and np.count_nonzero(found.map) == 3
    assert sorted([found.map[6, 6], found.map[1, 6]]) == pytest.approx([1 / 3, 1 / 2])
    assert found.relief.shape == (6, 8, 8) and found.relief.sum() == 3
    one = _explain(_brightest(), "sufficient-region", cells=8, score="score")(x)
    np.testing.assert_array_equal(one.map, found.relief[0])
    assert "regions" not in one.parameters and one.relief is None


@pytest.mark.parametrize("fill", ["value", "blur"])
def test_every_region_suffices_and_none_meets_another(fill: str) -> None:
    x = np.random.default_rng(4).random((1, 1, 8, 8)).astype("f4")
    explain = _explain(_brightest(), "sufficient-region", cells=8, disjoint=4, score="score",
                       level=0.9, fill=fill)  # fmt: skip
    found = explain(x)
    parts, count = found.relief.astype(bool), int(found.parameters["regions"])
    assert (parts.sum(0) <= 1).all() and count >= 2
    assert all((x[0, 0] * part).max() >= 0.9 * x.max() - 1e-6 for part in parts[:count])
    assert not parts[count:].any()


def test_a_budget_leaves_the_regions_so_far() -> None:
    x = np.random.default_rng(4).random((1, 1, 8, 8)).astype("f4")
    found = Explainer(
        _brightest(), "sufficient-region", device="cpu", threads=1, budget=40, upsampling="none",
        parameters={"cells": 8, "disjoint": 50, "score": "score", "level": 0.5},
    )(x)  # fmt: skip
    assert 1 <= found.parameters["regions"] < 20 and "stopped" in found.parameters
