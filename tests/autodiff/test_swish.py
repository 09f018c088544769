"""x sigmoid(x), which exporters write as two nodes: its gradient in one piece, if that is one."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper
from support.gradcheck import check_gradient
from support.runtime import run
from support.second_order import check_second_order
from support.variants import graph_model

from onnxcam.autodiff import vjp_model

X = (np.random.default_rng(4).permutation(24).reshape(2, 3, 4) / 4 - 3).astype("f4")
FAR = np.array([[-200, -90, -30, -17.5, 0, 17.5, 30, 90, 200]], "f4")


def _swish(dtype: str = "f4", *, swapped: bool = False, shared: bool = False) -> ModelProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    x = helper.make_tensor_value_info("x", kind, ["N", *X.shape[1:]])
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["s"], name="gate"),
        helper.make_node("Mul", ["s", "x"] if swapped else ["x", "s"], ["y"], name="product"),
    ]
    if shared:
        nodes += [
            helper.make_node("Mul", ["s", "s"], ["square"]),
            helper.make_node("Add", ["y", "square"], ["z"]),
        ]
    return graph_model(nodes, [x], ["z" if shared else "y"])


def _slope(x: np.ndarray) -> np.ndarray:
    s = 1 / (1 + np.exp(-x.astype("f8")))
    return s + x * s * (1 - s)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
def test_gradient(dtype: str, shared: bool, swapped: bool) -> None:
    model = _swish(dtype, swapped=swapped, shared=shared)
    done = check_gradient(model, {"x": X.astype(dtype)})
    assert done.compared == X.size and done.runtime
    check_gradient(model, {"x": X.astype(dtype)}, symbolic=True)


def test_second_derivative() -> None:
    check_second_order(_swish(), {"x": X}, ["x"], ["y"])


@pytest.mark.parametrize("dtype", ["f4", "f2"])
def test_far_out(dtype: str) -> None:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    x = helper.make_tensor_value_info("x", kind, FAR.shape)
    nodes = [helper.make_node("Sigmoid", ["x"], ["s"]), helper.make_node("Mul", ["x", "s"], ["y"])]

    made = vjp_model(graph_model(nodes, [x], ["y"]), ["x"], ["y"])
    feeds = {"x": FAR.astype(dtype), "ct::y": np.ones_like(FAR, dtype)}
    got = run(made, feeds)["grad::x"]
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(got, _slope(FAR), atol=1e-6 if dtype == "f4" else 2e-3)


def test_it_is_one_piece() -> None:
    made = vjp_model(_swish(), ["x"], ["y"])
    emitted = Counter(n.op_type for n in made.graph.node[2:])
    assert emitted == Counter({"Mul": 2, "HardSigmoid": 1, "Add": 1, "Identity": 1})


def test_the_gate_gets_its_gradient_when_it_is_asked_for() -> None:
    made = vjp_model(_swish(), ["x", "s"], ["y"])

    got = run(made, {"x": X, "ct::y": np.ones_like(X)})
    np.testing.assert_allclose(got["grad::s"], X, rtol=1e-6)
    np.testing.assert_allclose(got["grad::x"], _slope(X), atol=1e-6)


@pytest.mark.parametrize("key", ["Sigmoid", "gate"])
def test_another_rule_for_the_gate_is_used(key: str) -> None:
    made = vjp_model(_swish(), ["x"], ["y"], overrides={key: lambda op, node, dy: op.Mul(dy, 0)})

    got = run(made, {"x": X, "ct::y": np.ones_like(X)})["grad::x"]
    np.testing.assert_allclose(got, 1 / (1 + np.exp(-X)), rtol=1e-6)  # the gate counts as constant


def test_the_sigmoid_of_something_else_is_no_swish() -> None:
    x = [helper.make_tensor_value_info(n, TensorProto.FLOAT, X.shape) for n in ("x", "g")]
    nodes = [helper.make_node("Sigmoid", ["g"], ["s"]), helper.make_node("Mul", ["x", "s"], ["y"])]
    check_gradient(graph_model(nodes, x, ["y"]), {"x": X, "g": X[::-1].copy()})
