"""Maximum pools: both ways to find the maximum, ties, and unpooling."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import reference_repairs  # noqa: F401
from support.gradcheck import check_gradient, run
from support.second_order import check_second_order
from support.variants import node_model, symbolic

from onnxcam.autodiff import vjp_model
from onnxcam.autodiff.rules import max_pooling
from onnxcam.errors import UnsupportedOp

CASES = {
    "2x2": ((2, 3, 4, 6), dict(kernel_shape=[2, 2], strides=[2, 2])),
    "2x2, a row over": ((1, 2, 5, 7), dict(kernel_shape=[2, 2], strides=[2, 2])),
    "3x3 stride 2": ((1, 2, 7, 8), dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)),
    "3x3 stride 1": ((1, 2, 5, 6), dict(kernel_shape=[3, 3], pads=[1] * 4)),
    "3x2 blocks": ((2, 2, 6, 4), dict(kernel_shape=[3, 2], strides=[3, 2])),
    "blocks 1-D": ((1, 2, 6), dict(kernel_shape=[3], strides=[3])),
    "blocks 3-D": ((1, 2, 2, 4, 3), dict(kernel_shape=[2, 2, 1], strides=[2, 2, 1])),
    "one axis": ((1, 2, 5, 6), dict(kernel_shape=[1, 3], strides=[1, 2])),
    "1x1 stride 2": ((1, 2, 5, 6), dict(kernel_shape=[1, 1], strides=[2, 2])),
    "1x1": ((1, 2, 3), dict(kernel_shape=[1])),
    "uneven pads": ((1, 1, 7), dict(kernel_shape=[4], strides=[3], pads=[1, 2])),
    "pads only": ((1, 1, 1), dict(kernel_shape=[3], pads=[1, 1])),
    "stride above kernel": ((1, 2, 11), dict(kernel_shape=[2], strides=[4])),
    "dilated": ((1, 2, 8), dict(kernel_shape=[3], dilations=[2], strides=[2])),
    "dilated, padded": ((1, 2, 8), dict(kernel_shape=[3], dilations=[3], pads=[2, 1])),
    "dilation is stride": ((1, 2, 9), dict(kernel_shape=[3], dilations=[2], strides=[2])),
    "ceil": ((1, 2, 5, 6), dict(kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1)),
    "ceil far beyond": ((1, 1, 5), dict(kernel_shape=[5], strides=[4], pads=[1, 0], ceil_mode=1)),
    "same upper": ((1, 2, 7, 6), dict(kernel_shape=[2, 3], strides=[2, 2], auto_pad="SAME_UPPER")),
    "same lower": ((1, 2, 7, 6), dict(kernel_shape=[2, 3], strides=[2, 2], auto_pad="SAME_LOWER")),
    "valid": ((1, 2, 7), dict(kernel_shape=[3], strides=[3], auto_pad="VALID")),
    "3-D": ((1, 2, 3, 4, 5), dict(kernel_shape=[2, 1, 3], strides=[1, 2, 2], pads=[1, 0, 0] * 2)),
    "whole": ((2, 2, 40), dict(kernel_shape=[40])),
}
WAYS = {"taps": max_pooling._MOST_TAPS, "indices": 0}


def _x(shape, seed=0, dtype=np.float32):
    return {"x": np.random.default_rng(seed).standard_normal(shape).astype(dtype)}


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    monkeypatch.setattr(max_pooling, "_MOST_TAPS", WAYS[request.param])
    return request.param


def _gradient(model, feeds, dy):
    return run(vjp_model(model, ["x"], ["y"]), {**feeds, "ct::y": dy})["grad::x"]


@pytest.mark.parametrize("dims", ["static", "symbolic"])
@pytest.mark.parametrize("name", CASES)
def test_max_pool(name, dims, way):
    shape, settings = CASES[name]
    feeds = _x(shape)
    model = node_model("MaxPool", feeds, **settings)
    report = check_gradient(model, feeds, symbolic=dims == "symbolic")
    assert report.runtime
    assert report.skipped == 0


def test_each_way_emits_what_it_says(way):
    model = node_model("MaxPool", _x((1, 1, 4)), kernel_shape=[2])
    kinds = [n.op_type for n in vjp_model(model, ["x"], ["y"]).graph.node]
    assert ("Equal" in kinds, "ScatterElements" in kinds) == (way == "taps", way == "indices")


@pytest.mark.parametrize(("size", "way", "most"), [(4, "Resize", 13), (5, "ScatterElements", 9)])
def test_windows_apart_take_few_nodes(size, way, most):
    model = node_model("MaxPool", _x((1, 1, size, size)), kernel_shape=[2, 2], strides=[2, 2])
    kinds = [n.op_type for n in vjp_model(model, ["x"], ["y"]).graph.node]
    assert way in kinds
    assert len(kinds) <= most


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_dtypes(dtype, way):
    feeds = _x((1, 2, 6, 6), dtype=dtype)
    for strides in ([2, 1], [3, 2]):
        model = node_model("MaxPool", feeds, kernel_shape=[3, 2], strides=strides)
        assert check_gradient(model, feeds).runtime


@pytest.mark.parametrize("order", [0, 1])
def test_beside_its_own_indices(order, way):
    feeds = _x((2, 2, 4, 5))
    settings = dict(kernel_shape=[2, 3], strides=[2, 1], storage_order=order)
    model = node_model("MaxPool", feeds, ["y", "places"], **settings)
    assert check_gradient(model, feeds, outputs=["y"]).runtime


@pytest.mark.parametrize("settings", [
    dict(kernel_size=2, stride=2),
    dict(kernel_size=(2, 7), stride=(2, 7)),
    dict(kernel_size=3, stride=2, padding=1),
    dict(kernel_size=3, stride=1, padding=1),
    dict(kernel_size=(2, 3), stride=(2, 1), padding=(1, 1), ceil_mode=True),
    dict(kernel_size=2, stride=1, dilation=2),
])  # fmt: skip
def test_ties_go_to_the_first_as_in_torch(settings, way):
    x = np.random.default_rng(0).integers(0, 3, (2, 3, 6, 7)).astype(np.float32)
    tensor = torch.tensor(x, requires_grad=True)
    y = torch.nn.functional.max_pool2d(tensor, **settings)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    y.backward(dy)

    def pair(name, default):
        value = settings.get(name, default)
        return list(value) if isinstance(value, tuple) else [value] * 2

    model = node_model(
        "MaxPool", {"x": x}, kernel_shape=pair("kernel_size", 1), strides=pair("stride", 1),
        pads=pair("padding", 0) * 2, dilations=pair("dilation", 1),
        ceil_mode=int(settings.get("ceil_mode", False)),
    )  # fmt: skip
    got = _gradient(model, {"x": x}, dy.numpy())
    np.testing.assert_allclose(got, tensor.grad, rtol=1e-6, atol=1e-6)


def test_values_at_the_lowest_float_are_found(way):
    x = np.full((1, 1, 3), np.finfo(np.float32).min, np.float32)
    model = node_model("MaxPool", {"x": x}, kernel_shape=[3], pads=[1, 1], strides=[2])
    got = _gradient(model, {"x": x}, np.ones((1, 1, 2), np.float32))
    np.testing.assert_array_equal(got, [[[1, 1, 0]]])


@pytest.mark.parametrize("opset", [11, 12, 15])
def test_old_opsets(opset):
    feeds = _x((1, 2, 7, 6))
    model = node_model(
        "MaxPool", feeds, opset=opset, kernel_shape=[3, 3], strides=[2, 1], pads=[1] * 4
    )
    assert check_gradient(model, feeds, keep_opset=True).runtime


def test_old_opset_without_overlap_scatters(monkeypatch):
    monkeypatch.setattr(max_pooling, "_MOST_TAPS", 0)
    feeds = _x((1, 2, 7, 6))
    model = node_model("MaxPool", feeds, opset=11, kernel_shape=[2, 2], strides=[2, 2])
    assert check_gradient(model, feeds, keep_opset=True).runtime


def test_old_opset_that_cannot_add_is_refused():
    model = symbolic(node_model("MaxPool", _x((1, 2, 9)), opset=15, kernel_shape=[3]))
    from onnxcam.model.draft import Draft

    draft = Draft(model)
    from onnxcam.autodiff.engine import vjp

    x, y = draft.tensor("x"), draft.tensor("y")
    with pytest.raises(UnsupportedOp, match="opset 15 has no ScatterElements that adds"):
        vjp(draft.op, [(y, draft.input("ct", np.float32, [1, 2, 7]))], [x])


@pytest.mark.parametrize(("size", "kernel"), [(7, 3), (6, 2)])
def test_second_order(size, kernel, way):
    feeds = _x((1, 2, size))
    model = node_model("MaxPool", feeds, kernel_shape=[kernel], strides=[2])
    check_second_order(model, feeds, ["x"], ["y"], rtol=1e-4)


# ---- global, unpooling


@pytest.mark.parametrize("dims", ["static", "symbolic"])
@pytest.mark.parametrize("shape", [(2, 3, 5), (1, 2, 3, 4), (1, 2, 2, 3, 2)])
def test_global_max_pool(shape, dims):
    model = node_model("GlobalMaxPool", _x(shape))
    assert check_gradient(model, _x(shape), symbolic=dims == "symbolic").runtime


def test_global_ties_go_to_the_first():
    feeds = {"x": np.array([[[3, 1, 3], [2, 2, 2]]], np.float32)}
    got = _gradient(node_model("GlobalMaxPool", feeds), feeds, np.array([[[5], [7]]], np.float32))
    np.testing.assert_array_equal(got, [[[5, 0, 0], [7, 0, 0]]])


@pytest.mark.parametrize("dims", ["static", "symbolic"])
def test_max_unpool(dims):
    feeds = {**_x((1, 2, 2, 2)), "i": np.array([5, 7, 13, 15, 16, 19, 24, 27]).reshape(1, 2, 2, 2)}
    model = node_model("MaxUnpool", feeds, kernel_shape=[2, 2], strides=[2, 2])
    assert check_gradient(model, feeds, symbolic=dims == "symbolic").runtime


@pytest.mark.parametrize("dims", ["static", "symbolic"])
def test_max_unpool_into_a_shape_as_the_runtime_reads_it(dims):
    """The specification and ONNX Runtime place the values differently: the runtime judges."""
    feeds = {**_x((1, 1, 2, 2)), "i": np.array([5, 7, 13, 15]).reshape(1, 1, 2, 2)}
    shape = np.array([1, 1, 5, 5])
    model = node_model("MaxUnpool", {**feeds, "s": shape}, kernel_shape=[2, 2], strides=[2, 2])
    for size in shape:  # what shape inference does not find
        model.graph.output[0].type.tensor_type.shape.dim.add(dim_value=size)
    feeds["s"] = shape
    dy = _x((1, 1, 5, 5), 1)["x"]
    forgotten = symbolic(model) if dims == "symbolic" else model
    forgotten.graph.output[0].CopyFrom(model.graph.output[0])
    got = _gradient(forgotten, feeds, dy)
    base = run(model, feeds)["y"]
    for where in np.ndindex(2, 2):
        moved = {**feeds, "x": feeds["x"].copy()}
        moved["x"][0, 0][where] += 1
        want = ((run(model, moved)["y"] - base) * dy).sum()
        assert got[0, 0][where] == pytest.approx(want, abs=1e-5)
