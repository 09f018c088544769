"""What onnx overlooks: the shapes that it infers are the shapes that ONNX Runtime gives."""

from __future__ import annotations

import numpy as np
import pytest
from gradcheck import run
from onnx import parser

from onnxcam.emit import proto_shape
from onnxcam.model import load


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
