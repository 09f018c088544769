"""What onnx overlooks: the shapes that it infers are the shapes that ONNX Runtime gives."""

from __future__ import annotations

import numpy as np
import pytest
from gradcheck import run
from onnx import parser

from onnxcam.emit import proto_shape
from onnxcam.model import load


def test_an_attention_of_unknown_hidden_size_is_not_empty():
    model = parser.parse_model("""<ir_version: 10, opset_import: ["": 23]>
        g (float[B,S,H] q, float[B,T,H] k, float[B,T,H] v) => (float[B,S,G] z) {
          y = Attention <q_num_heads = 2, kv_num_heads = 2> (q, k, v)
          z = Exp (y)
        }""")
    loaded = load(model).proto
    known = {v.name: proto_shape(v.type) for v in loaded.graph.value_info}
    assert known["y"][:2] == ["B", "S"]
    assert known["y"][2] is None
    assert [(n.op_type, n.domain) for n in loaded.graph.node] == [("Attention", ""), ("Exp", "")]
    assert [o.domain for o in loaded.opset_import] == [""]


@pytest.mark.parametrize(("sides", "bins"), [("", 3), ("<onesided = 1>", 3), ("<onesided = 0>", 4)])
def test_sides_of_a_short_time_transform(sides, bins):
    model = parser.parse_model(f"""<ir_version: 10, opset_import: ["": 20]>
        g (float[2,11,1] x) => (float[2,A,B,2] y) <int64 s = {{3}}, float[4] w = {{1, 2, 2, 1}}> {{
          t = STFT {sides} (x, s, w)
          y = Exp (t)
        }}""")
    known = {v.name: proto_shape(v.type) for v in load(model).proto.graph.value_info}
    y = run(load(model).proto, {"x": np.ones((2, 11, 1), np.float32)})["y"]
    assert known["t"] == [2, 3, bins, 2] == list(y.shape)
