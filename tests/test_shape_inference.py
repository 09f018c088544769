"""What onnx overlooks: the shapes that it infers are the shapes that ONNX Runtime gives."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from gradcheck import check_gradient, run
from onnx import numpy_helper, parser

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


def test_a_group_normalization_keeps_the_shape_and_what_is_behind_it_has_one():
    model = parser.parse_model("""<ir_version: 10, opset_import: ["": 21]>
        g (float[N,4,3] x) => (float[N,4,6] z)
        <float[4] s = {1,2,3,4}, float[3] by = {1,1,2}> {
          y = GroupNormalization <num_groups = 2> (x, s, s)
          m = MeanVarianceNormalization <axes = [2]> (y)
          z = Resize <mode = "linear"> (m, , by)
        }""")
    known = {v.name: proto_shape(v.type) for v in load(model).proto.graph.value_info}
    assert known["y"][1:] == known["m"][1:] == [4, 3]
    x = np.random.default_rng(0).standard_normal((2, 4, 3)).astype(np.float32)
    check_gradient(model, {"x": x}, step=1e-2)


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


WRONG = {
    "a rank": ("float[2,3] x", "float[6] y", "y = Relu (x)", ""),
    "a rank with symbols": ("float[N,3] x", "float[N] y", "y = Relu (x)", ""),
    "a dimension": ("float[2,3] x", "float[2,4] y", "y = Relu (x)", ""),
    "a whole sum": ("float[2,3] x", "float[1] y", "y = ReduceSum <keepdims = 0> (x)", ""),
    "a map of a convolution": ("float[1,2,5,5] x", "float[1,4] y", "y = Conv (x, w)",
                               "float[4,2,3,3] w"),
    "what lies between": ("float[2,3] x", "float[2,3] y", "h = Exp (x) y = Relu (h)", "float[6] h"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_the_operators_make_counts_not_what_is_declared(name):
    """As in ONNX Runtime, which warns and runs."""
    x, y, body, more = WRONG[name]
    model = parser.parse_model(f"""<ir_version: 9, opset_import: ["": 20]>
        g ({x}) => ({y}) <{more}> {{ {body} }}""")
    for info in [v for v in model.graph.value_info if v.name == "w"]:
        value = np.random.default_rng(0).standard_normal((4, 2, 3, 3)).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(value, "w"))
        model.graph.value_info.remove(info)
    before = model.SerializeToString()
    loaded = load(model)
    wrong = "h" if name == "what lies between" else "y"
    assert f"declared shapes dropped, the operators make others: {wrong!r}" in loaded.notes
    onnx.checker.check_model(loaded.proto, full_check=True)
    shape = [2 if d == "N" else d for d in proto_shape(model.graph.input[0].type)]
    report = check_gradient(model, {"x": np.random.default_rng(1).random(shape, np.float32)})
    assert report.runtime and report.compared > 0
    assert model.SerializeToString() == before


def test_what_is_declared_stays_where_nothing_contradicts_it():
    model = parser.parse_model("""<ir_version: 9, opset_import: ["": 20]>
        g (float[N,3] x, int64[2] s) => (float[A,3] y) <float[B,3] h> {
          h = Reshape (x, s) y = Relu (h) }""")
    loaded = load(model)
    assert not any("declared" in note for note in loaded.notes)
    known = {v.name: proto_shape(v.type) for v in loaded.proto.graph.value_info}
    assert known["h"] == ["B", 3]
