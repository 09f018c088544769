"""Weights of subgraphs move to the main graph, and the model computes the same."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import parser
from support.gradcheck import run

from onnxcam.model.model import load
from onnxcam.model.passes.lift import lift_weights

BRANCHES = """<ir_version: 10, opset_import: ["": 20]>
g (bool c, float[2] x) => (float[2] y, float[2] z)
  <float[2] w = {1, 2}>
{
  y, z = If (c) <
    then_branch = t () => (float[2] a, float[2] v)
      <float[2] u = {3, 4}, float[2] v = {5, 6}> {
      b = Mul (x, u)
      d = If (c) <
        then_branch = tt () => (float[2] e) <float[2] s = {7, 8}> { e = Add (b, s) },
        else_branch = te () => (float[2] f) <float[2] s1 = {9, 10}> { f = Sub (b, s1) }
      >
      a = Mul (d, w)
    },
    else_branch = e () => (float[2] i, float[2] j)
      <float[2] u = {-3, -4}, float[2] s = {-7, -8}> {
      i = Mul (x, u)
      j = Add (x, s)
    }
  >
}"""


@pytest.mark.parametrize("condition", [True, False])
def test_values_stay(condition):
    model = parser.parse_model(BRANCHES)
    feeds = {"c": np.array(condition), "x": np.array([1, -2], np.float32)}
    want = run(model, feeds)
    got = run(load(model).proto, feeds)
    for name, value in want.items():
        np.testing.assert_array_equal(got[name], value)


def test_weights_lie_in_the_main_graph_under_names_of_their_own():
    model = parser.parse_model(BRANCHES)
    assert lift_weights(model) == 6
    onnx.checker.check_model(model, full_check=True)
    values = {t.name: onnx.numpy_helper.to_array(t).tolist() for t in model.graph.initializer}
    assert len(values) == len(model.graph.initializer) == 6
    # v is an output of its branch, which an outer tensor cannot be: it became a Constant there.
    assert sorted(map(tuple, values.values())) == [
        (-7, -8), (-3, -4), (1, 2), (3, 4), (7, 8), (9, 10)
    ]  # fmt: skip
    assert lift_weights(model) == 0


def test_old_models_list_the_moved_weights_as_inputs():
    model = parser.parse_model(BRANCHES.replace("ir_version: 10", "ir_version: 3"))
    model.graph.input.append(onnx.helper.make_tensor_value_info("w", 1, [2]))
    lift_weights(model)
    assert {t.name for t in model.graph.initializer} <= {v.name for v in model.graph.input}


def test_the_model_that_was_given_is_not_changed():
    model = parser.parse_model(BRANCHES)
    before = model.SerializeToString()
    assert "6 weights moved from subgraphs to the main graph" in load(model).notes
    assert model.SerializeToString() == before
