"""Functions of one number over their whole domain, cumulative ones, and determinants."""

from __future__ import annotations

import numpy as np
import pytest
from support.gradcheck import check_gradient, run
from support.rule_cases import Case, check_all, check_dtypes, check_twice
from support.variants import node_model

from onnxcam.autodiff import vjp_model

REAL = np.array([-3.5, -1.25, -0.5, -0.125, 0.25, 0.75, 1.5, 4.0])
POSITIVE = np.array([0.125, 0.5, 1.0, 2.25, 7.0])
INSIDE = np.array([-0.875, -0.5, -0.125, 0.25, 0.625, 0.9375])
ABOVE_1 = np.array([1.125, 1.5, 2.0, 5.0])
CUBE = np.random.default_rng(0).integers(1, 9, (2, 4, 3)) / 4
MATRIX = np.array([[2.0, 1.0, 0.5], [-1.0, 3.0, 0.25], [0.5, -0.75, 1.5]])
CASES = {
    "neg": Case("Neg", {"x": REAL}),
    "abs": Case("Abs", {"x": REAL}),
    "reciprocal": Case("Reciprocal", {"x": REAL}),
    "sqrt": Case("Sqrt", {"x": POSITIVE}),
    "exp": Case("Exp", {"x": REAL}),
    "log": Case("Log", {"x": POSITIVE}),
    "erf": Case("Erf", {"x": REAL}),
    "sin": Case("Sin", {"x": REAL}),
    "cos": Case("Cos", {"x": REAL}),
    "tan": Case("Tan", {"x": INSIDE}),
    "asin": Case("Asin", {"x": INSIDE}),
    "acos": Case("Acos", {"x": INSIDE}),
    "atan": Case("Atan", {"x": REAL}),
    "sinh": Case("Sinh", {"x": REAL}),
    "cosh": Case("Cosh", {"x": REAL}),
    "asinh": Case("Asinh", {"x": REAL}),
    "acosh": Case("Acosh", {"x": ABOVE_1}),
    "atanh": Case("Atanh", {"x": INSIDE}),
    "ceil": Case("Ceil", {"x": REAL[:-1]}, twice=False),
    "floor": Case("Floor", {"x": REAL[:-1]}, twice=False),
    "round": Case("Round", {"x": REAL[[1, 3, 4, 5]]}, twice=False),
    "sign": Case("Sign", {"x": REAL}, twice=False),
    **{
        f"cumsum, axis {axis}, exclusive {exclusive}, reverse {reverse}": Case(
            "CumSum", {"x": CUBE, "axis": np.array(axis)},
            {"exclusive": exclusive, "reverse": reverse})
        for axis, exclusive, reverse in ((0, 0, 0), (1, 1, 0), (-1, 0, 1), (1, 1, 1))
    },
    **{
        f"cumprod, axis {axis}, exclusive {exclusive}, reverse {reverse}": Case(
            "CumProd", {"x": CUBE, "axis": np.array(axis)},
            {"exclusive": exclusive, "reverse": reverse}, opset=26)
        for axis, exclusive, reverse in ((0, 0, 0), (1, 1, 0), (-2, 0, 1), (1, 1, 1))
    },
    "det": Case("Det", {"x": MATRIX}),
    "det of many": Case("Det", {"x": np.stack([MATRIX, MATRIX.T + 1, -MATRIX])[None]}),
    "det of a number": Case("Det", {"x": MATRIX[:1, :1]}, twice=False),
    "det of 2 by 2": Case("Det", {"x": MATRIX[1:, 1:]}),
}  # fmt: skip
SINGULAR = {
    "rank 1": np.array([[1.0, 2.0], [2.0, 4.0]]),
    "a zero row": np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [2.0, 1.0, -1.0]]),
}


@pytest.mark.parametrize("name", CASES)
def test_gradient(name: str) -> None:
    check_all(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_dtypes(name: str) -> None:
    check_dtypes(CASES[name])


@pytest.mark.parametrize("name", [n for n in CASES if CASES[n].twice])
def test_second_derivative(name: str) -> None:
    check_twice(CASES[name])


@pytest.mark.parametrize("name", SINGULAR)
def test_det_of_a_singular_matrix(name: str) -> None:
    Case("Det", {"x": SINGULAR[name]}).check()


@pytest.mark.parametrize("zeros", [[1], [0, 2], [3], [0, 1, 2, 3]], ids=str)
@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
def test_cumprod_is_exact_at_zeros(zeros: list[int], exclusive: int, reverse: int) -> None:
    x = CUBE[0].copy()
    x[zeros, 1] = 0
    attributes = {"exclusive": exclusive, "reverse": reverse}
    Case("CumProd", {"x": x, "axis": np.array(0)}, attributes, opset=26).check()


def test_second_derivative_of_cumprod_at_one_zero() -> None:
    x = CUBE[0].copy()
    x[1, 1] = 0
    check_twice(Case("CumProd", {"x": x, "axis": np.array(0)}, opset=26))


def test_abs_is_flat_at_zero() -> None:
    feeds = {"x": np.array([-2, 0, 3], np.float32)}
    grad = vjp_model(node_model("Abs", feeds), ["x"], ["y"])
    assert run(grad, {**feeds, "ct::y": np.ones(3, "f4")})["grad::x"].tolist() == [-1, 0, 1]


@pytest.mark.parametrize("op", ["Ceil", "Floor", "Round", "Sign"])
def test_piecewise_constant_functions_have_gradient_zero(op: str) -> None:
    feeds = {"x": REAL.astype("f4")}
    report = check_gradient(node_model(op, feeds), feeds, minimum=0.6)
    assert report.runtime
