"""The part behind a tensor, held against the whole model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from support import nets

from onnxcam.errors import UsageError
from onnxcam.model.model import load
from onnxcam.model.tail import tail
from onnxcam.run.session import Session

X = np.random.default_rng(1).normal(size=(3, 2, 4, 4)).astype("f4")
ONES = {"w": np.random.default_rng(2).normal(size=(2, 2, 1, 1)).astype("f4")}


def _ops(model: Any) -> list[str]:
    return [node.op_type for node in model.light.graph.node]


def _assert_same(proto: Any, source: str, others: tuple[str, ...], ops: list[str]) -> None:
    """The tail, fed with what the whole computes, gives what the whole gives."""
    model = load(proto)
    part = tail(model, source, "y")
    assert part.inputs == others and _ops(part.model) == ops
    shown = nets.onnx.ModelProto()
    shown.CopyFrom(model.proto)
    names = [name for name in (source, *others) if name != "x"]
    for name in names:
        shown.graph.output.append(helper.make_empty_tensor_value_info(name))
    values = Session(shown, device="cpu").run({"x": X}, ["y", *names])
    feeds = {"x": X, **dict(zip(names, values[1:], strict=True))}
    fed = {port.name: feeds[port.name] for port in part.model.inputs}
    assert set(fed) == {source, *others}
    (got,) = Session(part.model, device="cpu").run(fed)
    np.testing.assert_allclose(got, values[0], rtol=1e-6)


def test_a_chain() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Conv", ["a", "w"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["y"]),
    ]
    proto = nets.model(nodes, {"x": ["N", 2, 4, 4]}, {"y": ["N", 2, 1, 1]}, ONES)
    _assert_same(proto, "a", (), ["Conv", "GlobalAveragePool"])


def test_what_goes_round_is_an_input() -> None:
    """A connection that skips the tensor, the input itself, and a shape of it."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["a"]),
        helper.make_node("Conv", ["a", "w"], ["d"]),
        helper.make_node("Add", ["d", "c"], ["s"]),
        helper.make_node("Mul", ["s", "x"], ["m"]),
        helper.make_node("Shape", ["x"], ["n"]),
        helper.make_node("Reshape", ["m", "n"], ["r"]),
        helper.make_node("ReduceMean", ["r", "axes"], ["y"], keepdims=0),
    ]
    weights = {**ONES, "axes": np.array([2, 3])}
    proto = nets.model(nodes, {"x": ["N", 2, 4, 4]}, {"y": ["N", 2]}, weights)
    ops = ["Conv", "Add", "Mul", "Reshape", "ReduceMean"]
    _assert_same(proto, "a", ("c", "x", "n"), ops)


def test_what_depends_on_nothing_belongs_to_the_tail() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("ConstantOfShape", ["one"], ["z"]),
        helper.make_node("Cos", ["z"], ["k"]),
        helper.make_node("Neg", ["x"], ["unused"]),
        helper.make_node("Mul", ["a", "k"], ["y"]),
    ]
    proto = nets.model(nodes, {"x": ["N", 2, 4, 4]}, {"y": ["N", 2, 4, 4]}, {"one": np.array([1])})
    _assert_same(proto, "a", (), ["ConstantOfShape", "Cos", "Mul"])


def test_subgraphs_use_tensors_from_outside() -> None:
    def branch(name: str, op: str, *inputs: str) -> Any:
        out = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        return helper.make_graph([helper.make_node(op, inputs, [name])], name, [], [out])

    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Neg", ["x"], ["b"]),
        helper.make_node("ReduceSum", ["x"], ["t"], keepdims=0),
        helper.make_node("Greater", ["t", "zero"], ["go"]),
        helper.make_node(
            "If", ["go"], ["y"], then_branch=branch("p", "Add", "a", "b"),
            else_branch=branch("q", "Neg", "a"),
        ),
    ]  # fmt: skip
    weights = {"zero": np.array(0, "f4")}
    proto = nets.model(nodes, {"x": ["N", 2, 4, 4]}, {"y": ["N", 2, 4, 4]}, weights)
    part = tail(load(proto), "a", "y")
    assert set(part.inputs) == {"go", "b"}
    _assert_same(proto, "a", part.inputs, ["If"])


def test_only_the_weights_that_are_used_are_kept() -> None:
    model = load(nets.cnn())
    part = tail(model, "relu", "logits")
    assert {t.name for t in part.model.light.graph.initializer} == {"fc", "fcb"}
    assert part.model.weights is model.weights


def test_an_output_that_depends_on_something_else() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Neg", ["x"], ["y"])]
    proto = nets.model(nodes, {"x": ["N", 2]}, {"y": ["N", 2], "a": ["N", 2]})
    with pytest.raises(UsageError, match="'y' does not depend on 'a'"):
        tail(load(proto), "a", "y")
