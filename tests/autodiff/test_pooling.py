"""Average and Lp pools against differences: the corners by name, the rest by a sweep."""

from __future__ import annotations

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator
from support import reference_repairs  # noqa: F401
from support.gradcheck import check_gradient, run, runtime_refuses
from support.second_order import check_second_order
from support.variants import node_model

from onnxcam.autodiff import vjp_model
from onnxcam.autodiff.rules import pooling

AVERAGE_CASES = {
    "2x2": ((2, 3, 4, 6), dict(kernel_shape=[2, 2], strides=[2, 2])),
    "overlapping": ((1, 2, 7, 6), dict(kernel_shape=[3, 2], strides=[2, 1])),
    "same size": ((1, 2, 5, 5), dict(kernel_shape=[3, 3], pads=[1] * 4)),
    "padding counts": ((1, 2, 5, 5), dict(kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1)),
    "uneven pads": ((1, 1, 7), dict(kernel_shape=[4], strides=[3], pads=[1, 2])),
    "ceil": ((1, 2, 5, 6), dict(kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1)),
    "ceil, padding counts": (
        (1, 1, 6), dict(kernel_shape=[3], strides=[2], pads=[1, 1], ceil_mode=1,
                        count_include_pad=1)),
    "ceil far beyond": ((1, 1, 5), dict(kernel_shape=[5], strides=[4], pads=[1, 0], ceil_mode=1)),
    "dilated": ((1, 2, 8), dict(kernel_shape=[3], dilations=[2], strides=[2])),
    "stride above kernel": ((1, 2, 9), dict(kernel_shape=[2], strides=[4])),
    "same upper": ((1, 2, 7, 6), dict(kernel_shape=[2, 3], strides=[2, 2], auto_pad="SAME_UPPER")),
    "same lower": ((1, 2, 7, 6), dict(kernel_shape=[2, 3], strides=[2, 2], auto_pad="SAME_LOWER")),
    "same, padding counts": (
        (1, 2, 7), dict(kernel_shape=[3], strides=[2], auto_pad="SAME_LOWER",
                        count_include_pad=1)),
    "valid": ((1, 2, 7), dict(kernel_shape=[3], strides=[3], auto_pad="VALID")),
    "3-D": ((1, 2, 3, 4, 5), dict(kernel_shape=[2, 1, 3], strides=[1, 2, 2], pads=[1, 0, 0] * 2)),
}  # fmt: skip
LP_CASES = {
    "p 1": ((1, 2, 5), dict(kernel_shape=[2], p=1)),
    "p 2": ((1, 2, 4, 5), dict(kernel_shape=[2, 2], strides=[2, 1])),
    "p 3": ((1, 2, 6), dict(kernel_shape=[3], p=3, pads=[1, 1])),
    "ceil": ((1, 2, 6), dict(kernel_shape=[3], strides=[2], ceil_mode=1)),
    "dilated": ((1, 1, 7), dict(kernel_shape=[3], dilations=[2])),
    "same": ((1, 1, 7), dict(kernel_shape=[3], strides=[2], auto_pad="SAME_UPPER")),
}


def _x(shape, seed=0, dtype=np.float32):
    return {"x": np.random.default_rng(seed).standard_normal(shape).astype(dtype)}


@pytest.mark.parametrize("dims", ["static", "symbolic"])
@pytest.mark.parametrize("name", AVERAGE_CASES)
def test_average_pool(name, dims):
    shape, settings = AVERAGE_CASES[name]
    report = check_gradient(
        node_model("AveragePool", _x(shape), **settings), _x(shape), symbolic=dims == "symbolic"
    )
    assert report.runtime


@pytest.mark.parametrize("dims", ["static", "symbolic"])
@pytest.mark.parametrize("name", AVERAGE_CASES)
def test_sums_axis_by_axis(monkeypatch, name, dims):
    monkeypatch.setattr(pooling, "_LARGE", 0)
    test_average_pool(name, dims)


def test_a_window_far_larger_than_its_input_is_not_written_out():
    x = _x((1, 64, 3, 4))
    settings = {"kernel_shape": [640, 500], "strides": [640, 500], "ceil_mode": 1}
    model = vjp_model(node_model("AveragePool", x, **settings), ["x"], ["y"])
    assert model.ByteSize() < 10_000
    ct = np.full((1, 64, 1, 1), 12, np.float32)
    found = run(model, {**x, "ct::y": ct})
    assert np.array_equal(found["grad::x"], np.ones((1, 64, 3, 4), np.float32))


@pytest.mark.parametrize("dims", ["static", "symbolic"])
@pytest.mark.parametrize("name", LP_CASES)
def test_lp_pool(name, dims):
    shape, settings = LP_CASES[name]
    report = check_gradient(
        node_model("LpPool", _x(shape), **settings), _x(shape), symbolic=dims == "symbolic"
    )
    assert report.runtime


@pytest.mark.parametrize("dims", ["static", "symbolic"])
@pytest.mark.parametrize("shape", [(2, 3, 5), (1, 2, 3, 4), (1, 2, 2, 3, 2)])
@pytest.mark.parametrize(
    ("op_type", "settings"),
    [("GlobalAveragePool", {}), ("GlobalLpPool", {}), ("GlobalLpPool", {"p": 1}),
     ("GlobalLpPool", {"p": 3})],
)  # fmt: skip
def test_global_pools(op_type, settings, shape, dims):
    if op_type == "GlobalLpPool":  # the reference evaluator has none
        _check_global_lp(shape, settings.get("p", 2), dims)
        return
    model = node_model(op_type, _x(shape), **settings)
    assert check_gradient(model, _x(shape), symbolic=dims == "symbolic").runtime


