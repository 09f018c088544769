"""Definitions against ONNX Runtime's own kernels, and the shapes that they give a model."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper
from support.attention_cases import ATTENTION
from support.contrib_case import Case, lowered, model_of, normal
from support.contrib_cases import SMOOTH
from support.gradcheck import run
from support.quantized_cases import QUANTIZED

from onnxcam.errors import UnsupportedOp
from onnxcam.graph.contrib import defined, lower
from onnxcam.graph.contrib.blocked import BLOCKED
from onnxcam.model.draft import Draft
from onnxcam.model.model import load

CASES = [*SMOOTH, *ATTENTION, *QUANTIZED]
# No kernel for the CPU: the definition is ONNX Runtime's documentation.
NOT_ON_CPU = {
    "BiasAdd", "BiasSoftmax", "BiasSplitGelu", "FusedMatMulActivation", "GroupNorm", "NhwcConv",
    "NhwcFusedConv", "QLinearReduceMean", "SkipGroupNorm",
}  # fmt: skip
_CACHES = {"pk2", "pv2", "qk"}
YOUNGER = {"DynamicSlice"}  # by operators of opsets in which it is gone: see test_raising.py
CONVERSIONS = {"DequantizeLinear", "QuantizeLinear"}


@pytest.mark.parametrize("symbolic", [False, True], ids=["static", "symbolic"])
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.label)
def test_a_definition_computes_what_onnx_runtime_computes(case: Case, symbolic: bool):
    feeds = {k: v for k, v in case.feeds.items() if v is not None}
    model = model_of(case, symbolic=symbolic)
    want = run(model, feeds)
    got = run(lowered(model), feeds)
    assert got
    for name, value in got.items():
        exact = want[name].astype(np.float64)
        assert value.shape == exact.shape
        far = case.tolerance * max(1.0, float(np.abs(exact).max(initial=0)))
        apart = case.steps if want[name].dtype.kind in "iu" and case.steps else far
        np.testing.assert_allclose(value, exact, rtol=0, atol=apart, err_msg=name)


def test_every_definition_has_a_case():
    covered = {(c.domain, c.op_type) for c in CASES}
    # Those in blocks of channels are held against whole files: tests/model/test_blocks.py
    left = {(d, n) for d, n, _ in defined() if d != BLOCKED} - covered
    assert {n for _, n in left} == NOT_ON_CPU | CONVERSIONS | YOUNGER


@pytest.mark.parametrize("case", CASES[::7], ids=lambda c: c.label)
def test_a_model_knows_the_shapes_behind_such_a_node(case: Case):
    model = model_of(case)
    want = {o.name: o.type for o in model.graph.output}
    node = model.graph.node[0]
    node.output[:] = [f"inner {o}" if o else "" for o in node.output]
    model.graph.node.extend(
        helper.make_node("Identity", [f"inner {o}"], [o]) for o in case.outputs if o
    )
    known = {v.name: v.type for v in load(model).proto.graph.value_info}
    missing = {"y", "l"} if case.op_type == "LinearClassifier" else set()
    for name, kind in want.items():
        if name not in missing:
            got = known[f"inner {name}"].tensor_type
            pairs = zip(got.shape.dim, kind.tensor_type.shape.dim, strict=True)
            # the length of a cache is only known when it runs
            wrong = [d for d, e in pairs if d.dim_value != e.dim_value and name not in _CACHES]
            assert not wrong
            assert got.elem_type == kind.tensor_type.elem_type


def test_shapes_go_on_through_standard_nodes_and_subsequent_fused_ones():
    x = helper.make_tensor_value_info("x", 1, ["n", 3, 8])
    y = helper.make_tensor_value_info("y", 1, None)
    y.type.tensor_type.shape.CopyFrom(onnx.TensorShapeProto())
    nodes = [
        helper.make_node("SkipLayerNormalization", ["x", "x", "g"], ["a"], domain="com.microsoft"),
        helper.make_node("Transpose", ["a"], ["b"], perm=[0, 2, 1]),
        helper.make_node("SimplifiedLayerNormalization", ["b", "s"], ["c"]),
        helper.make_node("FastGelu", ["c"], ["d"], domain="com.microsoft"),
        helper.make_node("ReduceMean", ["d"], ["y"], keepdims=0),
    ]
    weights = [
        onnx.numpy_helper.from_array(normal(8), "g"),
        onnx.numpy_helper.from_array(normal(3), "s"),
    ]
    graph = helper.make_graph(nodes, "graph", [x], [y], weights)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = load(helper.make_model(graph, opset_imports=imports, ir_version=8))
    assert model.opset == 20
    assert {o.domain for o in model.proto.opset_import} == {"", "com.microsoft"}
    assert [n.domain for n in model.proto.graph.node][:3] == ["com.microsoft", "", ""]
    known = {v.name: v.type.tensor_type.shape for v in model.proto.graph.value_info}
    dims = [d.dim_param or d.dim_value for d in known["d"].dim]
    assert dims == ["n", 8, 3]


def test_a_withdrawn_operator_is_written_in_those_of_the_newer_opset():
    case = next(c for c in CASES if c.op_type == "ScaledTanh")
    model = load(model_of(case))
    assert model.opset == 20
    assert any("written in standard ones: ScaledTanh" in note for note in model.notes)
    want, got = (run(m, case.feeds) for m in (model_of(case), model.proto))
    np.testing.assert_allclose(got["y"], want["y"], atol=1e-6)


@pytest.mark.parametrize(
    ("op_type", "attributes", "says"),
    [
        ("FastGelu", {"alpha": 0.5}, "unexpected keyword argument 'alpha'"),
        ("FusedGemm", {"activation": "Wild"}, "the fused activation 'Wild' is not known"),
        ("Attention", {"num_heads": 2, "do_rotary": 1}, "do_rotary"),
    ],
)
def test_what_a_definition_does_not_cover_is_refused(op_type, attributes, says):
    node = helper.make_node(op_type, ["x", "w"], ["y"], domain="com.microsoft", **attributes)
    x, w, y = (helper.make_tensor_value_info(n, 1, [2, 2]) for n in "xwy")
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph([node], "graph", [x, w], [y])
    draft = Draft(helper.make_model(graph, opset_imports=imports))
    with pytest.raises(UnsupportedOp, match=says):
        lower(draft.op, draft.graph.nodes[0])


def test_an_old_file_that_onnx_runtime_saved_again_loads():
    """It adds weights without listing them as inputs, which IR version 3 does not allow."""
    x, y = (helper.make_tensor_value_info(n, 1, [2, 3]) for n in "xy")
    node = helper.make_node("Add", ["x", "fused"], ["y"])
    weight = onnx.numpy_helper.from_array(normal(3), "fused")
    graph = helper.make_graph([node], "graph", [x], [y], [weight])
    imports = [helper.make_opsetid("", 7)]
    model = load(helper.make_model(graph, opset_imports=imports, ir_version=3))
    assert [port.name for port in model.inputs] == ["x"]
    assert model.opset == 20
