"""Names outlive a conversion, and what it adds gets names of its own."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, parser

from onnxcam.model.model import load
from onnxcam.model.passes.converter import at_opset
from onnxcam.run.session import Session

UPSAMPLE = """<ir_version: 4, opset_import: ["": 9]>
    g (float[1,1,2,2] x) => (float[1,1,4,4] z) <float[4] s = {1,1,2,2}> {
      [up] y = Upsample <mode = "nearest"> (x, s)
      z = Relu (y)
    }"""
BRANCHES = """<ir_version: 6, opset_import: ["": 10]>
    g (float[3] x, bool c) => (float[4] y) {
      u = Clip <min = -1.0, max = 1.0> (x)
      y = If (c) <
        then_branch = t () => (float[4] a) {
          p = Clip <min = 0.0, max = 2.0> (u)
          a = Pad <mode = "edge", pads = [0, 1]> (p)
        },
        else_branch = e () => (float[4] b) {
          q = Pad <mode = "edge", pads = [1, 0]> (x)
          b = Clip <min = 0.5, max = 3.0> (q)
        }>
    }"""


def test_a_replaced_operator_keeps_the_name_of_its_output() -> None:
    converted = at_opset(parser.parse_model(UPSAMPLE), 20)
    assert [v.name for v in converted.graph.output] == ["z"]
    made = {name: node.op_type for node in converted.graph.node for name in node.output}
    assert (made["y"], made["z"]) == ("Resize", "Relu")
    x = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)
    (z,) = Session(load(converted).proto, device="cpu").run({"x": x})
    assert z[0, 0].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]


def test_what_is_added_to_subgraphs_has_names_of_its_own() -> None:
    converted = at_opset(parser.parse_model(BRANCHES), 20)
    names = _names(converted)
    assert len(names) == len(set(names))
    assert {"u", "y", "p", "a", "q", "b"} < set(names)
    x = np.array([-2, 0.2, 5], np.float32)
    session = Session(load(converted).proto, device="cpu")
    for condition, want in ((True, [0, 0.2, 1, 1]), (False, [0.5, 0.5, 0.5, 3])):
        (y,) = session.run({"x": x, "c": np.array(condition)})
        np.testing.assert_allclose(y, want, rtol=1e-6)


def _names(model: ModelProto) -> list[str]:
    graphs = [model.graph]
    for graph in graphs:
        graphs += [a.g for n in graph.node for a in n.attribute if a.HasField("g")]
    names = [name for graph in graphs for node in graph.node for name in node.output]
    return names + [t.name for graph in graphs for t in graph.initializer]
