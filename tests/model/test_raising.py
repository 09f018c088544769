"""What a node becomes at opset 20 computes what it computed: ONNX Runtime runs both."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, defs, helper, numpy_helper, parser
from support.raised_cases import CASES, Arrays, Case

from onnxcam.model.model import load
from onnxcam.model.passes.raising import raised
from onnxcam.model.passes.site import Unraisable, step_of
from onnxcam.run.session import Session


def single(case: Case, attributes: dict[str, Any]) -> ModelProto:
    """Return a model of one node."""
    names = ["y0", "y1"] if case.op in ("Split", "TopK") else ["y0"]
    node = helper.make_node(case.op, [*case.inputs, *case.constants], names, **attributes)
    ports = [
        helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for k, v in case.inputs.items()
    ]
    out = [helper.make_empty_tensor_value_info(name) for name in names]
    weights = [numpy_helper.from_array(v, k) for k, v in case.constants.items()]
    graph = helper.make_graph([node], "g", ports, out, weights)
    opsets = [helper.make_opsetid("", case.opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=4)


def run(model: ModelProto, feeds: Arrays) -> list[Any]:
    return Session(model, device="cpu", optimise=False).run(feeds)


# At opset 26 ONNX Runtime has no kernel of these.
NOT_YET = {"GlobalLpPool", "MaxRoiPool", "RoiAlign"}


@pytest.mark.parametrize(("opset", "ir"), [(20, 9), (26, 13)])
@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.op}-{c.opset}")
def test_a_raised_node_computes_the_same(case: Case, opset: int, ir: int) -> None:
    if opset == 26 and case.op in NOT_YET:
        pytest.skip(f"there is no kernel of {case.op}")
    for attributes in case.rows:
        model = single(case, attributes)
        want = run(model, case.inputs)
        newer = raised(model, opset)
        newer.ir_version = ir
        onnx.shape_inference.infer_shapes(newer, check_type=True, strict_mode=True)
        for got, wanted in zip(run(newer, case.inputs), want, strict=True):
            assert got.dtype == wanted.dtype, attributes
            np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6, err_msg=f"{attributes}")


# ---- opsets below 7, which ONNX Runtime does not run: what they say is computed here


def _raised_text(text: str, feeds: Arrays) -> Any:
    newer = raised(parser.parse_model(text), 20)
    newer.ir_version = 9
    return run(newer, feeds)[0]


def _header(opset: int) -> str:
    return f'<ir_version: 4, opset_import: ["": {opset}]> g '


@pytest.mark.parametrize(("axis", "shape"), [(0, (2, 1, 1)), (1, (1, 3, 1)), (2, (1, 1, 4))])
def test_an_operand_lies_along_the_axes_that_were_named(axis: int, shape: tuple[int, ...]) -> None:
    a = np.arange(24, dtype="f4").reshape(2, 3, 4)
    b = np.arange(1, 1 + max(shape), dtype="f4")
    text = (
        _header(6)
        + f"""(float[2,3,4] a, float[{len(b)}] b) => (float[2,3,4] y) {{
        y = Sub <broadcast = 1, axis = {axis}> (a, b)
    }}"""
    )
    np.testing.assert_array_equal(_raised_text(text, {"a": a, "b": b}), a - b.reshape(shape))


def test_a_row_of_slopes_is_of_the_channels() -> None:
    x = -np.ones((1, 3, 2, 2), "f4")
    slope = np.array([1, 2, 3], "f4")
    text = (
        _header(6)
        + """(float[1,3,2,2] x, float[3] s) => (float[1,3,2,2] y) {
        y = PRelu (x, s)
    }"""
    )
    want = -slope.reshape(1, 3, 1, 1) * np.ones((1, 3, 2, 2))
    np.testing.assert_array_equal(_raised_text(text, {"x": x, "s": slope}), want)


def test_what_was_said_by_attributes_below_opset_7() -> None:
    text = (
        _header(4)
        + """(float[1,1,2,2] x) => (float[8,2] y) {
        a = Relu <consumed_inputs = [1]> (x)
        b = Upsample <height_scale = 2.0, width_scale = 2.0, mode = "nearest"> (a)
        c = Reshape <shape = [4, 4]> (b)
        d = Dropout <is_test = 1, ratio = 0.5> (c)
        e = Cast <to = "DOUBLE"> (d)
        f = Cast <to = "FLOAT"> (e)
        y = Reshape <shape = [8, 2]> (f)
    }"""
    )
    y = _raised_text(text, {"x": np.array([[[[-1, 2], [3, 4]]]], "f4")})
    want = [[0, 0], [2, 2], [0, 0], [2, 2], [3, 3], [4, 4], [3, 3], [4, 4]]
    assert y.tolist() == want


# ---- what keeps a model where it is, and what stays as it was


def test_a_node_that_did_not_change_stays_byte_for_byte() -> None:
    model = single(next(c for c in CASES if c.op == "Conv"), {"group": 3})
    newer = raised(model, 20)
    assert newer.graph.node[0].SerializeToString() == model.graph.node[0].SerializeToString()
    assert len(newer.graph.initializer) == len(model.graph.initializer)


def test_what_has_no_newer_form_keeps_the_model_and_says_why() -> None:
    text = (
        _header(8)
        + """(float[2,3] s, float[2,5,3] x) => (float[2,3] a, float[2,5,3] y) {
        a, y = Scan <num_scan_inputs = 1,
          body = b (float[3] c, float[3] d) => (float[3] e, float[3] f) {
            e = Add (c, d) f = Identity (e)
          }> (, s, x)
    }"""
    )
    model = parser.parse_model(text)
    with pytest.raises(Unraisable, match="Scan of opset 8"):
        raised(model, 20)
    loaded = load(model)
    assert loaded.opset == 8
    assert any("kept at opset 8: Scan" in note for note in loaded.notes)


def test_attributes_in_bodies_become_inputs_of_their_own() -> None:
    text = (
        _header(10)
        + """(float[3] x, bool c) => (float[4] y) {
        y = If (c) <
          then_branch = t () => (float[4] a) { a = Pad <pads = [0, 1], value = 2.0> (x) },
          else_branch = e () => (float[4] b) { b = Pad <pads = [1, 0], value = 3.0> (x) }>
    }"""
    )
    newer = raised(parser.parse_model(text), 20)
    x = np.zeros(3, "f4")
    for condition, want in ((True, [0, 0, 0, 2]), (False, [3, 0, 0, 0])):
        (y,) = run(newer, {"x": x, "c": np.array(condition)})
        assert y.tolist() == want


def _grown(op: str, version: int) -> bool:
    """Tell whether a version gave an operator more than types, and no step is needed."""
    new, old = (defs.get_schema(op, v, "") for v in (version, version - 1))
    forms = [
        ({n: a.default_value for n, a in s.attributes.items()}, len(s.inputs), len(s.outputs))
        for s in (old, new)
    ]
    return forms[0] != forms[1] and step_of(op, version) is None


def test_every_operator_that_got_more_options_was_looked_at() -> None:
    """What they mean where they are left out is what there was before: read in the changelog."""
    history = [
        s for s in defs.get_all_schemas_with_history() if s.domain == "" and not s.deprecated
    ]
    changed = sorted(
        {
            (s.name, s.since_version)
            for s in history
            if 7 < s.since_version <= 20 and defs.has(s.name, s.since_version - 1, "")
        }
    )
    assert [f"{op} {version}" for op, version in changed if _grown(op, version)] == [
        "ArgMax 12", "ArgMin 12", "AveragePool 10", "AveragePool 19", "Cast 19", "CastLike 19",
        "Constant 11", "Constant 12", "DepthToSpace 11", "DequantizeLinear 13", "GRU 14",
        "GatherND 12", "LSTM 14", "LpPool 18", "MaxPool 8", "MaxPool 10", "Pad 18",
        "QuantizeLinear 13", "QuantizeLinear 19", "RNN 14", "Reshape 14", "Resize 18",
        "Scan 9", "ScatterElements 16", "ScatterND 16", "Shape 15", "TopK 11",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "node",
    [
        "y = ThresholdedRelu <alpha = 0.2> (x)",
        "y = DynamicSlice (x, s, e, a)",
        "y = MeanVarianceNormalization (x)",
        "y = MeanVarianceNormalization <across_channels = 1> (x)",
        "y = Affine <alpha = 0.5, beta = 0.1> (x)",
        "y = Crop <border = [1, 1, 1, 1]> (x)",
        "y = ImageScaler <bias = [1.0, 2.0, 3.0], scale = 2.0> (x)",
        "y = ScaledTanh <alpha = 1.5, beta = 0.7> (x)",
        "y = ParametricSoftplus <alpha = 1.5, beta = 0.7> (x)",
        "y = Scale <scale = 0.3> (x)",
    ],
    ids=lambda text: text.split()[2],
)
def test_experiments_of_old_opsets_compute_the_same_in_operators_of_today(node: str) -> None:
    model = parser.parse_model(
        _header(7)
        + f"""(float[2,3,4,5] x) => (float[A,B,C,D] y)
      <int64[2] s = {{1, 1}}, int64[2] e = {{3, 4}}, int64[2] a = {{2, 3}}> {{ {node} }}"""
    )
    x = CASES[0].inputs["x"]
    loaded = load(model)
    assert loaded.opset == 20
    (want,), (got,) = run(model, {"x": x}), run(loaded.proto, {"x": x})
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
