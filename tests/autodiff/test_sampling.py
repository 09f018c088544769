"""GridSample, DeformConv, Col2Im, RoiAlign, MaxRoiPool: at all their inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.gradcheck import check_gradient
from support.variants import node_model
from torch.nn import functional as F  # noqa: N812

from onnxcam.autodiff import vjp_model
from onnxcam.run.session import Session


class _Fresh:
    """A generator that starts anew with every test, whatever ran before."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_Fresh.current, name)


RNG = _Fresh()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    _Fresh.current = np.random.default_rng(0)


# The reference evaluator computes places in float32: a step that float32 holds exactly.
STEP = 2.0**-12
ROIS = np.array([[0.3, 0.6, 7.2, 6.3], [1.2, 0.7, 6.1, 7.9], [2.0, 2.0, 2.4, 2.3]], "f4")


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("aligned", [0, 1])
def test_grid_sample_as_torch(padding: str, mode: str, aligned: int) -> None:
    x = RNG.normal(size=(2, 3, 5, 7)).astype("f4")
    grid = RNG.uniform(-1.6, 1.6, size=(2, 4, 6, 2)).astype("f4")
    seed = RNG.normal(size=(2, 3, 4, 6)).astype("f4")
    feeds = {"x": x, "grid": grid}
    model = node_model("GridSample", feeds, mode=mode, padding_mode=padding, align_corners=aligned)
    session = Session(vjp_model(model, ["x", "grid"], ["y"]), device="cpu")
    dx, dgrid = session.run({**feeds, "ct::y": seed}, ["grad::x", "grad::grid"])
    tx, tg = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (x, grid))
    y = F.grid_sample(
        tx, tg, mode={"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode),
        padding_mode=padding, align_corners=bool(aligned),
    )  # fmt: skip
    wx, wg = torch.autograd.grad(y, (tx, tg), torch.tensor(seed, dtype=torch.float64))
    np.testing.assert_allclose(dx, wx.numpy(), atol=2e-4)
    if mode != "nearest":
        np.testing.assert_allclose(dgrid, wg.numpy(), atol=2e-3)
    else:
        assert not dgrid.any()


@pytest.mark.parametrize("mode", ["linear", "nearest"])
@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_grid_sample_of_volumes(mode: str, padding: str) -> None:
    feeds = {
        "x": RNG.normal(size=(1, 2, 3, 4, 5)).astype("f4"),
        "grid": RNG.uniform(-1.2, 1.2, size=(1, 2, 3, 2, 3)).astype("f4"),
    }
    model = node_model("GridSample", feeds, mode=mode, padding_mode=padding)
    for symbolic in (False, True):
        check_gradient(model, feeds, symbolic=symbolic, step=STEP, rtol=1e-3)


@pytest.mark.parametrize(("old", "new"), [("bilinear", "linear"), ("bicubic", "cubic")])
def test_grid_sample_of_opset_16(old: str, new: str) -> None:
    """The modes had other names."""
    feeds = {
        "x": RNG.normal(size=(1, 2, 3, 4)).astype("f4"),
        "grid": RNG.uniform(-1.2, 1.2, size=(1, 2, 3, 2)).astype("f4"),
    }
    seed = RNG.normal(size=(1, 2, 2, 3)).astype("f4")
    names = ["grad::x", "grad::grid"]
    found = []
    for opset, mode in ((16, old), (20, new)):
        model = node_model("GridSample", feeds, opset=opset, mode=mode)
        session = Session(vjp_model(model, ["x", "grid"], ["y"]), device="cpu")
        found.append(session.run({**feeds, "ct::y": seed}, names))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("where", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize("symbolic", [False, True])
def test_roi_align(mode: str, ratio: int, where: str, symbolic: bool) -> None:
    feeds = {
        "x": RNG.normal(size=(2, 3, 8, 9)).astype("f4"),
        "rois": ROIS,
        "batch": np.array([0, 1, 1]),
    }
    model = node_model(
        "RoiAlign", feeds, mode=mode, sampling_ratio=ratio, output_height=3, output_width=2,
        spatial_scale=0.9, coordinate_transformation_mode=where,
    )  # fmt: skip
    check_gradient(model, feeds, constant=["batch"], symbolic=symbolic)


def test_max_roi_pool_finds_the_largest_pixels() -> None:
    """The reference evaluator has no such operator: a region of a ramp, counted by hand."""
    x = np.arange(64, dtype="f4").reshape(1, 1, 8, 8)
    feeds = {"x": x, "rois": np.array([[0, 1, 2, 4, 5]], "f4")}
    model = node_model("MaxRoiPool", feeds, pooled_shape=[2, 2], spatial_scale=1.0)
    session = Session(vjp_model(model, ["x"], ["y"]), device="cpu")
    seed = np.array([[[[1, 2], [3, 4]]]], "f4")
    y, dx = session.run({**feeds, "ct::y": seed}, ["y", "grad::x"])
    want = np.zeros((8, 8))
    for value, weight in zip(y.ravel(), seed.ravel(), strict=True):
        want[np.unravel_index(int(value), (8, 8))] += weight
    np.testing.assert_array_equal(dx[0, 0], want)


@pytest.mark.parametrize(
    ("group", "parts", "extras", "symbolic"),
    [
        *(pytest.param(*v, marks=pytest.mark.exhaustive)
          for v in ((1, 1, False, True), (2, 1, True, False), (1, 2, False, False))),
        (2, 2, True, True),
    ],
)  # fmt: skip
def test_deform_conv(group: int, parts: int, extras: bool, symbolic: bool) -> None:
    """Small: the reference evaluator takes seconds for each call."""
    settings: dict[str, Any] = {
        "kernel_shape": [1, 2], "strides": [2, 1], "pads": [1, 0, 0, 1], "dilations": [1, 2],
        "group": group, "offset_group": parts,
    }  # fmt: skip
    out = (2, 3)  # ((3 + 1 - 1) // 2 + 1, 4 + 1 - 3 + 1)
    feeds = {
        "x": RNG.normal(size=(2, 4, 3, 4)).astype("f4"),
        "w": RNG.normal(size=(2, 4 // group, 1, 2)).astype("f4"),
        "offset": RNG.uniform(-1, 1, size=(2, parts * 4, *out)).astype("f4"),
    }
    if extras:
        feeds["b"] = RNG.normal(size=2).astype("f4")
        feeds["mask"] = RNG.uniform(size=(2, parts * 2, *out)).astype("f4")
    model = node_model("DeformConv", feeds, **settings)
    check_gradient(model, feeds, symbolic=symbolic, step=STEP, rtol=1e-3)


def test_col2im() -> None:
    feeds = {
        "x": RNG.normal(size=(2, 12, 12)).astype("f4"),
        "image": np.array([5, 6]),
        "block": np.array([2, 3]),
    }
    model = node_model("Col2Im", feeds, pads=[0, 0, 0, 0], dilations=[2, 1])
    check_gradient(model, feeds, constant=["image", "block"])
    check_gradient(model, feeds, wrt=["x"])
