"""Activation functions against differences; at their kinks against the written convention."""

from __future__ import annotations

import numpy as np
import pytest
from support.gradcheck import run
from support.rule_cases import Case, check_all, check_dtypes, check_twice
from support.variants import node_model

from onnxcam.autodiff import vjp_model

# On both sides of every kink, and far out where functions saturate.
X = np.array([[-4.5, -3.25, -1.5, -0.75, -0.25], [0.25, 0.625, 1.5, 2.75, 5.5]])
CASES = {
    "relu": Case("Relu", {"x": X}),
    "leaky relu": Case("LeakyRelu", {"x": X}),
    "leaky relu, steep": Case("LeakyRelu", {"x": X}, {"alpha": 1.75}),
    "leaky relu, negative": Case("LeakyRelu", {"x": X}, {"alpha": -0.5}),
    "prelu": Case("PRelu", {"x": X, "slope": np.array([0.25, -0.5, 0.0, 2.0, 0.125])}),
    "prelu, one slope": Case("PRelu", {"x": X, "slope": np.array([0.25])}),
    "prelu, a slope a row": Case("PRelu", {"x": X, "slope": np.array([[0.25], [0.75]])}),
    "thresholded relu": Case("ThresholdedRelu", {"x": X}),
    "thresholded relu at 2": Case("ThresholdedRelu", {"x": X}, {"alpha": 2.0}),
    "shrink": Case("Shrink", {"x": X}),
    "shrink, soft": Case("Shrink", {"x": X}, {"lambd": 1.0, "bias": 0.5}),
    "shrink, negative": Case("Shrink", {"x": X}, {"lambd": -1.0, "bias": 0.5}),
    "elu": Case("Elu", {"x": X}),
    "elu, alpha": Case("Elu", {"x": X}, {"alpha": 2.5}),
    "selu": Case("Selu", {"x": X}),
    "selu, alpha and gamma": Case("Selu", {"x": X}, {"alpha": 2.0, "gamma": 3.0}),
    "celu": Case("Celu", {"x": X}),
    "celu, alpha": Case("Celu", {"x": X}, {"alpha": 2.0}),
    "sigmoid": Case("Sigmoid", {"x": X}),
    "hard sigmoid": Case("HardSigmoid", {"x": X}),
    "hard sigmoid, steep": Case("HardSigmoid", {"x": X}, {"alpha": 0.5, "beta": 0.6}),
    "hard sigmoid, falling": Case("HardSigmoid", {"x": X}, {"alpha": -0.5, "beta": 0.6}),
    "hard swish": Case("HardSwish", {"x": X}),
    "swish": Case("Swish", {"x": X}, opset=24),
    "swish, alpha": Case("Swish", {"x": X}, {"alpha": 1.5}, opset=24),
    "mish": Case("Mish", {"x": X}),
    "tanh": Case("Tanh", {"x": X}),
    "softplus": Case("Softplus", {"x": X}),
    "softsign": Case("Softsign", {"x": X}),
    "gelu": Case("Gelu", {"x": X}),
    "gelu by tanh": Case("Gelu", {"x": X}, {"approximate": "tanh"}),
}
KINKS = {  # operator, x, attributes, dy/dx
    "relu": ("Relu", 0.0, {}, 0),
    "leaky relu": ("LeakyRelu", 0.0, {"alpha": 0.25}, 0.25),
    "thresholded relu": ("ThresholdedRelu", 1.0, {}, 0),
    "shrink": ("Shrink", 0.5, {}, 0),
    "shrink, left": ("Shrink", -0.5, {}, 0),
    "elu": ("Elu", 0.0, {"alpha": 0.5}, 0.5),
    "celu": ("Celu", 0.0, {"alpha": 2.0}, 1),
    "hard sigmoid, low": ("HardSigmoid", -1.0, {"alpha": 0.5, "beta": 0.5}, 0),
    "hard sigmoid, high": ("HardSigmoid", 1.0, {"alpha": 0.5, "beta": 0.5}, 0),
    "hard swish, low": ("HardSwish", -3.0, {}, 0),
    "hard swish, high": ("HardSwish", 3.0, {}, 1),
}
FAR = [-1e4, -500.0, -60.0, 60.0, 500.0, 1e4]
SATURATED = {
    "Relu": 1, "LeakyRelu": 1, "Elu": 1, "Celu": 1, "Sigmoid": 0, "HardSigmoid": 0,
    "HardSwish": 1, "Mish": 1, "Tanh": 0, "Softplus": 1, "Softsign": 0, "Gelu": 1,
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_gradient(name: str) -> None:
    check_all(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_dtypes(name: str) -> None:
    check_dtypes(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_second_derivative(name: str) -> None:
    check_twice(CASES[name])


@pytest.mark.parametrize("name", KINKS)
def test_kink(name: str) -> None:
    op, x, attributes, slope = KINKS[name]
    assert _slopes(op, [x], np.float32, attributes) == [slope]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("op", SATURATED)
def test_saturation_is_finite(op: str, dtype: str) -> None:
    if (op, dtype) == ("Celu", "float16"):
        pytest.skip("Celu is for float32 alone")
    slopes = _slopes(op, FAR, dtype, {})
    low = 0.01 if op == "LeakyRelu" else 0
    np.testing.assert_allclose(slopes, [low] * 3 + [SATURATED[op]] * 3, atol=1e-3)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_saturates_in_half_precision(approximate: str) -> None:
    slopes = _slopes("Gelu", FAR, "float16", {"approximate": approximate})
    np.testing.assert_allclose(slopes, [0, 0, 0, 1, 1, 1], atol=1e-3)


def _slopes(op: str, xs: list[float], dtype: str, attributes: dict) -> list[float]:
    feeds = {"x": np.array(xs, dtype)}
    grad = vjp_model(node_model(op, feeds, **attributes), ["x"], ["y"])
    return run(grad, {**feeds, "ct::y": np.ones(len(xs), dtype)})["grad::x"].tolist()
