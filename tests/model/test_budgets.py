"""Small files that ask for much are refused for what they ask for, before it is made."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support import nets

from onnxcam import ModelError, UsageError, load
from onnxcam.model.passes import budgets


def _with(*nodes: onnx.NodeProto, **weights: object) -> onnx.ModelProto:
    model = nets.cnn()
    model.graph.node.extend(nodes)
    for name, value in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return model


def _bomb(depth: int) -> onnx.ModelProto:
    """Functions that call the next one twice each."""
    model = nets.cnn()
    for k in range(depth):
        op = f"F{k + 1}" if k + 1 < depth else "Relu"
        domain = "twin" if k + 1 < depth else ""
        nodes = [
            helper.make_node(op, ["x"], ["a"], domain=domain),
            helper.make_node(op, ["a"], ["y"], domain=domain),
        ]
        opsets = [*model.opset_import[:1], helper.make_opsetid("twin", 1)]
        model.functions.append(helper.make_function("twin", f"F{k}", ["x"], ["y"], nodes, opsets))
    model.opset_import.append(helper.make_opsetid("twin", 1))
    model.graph.node.append(helper.make_node("F0", ["x"], ["bomb"], domain="twin"))
    return model


def test_functions_are_counted_before_they_are_inlined(monkeypatch: pytest.MonkeyPatch) -> None:
    load(_bomb(5))
    monkeypatch.setenv(budgets.NODES, "20")  # first: without a budget the next would not end
    with pytest.raises(ModelError, match="nodes"):
        load(_bomb(5))
    monkeypatch.delenv(budgets.NODES)
    with pytest.raises(ModelError, match=r"1,073,741,8\d\d nodes.*ONNXCAM_NODES"):
        load(_bomb(30))
    monkeypatch.setenv(budgets.NODES, "many")
    with pytest.raises(UsageError, match="ONNXCAM_NODES='many' is no number"):
        load(_bomb(5))


def test_a_function_that_calls_itself_is_refused() -> None:
    model = _bomb(3)
    model.functions[2].node[0].op_type, model.functions[2].node[0].domain = "F0", "twin"
    with pytest.raises(ModelError, match="calls itself"):
        load(model)


@pytest.mark.parametrize(
    ("op", "inputs", "weights"),
    [
        ("Range", ["a", "b", "c"], {"a": 0, "b": 2**40, "c": 1}),
        ("Range", ["a", "b", "c"], {"a": 0.0, "b": 1e30, "c": 1e-3}),
        ("ConstantOfShape", ["a"], {"a": [2**20, 2**20]}),
        ("Expand", ["a", "b"], {"a": 1.0, "b": [2**31, 4]}),
        ("Tile", ["a", "b"], {"a": [1.0], "b": [2**40]}),
    ],
)
def test_elements_that_constants_name(
    op: str, inputs: list[str], weights: dict[str, object]
) -> None:
    with pytest.raises(ModelError, match=rf"elements at node 'z' \({op}\).*ONNXCAM_ELEMENTS"):
        load(_with(helper.make_node(op, inputs, ["z"]), **weights))


def _loop(goes_on: str, turns: int | None, first: bool = True) -> onnx.ModelProto:
    nodes = [helper.make_node("Relu", ["v"], ["v2"])]
    if goes_on == "passed":
        nodes.append(helper.make_node("Identity", ["on"], ["on2"]))
    else:
        nodes.append(helper.make_node("Less", ["i", "ten"], ["on2"]))
    body = helper.make_graph(
        nodes, "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []),
         helper.make_tensor_value_info("on", TensorProto.BOOL, []),
         helper.make_tensor_value_info("v", 1, None)],
        [helper.make_tensor_value_info("on2", TensorProto.BOOL, []),
         helper.make_tensor_value_info("v2", 1, None)],
    )  # fmt: skip
    source = nets.cnn().graph.node[0].output[0]
    loop = helper.make_node("Loop", ["n" if turns else "", "t", source], ["z"], body=body)
    return _with(loop, **({"n": turns} if turns else {}), t=first, ten=10)


def test_a_loop_without_an_end() -> None:
    for turns in (2**62, 2**31, None):
        with pytest.raises(ModelError, match="turns of the loop 'z'"):
            load(_loop("passed", turns))
    load(_loop("passed", 1000))
    load(_loop("passed", 2**62, first=False))  # none at all
    load(_loop("asked", 2**62))  # as while loops are written: the condition ends it
