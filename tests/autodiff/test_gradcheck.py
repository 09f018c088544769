"""The checker itself: right gradients pass, wrong ones do not."""

from __future__ import annotations

import numpy as np
import pytest
from support.gradcheck import check_gradient
from support.variants import node_model

X = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
OVERRIDES = {
    "scaled": lambda op, node, dy: op.Mul(op.Mul(dy, node.outputs[0]), 1.001),
    "sign": lambda op, node, dy: op.Neg(op.Mul(dy, node.outputs[0])),
    "zero": lambda op, node, dy: op.Mul(dy, 0),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
@pytest.mark.parametrize("symbolic", [False, True])
def test_right_gradient_passes(dtype, symbolic):
    feeds = {"x": X.astype(dtype)}
    report = check_gradient(node_model("Tanh", feeds), feeds, symbolic=symbolic)
    assert (report.compared, report.skipped, report.runtime) == (6, 0, True)


@pytest.mark.parametrize("wrong", OVERRIDES)
def test_wrong_gradient_fails(wrong):
    feeds = {"x": X}
    model = node_model("Tanh", feeds)
    with pytest.raises(AssertionError, match="central difference"):
        check_gradient(model, feeds, overrides={"Tanh": OVERRIDES[wrong]})


def test_many_elements_are_checked_along_directions():
    feeds = {"x": np.random.default_rng(0).standard_normal((50, 60))}
    assert check_gradient(node_model("Tanh", feeds), feeds).compared == 42


def test_kinks_are_skipped_and_counted():
    feeds = {"x": np.array([0, 1, -1, 2], np.float32)}
    report = check_gradient(node_model("Relu", feeds), feeds)
    assert (report.compared, report.skipped) == (3, 1)
    with pytest.raises(AssertionError, match="smooth"):
        check_gradient(node_model("Relu", feeds), feeds, minimum=0.9)


def test_frozen_inputs_are_not_differentiated():
    feeds = {"a": X, "b": X + 2}
    model = node_model("Mul", feeds)
    assert check_gradient(model, feeds).compared == 12
    assert check_gradient(model, feeds, constant=["b"]).compared == 6