def _check_global_lp(shape, p, dims):
    from support.variants import symbolic

    from onnxcam.autodiff import vjp_model

    feeds = _x(shape)
    model = node_model("GlobalLpPool", feeds, p=p)
    grad = vjp_model(symbolic(model) if dims == "symbolic" else model, ["x"], ["y"])
    feeds["ct::y"] = _x((*shape[:2], *[1] * (len(shape) - 2)), 1)["x"]
    x, axes = feeds["x"].astype(np.float64), tuple(range(2, len(shape)))
    y = (np.abs(x) ** p).sum(axes, keepdims=True) ** (1 / p)
    want = feeds["ct::y"] * np.sign(x) * np.abs(x) ** (p - 1) * y ** (1 - p)
    np.testing.assert_allclose(run(grad, feeds)["grad::x"], want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_lp_pool_of_zeros_has_gradient_zero(p):
    from onnxcam.autodiff import vjp_model

    feeds = {"x": np.zeros((1, 1, 4), np.float32), "ct::y": np.ones((1, 1, 2), np.float32)}
    model = node_model("LpPool", {"x": feeds["x"]}, kernel_shape=[2], strides=[2], p=p)
    got = run(vjp_model(model, ["x"], ["y"]), feeds)
    np.testing.assert_array_equal(got["grad::x"], 0)


@pytest.mark.parametrize("opset", [8, 10, 19])
def test_old_opsets(opset):
    feeds = _x((1, 2, 6))
    settings = dict(kernel_shape=[3], strides=[2], pads=[1, 0])
    model = node_model("AveragePool", feeds, opset=opset, **settings)
    check_gradient(model, feeds, keep_opset=True)


def test_half():
    feeds = _x((1, 2, 6, 6), dtype=np.float16)
    model = node_model("AveragePool", feeds, kernel_shape=[3, 3], pads=[1] * 4)
    assert check_gradient(model, feeds).runtime
    assert check_gradient(node_model("LpPool", feeds, kernel_shape=[2, 2]), feeds).runtime


@pytest.mark.parametrize(
    ("op_type", "settings"),
    [
        ("AveragePool", dict(kernel_shape=[3], pads=[1, 1])),
        ("AveragePool", dict(kernel_shape=[3], strides=[2])),
        ("GlobalAveragePool", {}),
        ("LpPool", dict(kernel_shape=[2])),
        ("LpPool", dict(kernel_shape=[2], p=3)),
    ],
)
def test_second_order(op_type, settings):
    feeds = _x((1, 2, 7))
    check_second_order(node_model(op_type, feeds, **settings), feeds, ["x"], ["y"])


# ---- the sweep


def pool_settings(rng, dilated=True):
    """Draw an input shape and pool attributes that ONNX Runtime takes."""
    n = int(rng.choice([1, 1, 2, 2, 3]))
    kernel = rng.integers(1, [7, 4, 3][n - 1], n)
    strides = rng.integers(1, 5, n)
    dilations = rng.integers(1, 4, n) if dilated and rng.random() < 0.3 else np.ones(n, int)
    reach = (kernel - 1) * dilations + 1
    settings = dict(kernel_shape=kernel.tolist(), strides=strides.tolist())
    if (dilations > 1).any():
        settings["dilations"] = dilations.tolist()
    kind = rng.choice(["NOTSET", "NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"])
    pads = np.zeros((2, n), int)
    if kind == "NOTSET":
        pads = rng.integers(0, kernel, (2, n))
        settings |= dict(pads=pads.ravel().tolist(), ceil_mode=int(rng.integers(0, 2)))
    else:
        settings["auto_pad"] = str(kind)
        if kind != "VALID":  # ONNX Runtime allows no dilation there; a larger stride is refused
            settings.pop("dilations", None)
            settings["strides"] = np.minimum(strides, kernel + 1).tolist()
    size = np.maximum(reach - pads.sum(0), 1) + rng.integers(0, 7, n)
    return (1, int(rng.integers(1, 3)), *size.tolist()), settings


def sweep(op_type, seed, extra):
    rng = np.random.default_rng([seed, len(op_type)])
    shape, settings = pool_settings(rng)
    settings |= extra(rng)
    feeds = _x(shape, seed)
    model = node_model(op_type, feeds, opset=22, **settings)  # older ones misjudge ceil_mode
    if runtime_refuses(model, feeds):
        return 0
    want = ReferenceEvaluator(model).run(None, feeds)[0]
    if not np.isfinite(want).all():  # a window in the padding alone
        return 0
    np.testing.assert_allclose(run(model, feeds)["y"], want, atol=1e-5, err_msg=str(settings))
    check_gradient(model, feeds, symbolic=bool(rng.random() < 0.4), minimum=0)
    return 1


EXTRAS = {
    "AveragePool": lambda rng: {"count_include_pad": int(rng.integers(0, 2))},
    "LpPool": lambda rng: {"p": int(rng.integers(1, 4))},
    "MaxPool": lambda rng: {},
}


@pytest.mark.parametrize("op_type", EXTRAS)
def test_sweep(op_type):
    assert sum(sweep(op_type, seed, EXTRAS[op_type]) for seed in range(30)) > 20


@pytest.mark.exhaustive
@pytest.mark.parametrize("op_type", EXTRAS)
def test_long_sweep(op_type):
    assert sum(sweep(op_type, seed, EXTRAS[op_type]) for seed in range(100, 900)) > 600
