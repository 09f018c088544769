"""Pools and PRelu of any attributes: as ONNX Runtime has them, or refused with a reason.

Every gradient is held against the Jacobian that ONNX Runtime's own outputs give, one entry of the
input at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper
from support.runtime import RUNTIME_ERRORS, run

from onnxcam.autodiff import vjp_model
from onnxcam.errors import UnsupportedOp
from onnxcam.model.model import load

POOLS = ("MaxPool", "AveragePool", "LpPool")
STEP = {"MaxPool": 0.25, "AveragePool": 1.0, "LpPool": 2e-2}  # the first two are exact
TOLERANCE = {"MaxPool": 2e-3, "AveragePool": 2e-3, "LpPool": 3e-2}
FLOAT = TensorProto.FLOAT
some = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)


@st.composite
def pools(draw: st.DrawFn, op: str) -> tuple[ModelProto, tuple[int, ...]]:
    """A pool of random attributes behind a product, and the shape of its input."""
    opset, n = draw(st.sampled_from([11, 13, 18, 19, 20, 21, 22])), draw(st.integers(1, 2))

    def numbers(low: int, high: int, count: int = n) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=count, max_size=count))

    kernel = numbers(1, 4)
    said: dict[str, Any] = {"kernel_shape": kernel, "strides": numbers(1, 4)}
    since = {"MaxPool": 10, "AveragePool": 19, "LpPool": 18}[op]
    if opset >= since:
        said["dilations"] = numbers(1, 3)
    kind = draw(st.sampled_from(["NOTSET", "pads", "pads", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if kind == "pads":
        said["pads"] = [draw(st.integers(0, k - 1)) for k in kernel + kernel]
    else:
        said["auto_pad"] = kind
    if op != "LpPool" or opset >= 18:
        said["ceil_mode"] = draw(st.integers(0, 1))
    if op == "AveragePool":
        said["count_include_pad"] = draw(st.integers(0, 1))
    if op == "LpPool":
        said["p"] = draw(st.integers(1, 3))
    shape = (2, 2, *numbers(1, 8))
    named: Any = [f"d{i}" for i in range(n + 2)] if draw(st.booleans()) else shape
    return _model([helper.make_node(op, ["h"], ["y"], **said)], named, opset), shape


def _model(nodes: list[Any], shape: Any, opset: int, **more: Any) -> ModelProto:
    first = helper.make_node("Mul", ["x", "two"], ["h"])
    inputs = [helper.make_tensor_value_info(n, FLOAT, s) for n, s in {"x": shape, **more}.items()]
    outputs = [helper.make_tensor_value_info("y", FLOAT, None)]
    two = helper.make_tensor("two", FLOAT, [], [2.0])
    graph = helper.make_graph([first, *nodes], "g", inputs, outputs, [two])
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def _jacobian(model: ModelProto, x: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    y = session.run(None, {"x": x})[0]
    columns = []
    for place in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[place] += step
        down[place] -= step
        ends = (session.run(None, {"x": v})[0].astype(np.float64) for v in (up, down))
        columns.append((next(ends) - next(ends)).ravel() / (2 * step))
    return y, np.stack(columns, axis=1)


@pytest.mark.parametrize("op", POOLS)
@some
@given(data=st.data())
def test_pools_are_as_the_runtime_has_them(op: str, data: st.DataObject) -> None:
    model, shape = data.draw(pools(op))
    values = np.random.default_rng(0).permutation(int(np.prod(shape))).reshape(shape)
    x = values.astype(np.float32)
    if op == "LpPool":
        x = (x - x.size // 2 + 0.5) / 4
    try:
        y, jacobian = _jacobian(model, x, STEP[op])
    except RUNTIME_ERRORS:
        assume(False)
    assume(y.size and np.isfinite(jacobian).all() and np.abs(y).max() < 1e30)
    # What raising the opset does to a window larger than its input is another matter.
    assume(np.array_equal(run(load(model).proto, {"x": x}, ["y"])["y"], y))
    ct = np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)
    try:
        gradient = vjp_model(model, ["x"], ["y"])
    except UnsupportedOp as error:
        assert "stride above the window" in str(error)
        return
    got = run(gradient, {"x": x, "ct::y": ct}, ["y", "grad::x"])
    np.testing.assert_array_equal(got["y"], y)
    want = (ct.reshape(1, -1) @ jacobian).reshape(shape)
    scale = max(1.0, float(np.abs(want).max()))
    np.testing.assert_allclose(got["grad::x"], want, 0, TOLERANCE[op] * scale)


@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize("opset", [7, 9, 16, 21])
@pytest.mark.parametrize(
    ("small", "slope"),
    [
        ((2, 1, 3), (2, 4, 3)), ((2, 3), (4, 2, 3)), ((3,), (2, 3)), ((1,), (5,)), ((), (3,)),
        ((2, 1), (1, 4)), ((1, 4, 1, 1), (4, 5, 5)), ((2, 3), (3,)), ((2, 3), (1,)),
    ],
)  # fmt: skip
def test_slopes_of_any_size(
    small: tuple[int, ...], slope: tuple[int, ...], opset: int, symbolic: bool
) -> None:
    shapes = [[f"{n}{i}" for i in range(len(s))] if symbolic else s
              for n, s in (("x", small), ("s", slope))]  # fmt: skip
    nodes = [helper.make_node("PRelu", ["h", "s"], ["p"]), helper.make_node("Exp", ["p"], ["y"])]
    model = _model(nodes, shapes[0], opset, s=shapes[1])
    rng = np.random.default_rng(0)
    feeds = {"x": rng.standard_normal(small), "s": rng.random(slope)}
    feeds = {name: value.astype(np.float32) for name, value in feeds.items()}
    y = run(model, feeds, ["y"])["y"]
    ct = rng.standard_normal(y.shape).astype(np.float32)
    got = run(vjp_model(model, ["x", "s"], ["y"]), {**feeds, "ct::y": ct}, ["grad::x", "grad::s"])
    h = 2 * feeds["x"]
    wanted = {"x": 2 * ct * y * np.where(h > 0, 1, feeds["s"]), "s": ct * y * np.minimum(h, 0)}
    for name, want in wanted.items():
        np.testing.assert_allclose(
            got[f"grad::{name}"], _summed(want, feeds[name].shape), 1e-4, 1e-4
        )


def _summed(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    value = value.sum(tuple(range(value.ndim - len(shape))))
    return value.sum(tuple(i for i, d in enumerate(shape) if d == 1), keepdims=True)


@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((2, 2, 1), {"kernel_shape": [3], "strides": [4], "dilations": [2], "pads": [1, 1]}),
        ((2, 2, 5, 1), {"kernel_shape": [3, 3], "strides": [1, 4], "dilations": [1, 2],
                        "pads": [0, 1, 2, 1]}),
        ((2, 2, 2, 4), {"kernel_shape": [2, 2], "strides": [4, 4], "dilations": [3, 1],
                        "pads": [1, 1, 1, 1]}),
        ((2, 2, 6, 2), {"kernel_shape": [2, 2], "strides": [3, 2], "dilations": [3, 3],
                        "pads": [1, 1, 0, 1]}),
        ((2, 2, 1), {"kernel_shape": [3], "strides": [4], "dilations": [2],
                     "auto_pad": "SAME_LOWER"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("own", [False, True])
def test_a_window_without_a_tap_on_the_input_gives_no_gradient(
    shape: tuple[int, ...], said: dict[str, Any], symbolic: bool, own: bool
) -> None:
    named: Any = [f"d{i}" for i in range(len(shape))] if symbolic else shape
    outputs = ["y", "indices"] if own else ["y"]
    model = _model([helper.make_node("MaxPool", ["h"], outputs, **said)], named, 22)
    x = np.random.default_rng(0).permutation(int(np.prod(shape))).reshape(shape)
    x = x.astype(np.float32) - x.size // 2
    y, jacobian = _jacobian(model, x, STEP["MaxPool"])
    assert y.min() < -1e30, "no window is without a tap"
    try:
        gradient = vjp_model(model, ["x"], ["y"])
    except UnsupportedOp as error:
        assert "stride above the window" in str(error)
        return
    ct = np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)
    got = run(gradient, {"x": x, "ct::y": ct}, ["grad::x"])["grad::x"]
    want = (ct.reshape(1, -1) @ jacobian).reshape(shape)
    np.testing.assert_allclose(got, want, 0, 2e-3)
