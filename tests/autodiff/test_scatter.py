"""Operators that write updates: every reduction, repeated places, zeros, ties."""

from __future__ import annotations

import numpy as np
import pytest
from support.gradcheck import check_gradient, run
from support.rule_cases import Case, check_all, check_twice
from support.variants import node_model

from onnxcam.autodiff import vjp_model
from onnxcam.errors import UnsupportedOp

X = (np.random.default_rng(1).permutation(12) / 8 - 0.6875).reshape(3, 4)
U = (np.random.default_rng(2).permutation(6) / 8 - 0.3125 + 1 / 64).reshape(3, 2)
ONCE, TWICE = np.array([[1, 3], [0, -2], [2, 1]]), np.array([[1, 1], [0, 0], [-1, 3]])
ROWS = np.array([[2], [0]])
ROW_UPDATES = (np.arange(8) / 4 - 0.9).reshape(2, 4)
REDUCTIONS = ("none", "add", "mul", "min", "max")


def _elements(reduction: str, indices: np.ndarray = TWICE, data=X, updates=U, **more) -> Case:
    feeds = {"x": data, "i": indices, "u": updates}
    return Case("ScatterElements", feeds, {"axis": 1, "reduction": reduction}, **more)


CASES = {
    **{f"elements, {r}": _elements(r, ONCE) for r in REDUCTIONS},
    **{f"elements twice, {r}": _elements(r) for r in REDUCTIONS if r != "none"},
    "elements, axis 0": Case("ScatterElements",
                             {"x": X, "i": np.array([[2, 0, 1, 0]]), "u": ROW_UPDATES[:1]}),
    **{
        f"nd, {r}": Case("ScatterND", {"x": X, "i": ROWS, "u": ROW_UPDATES}, {"reduction": r})
        for r in REDUCTIONS
    },
    **{
        f"nd twice, {r}": Case(
            "ScatterND", {"x": X, "i": ROWS * 0 + 1, "u": ROW_UPDATES}, {"reduction": r})
        for r in REDUCTIONS if r != "none"
    },
    "nd, elements": Case("ScatterND", {"x": X, "i": np.array([[2, 1], [0, -1]]),
                                       "u": np.array([0.5, -0.25])}),
}  # fmt: skip
CACHE = np.arange(48, dtype=float).reshape(2, 2, 4, 3) / 16
NEW = np.arange(24, dtype=float).reshape(2, 2, 2, 3) / 8 + 3


@pytest.mark.parametrize("name", CASES)
def test_gradient(name: str) -> None:
    check_all(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_double_and_second_derivative(name: str) -> None:
    CASES[name].check(np.float64)
    check_twice(CASES[name])


@pytest.mark.parametrize("name", ["elements, none", "nd, none"])
def test_half_precision(name: str) -> None:
    """ONNX Runtime cannot reduce in it."""
    assert CASES[name].check(np.float16).runtime


@pytest.mark.parametrize("zeros", [[(1, 1)], [(0, 0)], [(0, 0), (0, 1)]], ids=str)
@pytest.mark.parametrize("zero_data", [False, True])
def test_products_are_exact_at_zeros(zeros: list, zero_data: bool) -> None:
    updates, data = U.copy(), X.copy()
    for place in zeros:
        updates[place] = 0
    data[1, 0] *= not zero_data
    check_all(_elements("mul", updates=updates, data=data))


@pytest.mark.parametrize("reduction", ["min", "max"])
def test_ties_share_evenly(reduction: str) -> None:
    feeds = {"x": np.array([1, 5], "f4"), "i": np.array([0, 0]), "u": np.array([1, 1], "f4")}
    model = node_model("ScatterElements", feeds, reduction=reduction)
    grad = vjp_model(model, ["x", "u"], ["y"])
    got = run(grad, {**feeds, "ct::y": np.array([3, 7], "f4")})
    assert got["grad::x"].tolist() == [1, 7] and got["grad::u"].tolist() == [1, 1]


@pytest.mark.parametrize("opset", [9, 10])
def test_scatter_of_old_opsets(opset: int) -> None:
    feeds = {"x": X.astype("f4"), "i": ONCE, "u": U.astype("f4")}
    model = node_model("Scatter", feeds, opset=opset, axis=1)
    model.ir_version = 4
    assert check_gradient(model, feeds, minimum=1).runtime
    assert check_gradient(model, feeds, wrt=["x"], keep_opset=True, minimum=1).runtime
    with pytest.raises(UnsupportedOp, match="GatherElements"):
        check_gradient(model, feeds, keep_opset=True)


@pytest.mark.parametrize("mode", ["linear", "circular"])
@pytest.mark.parametrize("axis", [-2, 2])
@pytest.mark.parametrize("indexed", [False, True])
def test_tensor_scatter(mode: str, axis: int, indexed: bool) -> None:
    starts = np.array([3, 1] if mode == "circular" else [2, 0])
    feeds = {"x": CACHE, "u": NEW, "start": starts if indexed else None}
    case = Case("TensorScatter", feeds, {"mode": mode, "axis": axis}, opset=24)
    check_all(case)
    check_twice(case)
