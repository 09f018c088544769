"""Resize and Upsample: every mode against differences and against torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from support.gradcheck import check_gradient
from support.variants import frozen, graph_model, node_model
from torch.nn import functional as F  # noqa: N812

from onnxcam.autodiff import vjp_model
from onnxcam.errors import UnsupportedOp
from onnxcam.model.model import Model
from onnxcam.model.weights import Weights
from onnxcam.run.session import Session

RNG = np.random.default_rng(0)
X = RNG.normal(size=(1, 2, 5, 6)).astype("f4")
WHERE = ["half_pixel", "half_pixel_symmetric", "align_corners", "asymmetric", "pytorch_half_pixel"]
ROUND_APART = [("align_corners", (9, 13)), ("half_pixel_symmetric", (3, 4))]
ROUND = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


def _sized(sizes: list[int], **attributes: Any) -> Any:
    feeds = {"x": X, "roi": None, "scales": None, "sizes": np.array(sizes, np.int64)}
    return node_model("Resize", feeds, **attributes), {
        k: v for k, v in feeds.items() if v is not None
    }


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("size", [(9, 13), (3, 4), (10, 3)], ids=str)
def test_sizes(where: str, mode: str, size: tuple[int, int]) -> None:
    if mode == "nearest" and (where, size) in ROUND_APART:
        pytest.skip("samples fall between two values: float32 and float64 round apart")
    model, feeds = _sized(
        [1, 2, *size], mode=mode, coordinate_transformation_mode=where, nearest_mode="floor"
    )
    for symbolic in (False, True):
        check_gradient(model, feeds, constant=["sizes"], symbolic=symbolic)


@pytest.mark.parametrize("nearest", ROUND)
def test_nearest_rounding(nearest: str) -> None:
    model, feeds = _sized([1, 2, 8, 4], mode="nearest", nearest_mode=nearest)
    check_gradient(model, feeds, constant=["sizes"])


@pytest.mark.parametrize("where", ["half_pixel", "asymmetric"])
@pytest.mark.parametrize("scales", [[1, 1, 2, 3], [1, 1, 1.5, 0.75], [1, 2, 2, 1]], ids=str)
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_scales(where: str, scales: list[float], mode: str) -> None:
    feeds = {"x": X, "roi": None, "scales": np.array(scales, np.float32)}
    nearest = "floor" if where == "asymmetric" else "round_prefer_floor"
    model = node_model(
        "Resize", feeds, mode=mode, coordinate_transformation_mode=where, nearest_mode=nearest
    )
    given = {k: v for k, v in feeds.items() if v is not None}
    for symbolic in (False, True):
        check_gradient(model, given, constant=["scales"], symbolic=symbolic)
    check_gradient(model, given, wrt=["x"])  # the scales come at run time


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_antialias_and_exclude_outside(mode: str) -> None:
    model, feeds = _sized([1, 2, 3, 3], mode=mode, antialias=1)
    check_gradient(model, feeds, constant=["sizes"])
    if mode == "cubic":
        model, feeds = _sized([1, 2, 7, 3], mode=mode, exclude_outside=1, cubic_coeff_a=-0.5)
        check_gradient(model, feeds, constant=["sizes"])


def test_axes_and_crop() -> None:
    feeds = {
        "x": X,
        "roi": np.array([0.1, 0.2, 0.9, 1.2], np.float32),
        "scales": None,
        "sizes": np.array([4, 4], np.int64),
    }
    model = node_model(
        "Resize", feeds, axes=[2, 3], mode="linear", extrapolation_value=10.0,
        coordinate_transformation_mode="tf_crop_and_resize",
    )  # fmt: skip
    given = {k: v for k, v in feeds.items() if v is not None}
    check_gradient(model, given, constant=["roi", "sizes"])


@pytest.mark.parametrize(("op_type", "opset"), [("Upsample", 7), ("Upsample", 9), ("Resize", 10)])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("scales", [[1.0, 1.0, 2.0, 3.0], [1.0, 1.0, 1.0, 1.5]], ids=str)
def test_old_opsets(op_type: str, opset: int, mode: str, keep: bool, scales: list[float]) -> None:
    """The operator is linear: <ct, f(x)> = <grad, x> for every x (ONNX Runtime has the kernels)."""
    if opset == 7:
        model = node_model(op_type, {"x": X}, opset=opset, mode=mode, scales=scales)
    else:
        feeds = {"x": X, "scales": np.array(scales, np.float32)}
        model = frozen(node_model(op_type, feeds, opset=opset, mode=mode), feeds, ["scales"])
    model.ir_version = 7
    source = Model(onnx.shape_inference.infer_shapes(model), Weights(), "") if keep else model
    session = Session(vjp_model(source, ["x"], ["y"]), device="cpu")
    shape = [int(n * s) for n, s in zip(X.shape, scales, strict=True)]
    for _ in range(3):
        x = RNG.normal(size=X.shape).astype("f4")
        seed = RNG.normal(size=shape).astype("f4")
        y, grad = session.run({"x": x, "ct::y": seed}, ["y", "grad::x"])
        assert float((seed * y).sum()) == pytest.approx(float((grad * x).sum()), rel=1e-3, abs=1e-3)
        assert np.abs(grad).max() > 0


@pytest.mark.parametrize("rank", [1, 3])
def test_one_and_three_dimensions(rank: int) -> None:
    x = RNG.normal(size=(1, 2, *[4] * rank)).astype("f4")
    feeds = {"x": x, "roi": None, "scales": np.array([1, 1, *[2] * rank], np.float32)}
    given = {k: v for k, v in feeds.items() if v is not None}
    for mode in ("nearest", "linear"):
        check_gradient(node_model("Resize", feeds, mode=mode), given, constant=["scales"])


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("sizes", [[9, 6], [7, 20], [3, 4]], ids=str)
def test_one_scale_for_all_axes(sizes: list[int], mode: str, policy: str) -> None:
    """Sizes that are rounded up and down, known and not."""
    settings = {"axes": [2, 3], "mode": mode, "keep_aspect_ratio_policy": policy}
    model, feeds = _sized(sizes, **settings)
    check_gradient(model, feeds, constant=["sizes"])
    check_gradient(model, feeds, symbolic=True)


@pytest.mark.parametrize("computed", [False, True])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_an_axis_that_keeps_its_size_is_sampled_all_the_same(mode: str, computed: bool) -> None:
    """5 times 1.19 and 6 times 1.1 are still 5 and 6 values, but others, beside one that grows."""
    for scales in ([1, 1, 1.19, 2], [1, 1, 2, 1.1]):
        feeds = {"x": X, "roi": None, "scales": np.array(scales, np.float32)}
        model = node_model("Resize", feeds, mode=mode)
        given = {k: v for k, v in feeds.items() if v is not None}
        for symbolic in (False, True):
            constant = () if computed else ["scales"]
            check_gradient(model, given, wrt=["x"], constant=constant, symbolic=symbolic)


def test_where_it_samples_has_no_gradient() -> None:
    scales = np.array([1, 1, 1.5, 2], np.float32)
    feeds = {"x": X, "roi": None, "scales": scales}
    with pytest.raises(UnsupportedOp, match=r"gradient of the scales of Resize node 'node'"):
        vjp_model(node_model("Resize", feeds, mode="linear"), ["scales"], ["y"])
    given = {"x": X, "scales": scales}
    check_gradient(node_model("Resize", feeds, mode="nearest"), given)  # zero, but at jumps


@pytest.mark.parametrize(
    ("mode", "attributes"),
    [
        ("bilinear", {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}),
        ("bicubic", {"mode": "cubic", "cubic_coeff_a": -0.75}),
        ("nearest", {"mode": "nearest", "coordinate_transformation_mode": "asymmetric",
                     "nearest_mode": "floor"}),
    ],
)  # fmt: skip
def test_as_torch_interpolates(mode: str, attributes: dict[str, Any]) -> None:
    model, feeds = _sized([1, 2, 12, 11], **attributes)
    seed = RNG.normal(size=(1, 2, 12, 11)).astype("f4")
    session = Session(vjp_model(model, ["x"], ["y"]), device="cpu")
    (got,) = session.run({**feeds, "ct::y": seed}, ["grad::x"])
    x = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    y = F.interpolate(x, size=(12, 11), mode=mode)
    (want,) = torch.autograd.grad(y, x, torch.tensor(seed, dtype=torch.float64))
    np.testing.assert_allclose(got, want.numpy(), atol=2e-5)


def test_a_resize_in_a_graph_of_unknown_batch_keeps_it() -> None:
    """The usual decoder: sizes computed at run time from another tensor's shape."""
    nodes = [
        helper.make_node("Shape", ["s"], ["shape"], start=2),
        helper.make_node("Shape", ["x"], ["front"], end=2),
        helper.make_node("Concat", ["front", "shape"], ["sizes"], axis=0),
        helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="linear"),
    ]
    infos = [
        helper.make_tensor_value_info("x", 1, ["N", 2, "h", "w"]),
        helper.make_tensor_value_info("s", 1, ["N", 3, "H", "W"]),
    ]
    model = graph_model(nodes, infos, ["y"])
    feeds = {"x": np.concatenate([X, -X]), "s": np.zeros((2, 3, 9, 8), "f4")}
    check_gradient(model, feeds, wrt=["x"])


def _rankless(settings: str) -> onnx.ModelProto:
    """Return a Resize of what is reshaped to a shape of unknown length."""
    return onnx.parser.parse_model(f"""<ir_version: 10, opset_import: ["": 20]>
        g (float[1,2,5,6] x, int64[N] shape) => (float[K] y)
        <float[4] scales = {{1,1,2,1.5}}, int64[4] sizes = {{1,2,7,8}},
         int64[2] two = {{7,8}}, int64[1] flat = {{-1}}> {{
          r = Reshape (x, shape)
          z = Resize <{settings}
          y = Reshape (z, flat)
        }}""")


@pytest.mark.parametrize("given", ["scales", ", sizes"])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_scales_and_sizes_tell_the_rank(given: str, mode: str) -> None:
    model = _rankless(f'mode = "{mode}"> (r, , {given})')
    feeds = {"x": X, "shape": np.array(X.shape)}
    assert check_gradient(model, feeds, wrt=["x"]).compared


def test_an_unknown_rank_is_refused() -> None:
    model = _rankless('mode = "linear", axes = [2, 3]> (r, , , two)')
    with pytest.raises(UnsupportedOp, match="Resize.*: the rank of its input is not known"):
        vjp_model(model, ["x"], ["y"])
