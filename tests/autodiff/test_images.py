"""Affine grids and centred crops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from support import reference_repairs  # noqa: F401
from support.gradcheck import check_gradient, run
from support.second_order import check_second_order
from support.variants import node_model, symbolic

from onnxcam.autodiff import vjp_model


@pytest.mark.parametrize("dims", ["static", "symbolic"])
@pytest.mark.parametrize("aligned", [0, 1])
@pytest.mark.parametrize("size", [[2, 3, 4, 5], [1, 2, 3, 2, 4]])
@pytest.mark.parametrize("known", [False, True])
def test_affine_grid_as_torch(size, aligned, dims, known):
    n = len(size) - 2
    rng = np.random.default_rng(0)
    theta = rng.standard_normal((size[0], n, n + 1)).astype(np.float32)
    dy = rng.standard_normal((size[0], *size[2:], n)).astype(np.float32)
    feeds = {"theta": theta, "size": np.array(size)}
    model = node_model("AffineGrid", feeds, align_corners=aligned)
    _fixed_rank(model, dy.shape)
    if known:
        from support.variants import frozen

        model = frozen(model, feeds, ["size"])
    forgotten = symbolic(model) if dims == "symbolic" else model
    if dims == "symbolic":
        _fixed_rank(forgotten, [f"d{i}" for i in range(dy.ndim)])
    got = run(vjp_model(forgotten, ["theta"], ["y"]), {**feeds, "ct::y": dy})
    leaf = torch.tensor(theta).double().requires_grad_()
    grid = F.affine_grid(leaf, size, align_corners=bool(aligned))
    grid.backward(torch.tensor(dy).double())
    np.testing.assert_allclose(got["grad::theta"], leaf.grad, atol=1e-4)


def _fixed_rank(model, shape):
    """What shape inference leaves open where sizes are inputs."""
    kind = model.graph.output[0].type.tensor_type
    kind.ClearField("shape")
    for d in shape:
        kind.shape.dim.add(**{"dim_param" if isinstance(d, str) else "dim_value": d})
    del model.graph.value_info[:]


@pytest.mark.parametrize("dims", ["static", "symbolic"])
@pytest.mark.parametrize(
    ("shape", "size", "axes"),
    [
        ((5, 6), [3, 3], None),  # odd and even crops
        ((4, 3), [7, 6], None),  # odd and even pads
        ((2, 5, 4), [4, 7], [1, 2]),
        ((2, 5, 4), [7, 4], [-1, -2]),
        ((3, 3), [3, 3], None),
    ],
)
def test_center_crop_pad(shape, size, axes, dims):
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    feeds = {"x": x, "size": np.array(size)}
    settings = {} if axes is None else {"axes": axes}
    model = node_model("CenterCropPad", feeds, **settings)
    _fixed_rank(model, [f"d{i}" for i in range(x.ndim)])
    report = check_gradient(model, feeds, constant=["size"], symbolic=dims == "symbolic")
    assert report.runtime
    assert report.skipped == 0


def test_second_order():
    feeds = {"x": np.ones((3, 4), np.float32), "size": np.array([5, 2])}
    model = node_model("CenterCropPad", feeds)
    _fixed_rank(model, (5, 2))
    check_second_order(model, feeds, ["x"], ["y"])
