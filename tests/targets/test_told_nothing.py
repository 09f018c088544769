"""The class that stands for nothing is one for a model, whatever a picture is full of."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from support.runtime import run

from onnxcam import Explainer, convert
from onnxcam.targets import Detection, Detections

SIDE = 8
EMPTY = np.zeros((1, 1, SIDE, SIDE), "f4")
FULL = np.full((1, 1, SIDE, SIDE), 3, "f4") + np.eye(SIDE, dtype="f4")
ONE = EMPTY.copy()
ONE[0, 0, 2, 5] = 4


def _net(first: bool) -> onnx.ModelProto:
    """Return a detector of nothing (first or last), and two classes that bright places are of."""
    proto = onnx.parser.parse_model(f"""<ir_version: 8, opset_import: ["" : 17]>
g (float[N,1,{SIDE},{SIDE}] x)
  => (float[N,{SIDE * SIDE},3] scores, float[N,{SIDE * SIDE},4] boxes) {{
  r = Relu(x) s = Conv(r, w, b) t = Transpose<perm = [0, 2, 3, 1]>(s) u = Reshape(t, three)
  scores = Softmax<axis = -1>(u)
  c = Conv(r, v, d) e = Transpose<perm = [0, 2, 3, 1]>(c) boxes = Reshape(e, four)
}}""")
    order = [0, 1, 2] if first else [1, 2, 0]
    arrays = {
        "w": np.array([0, 2, 1], "f4")[order].reshape(3, 1, 1, 1),
        "b": np.array([2, 0, 0], "f4")[order],
        "v": np.full((4, 1, 1, 1), 0.01, "f4"),
        "d": np.array([0, 0, 4, 4], "f4"),
        "three": np.array([0, -1, 3]),
        "four": np.array([0, -1, 4]),
    }
    proto.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in arrays.items())
    return proto


@pytest.mark.parametrize("first", [True, False])
def test_a_full_picture_has_the_same_class_for_nothing(first: bool) -> None:
    explain: Any = Explainer(_net(first), device="cpu", threads=1, cache=False)
    found = 1 if first else 0
    for x in (ONE, FULL):  # in the second the class for nothing is said nowhere
        assert explain(x).target == found
        assert explain(x, Detection()).detection.target == found
    rows = explain(ONE, Detections(over=0.5))
    assert [e.detection.row for e in rows] == [2 * SIDE + 5]


@pytest.mark.parametrize("first", [True, False])
def test_a_file_has_the_same_class_for_nothing(first: bool) -> None:
    made = convert(_net(first)).proto
    for x in (ONE, FULL):
        assert run(made, {"x": x})["onnxcam.class"].item() == (1 if first else 0)


def test_what_a_caller_says_is_taken() -> None:
    said: Any = Explainer(_net(True), detector={"nothing": -1}, device="cpu", cache=False)
    assert said(FULL).target == 1
    assert said(EMPTY).target == 0
