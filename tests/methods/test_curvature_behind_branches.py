"""Second derivatives of what runs in branches, of tensors whose rank no graph says."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from onnxcam import Explainer, vjp_model
from onnxcam.run.session import Session

SIZE, STEPS = 3, 5
RNG = np.random.default_rng(2)
WEIGHTS = {
    "k": RNG.normal(size=(SIZE, 2, 3)).astype("f4"),
    "w": RNG.normal(size=(1, 4 * SIZE, SIZE)).astype("f4"),
    "r": RNG.normal(size=(1, 4 * SIZE, SIZE)).astype("f4"),
    "v": RNG.normal(size=(SIZE, 2)).astype("f4"),
    "one": np.array([1], "i8"),
}
Node = helper.make_node


def _branch(nodes: list[onnx.NodeProto], name: str) -> onnx.GraphProto:
    out = helper.make_value_info(name, onnx.TypeProto())
    out.type.tensor_type.elem_type = TensorProto.FLOAT
    return helper.make_graph(nodes, name, [], [out])


def _net(*, branches: bool, op: str) -> onnx.ModelProto:
    """A convolution, and a recurrent layer over time: bare, or in an If of tensors of any rank."""
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    turned = Node("Transpose", ["a"], ["t"], perm=[2, 0, 1])
    layer = Node(op, ["t", "w", "r"], ["s", "h"], hidden_size=SIZE)
    nodes = [Node("Conv", ["x", "k"], ["c"], pads=[1, 1]), Node("Relu", ["c"], ["a"])]
    if branches:
        other = Node("Unsqueeze", ["a", "one"], ["tt"])
        inside = [Node(op, ["t", "w", "r"], ["s1", "h1"], hidden_size=SIZE)]
        flat = [Node("Squeeze", ["t", "one"], ["h2"])]
        turn = Node("Transpose", ["a"], ["t1"], perm=[2, 0, 1])
        nodes += [
            Node("If", ["yes"], ["t"], then_branch=_branch([turn], "t1"),
                 else_branch=_branch([other], "tt")),
            Node("If", ["yes"], ["h"], then_branch=_branch(inside, "h1"),
                 else_branch=_branch(flat, "h2")),
        ]  # fmt: skip
    else:
        nodes += [turned, layer]
    nodes += [Node("Squeeze", ["h", "zero"], ["g"]), Node("MatMul", ["g", "v"], ["y"])]
    weights = {**WEIGHTS, "zero": np.array([0], "i8")}
    weights |= {name: WEIGHTS[name][:, : gates * SIZE] for name in "wr"}
    inputs = [helper.make_tensor_value_info("x", 1, ["N", 2, STEPS])]
    if branches:
        inputs.append(helper.make_tensor_value_info("yes", TensorProto.BOOL, []))
    graph = helper.make_graph(
        nodes, "net", inputs, [helper.make_tensor_value_info("y", 1, ["N", 2])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
        value_info=[helper.make_tensor_value_info("a", 1, ["N", SIZE, STEPS])],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_a_branch_changes_no_second_derivative(op: str) -> None:
    x = RNG.normal(size=(1, 2, STEPS)).astype("f4")

    def found(branches: bool, name: str, **extra: Any) -> np.ndarray:
        explain = Explainer(
            _net(branches=branches, op=op), name, device="cpu", threads=1, upsampling="none",
            feature_layer="a", cache=False,
        )  # fmt: skip
        signed: np.ndarray = explain(x, target=1, **extra).signed_map
        return signed

    yes = {"extra_inputs": {"yes": np.array(True)}}
    for name in ("gradcam", "shapley-cam"):
        want, got = found(False, name), found(True, name, **yes)
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
    assert np.abs(found(False, "gradcam") - found(False, "shapley-cam")).max() > 1e-4


def test_a_scan_that_begins_with_any_rank() -> None:
    """s_t = s_(t-1) u_t + s_(t-1): what is written down of it on the way has the body's rank."""
    text = """<ir_version: 9, opset_import: ["" : 20]>
    g (float[2] x, bool yes, float[3,2] u) => (float[2] y) {
      z = If (yes) <
        then_branch = one () => (float[] a) { a = Identity (x) },
        else_branch = two () => (float[] b) { c = Constant <value_ints = [0]> ()
          b = Unsqueeze (x, c) }
      >
      y = Scan <num_scan_inputs = 1, body = step (float[2] s, float[2] v) => (float[2] t) {
        m = Mul (s, v) t = Add (m, s) }> (z, u)
    }"""
    proto = parser.parse_model(text)
    for branch in proto.graph.node[0].attribute:
        branch.g.output[0].type.tensor_type.ClearField("shape")
    model = vjp_model(proto, ["x", "u"], ["y"])
    x, u, dy = (RNG.normal(size=s).astype("f4") for s in ((2,), (3, 2), (2,)))
    feeds = {"x": x, "u": u, "yes": np.array(True), "ct::y": dy}
    dx, du = Session(model, device="cpu").run(feeds, ["grad::x", "grad::u"])
    whole = np.prod(1 + u, 0)
    np.testing.assert_allclose(dx, dy * whole, rtol=1e-5)
    np.testing.assert_allclose(du, dy * x * whole / (1 + u), rtol=1e-4)
