"""Operators without a rule that ONNX defines by others."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from support.gradcheck import check_gradient
from support.rule_cases import Case, check_twice
from support.variants import frozen, node_model

from onnxcam.autodiff import vjp_model
from onnxcam.autodiff.registry import lookup

X = (np.random.default_rng(1).permutation(24) / 8 - 1.4375).reshape(2, 3, 4)
CASES = {
    "SwiGLU": Case("SwiGLU", {"a": X, "b": X[::-1] * 0.5}, opset=28),
    "SwiGLU, alpha": Case("SwiGLU", {"a": X, "b": X * 2}, {"alpha": 1.5}, opset=28),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_gradient(name: str) -> None:
    assert lookup("", CASES[name].op, CASES[name].opset) is None, "it has a rule now"
    CASES[name].check()
    CASES[name].check(symbolic=True)


@pytest.mark.parametrize("name", CASES)
def test_second_derivative(name: str) -> None:
    check_twice(CASES[name])


def test_one_tensor_as_several_inputs_gets_its_gradient_once() -> None:
    model = node_model("SwiGLU", {"a": X, "b": X}, opset=28)
    model.graph.node[0].input[1] = "a"
    del model.graph.input[1]
    check_gradient(model, {"a": X}, minimum=1)


def test_only_what_is_asked_for_is_differentiated() -> None:
    model = frozen(node_model("SwiGLU", {"a": X, "b": X}, opset=28), {"b": X}, ["b"])
    grad = vjp_model(model, ["a"], ["y"])
    kinds = [node.op_type for node in grad.graph.node]
    assert "Swish" in kinds and [o.name for o in grad.graph.output] == ["y", "grad::a"]


def test_an_override_reaches_inside_a_definition() -> None:
    feeds = {"a": X.astype("f4"), "b": np.ones_like(X, "f4")}
    model = node_model("SwiGLU", feeds, opset=28)
    overrides = {"Swish": lambda op, node, dy: op.Mul(dy, 3)}
    grad = vjp_model(model, ["a"], ["y"], overrides=overrides)
    onnx.checker.check_model(grad, full_check=True)
    got = ReferenceEvaluator(grad).run(["grad::a"], {**feeds, "ct::y": np.ones_like(X, "f4")})
    assert (got[0] == 3).all()
