"""What is refused and why, the rules without a definition, and operators inside subgraphs."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper, numpy_helper
from support.contrib_case import ML, normal
from support.gradcheck import run

from onnxcam.autodiff import vjp_model
from onnxcam.autodiff.registry import table
from onnxcam.errors import UnsupportedOp

MICROSOFT = "com.microsoft"


def _info(name, shape=("a", "b"), kind=1):
    return helper.make_tensor_value_info(name, kind, list(shape))


def _model(nodes, inputs, outputs, weights=()):
    graph = helper.make_graph(nodes, "graph", inputs, outputs, list(weights))
    domains = [("", 17), (MICROSOFT, 1), (ML, 3)]
    imports = [helper.make_opsetid(d, v) for d, v in domains]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


REFUSED = {
    (MICROSOFT, "EPContext"): "take the original model",
    (MICROSOFT, "BeamSearch"): "explain the decoder inside it",
    (MICROSOFT, "QMoE"): "the choice of experts has no gradient",
    (ML, "TreeEnsembleRegressor"): "its gradient says nothing",
    (ML, "SVMClassifier"): "its gradient says nothing",
    (MICROSOFT, "SomethingNew"): "Choose a feature layer behind this node",
}


@pytest.mark.parametrize(("domain", "op_type"), REFUSED)
def test_refusals_say_what_to_do(domain, op_type):
    outputs = ["label", "m"] if op_type == "SVMClassifier" else ["m"]
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node(op_type, ["r"], outputs, name="odd", domain=domain),
        helper.make_node("Relu", ["m"], ["y"]),
    ]
    model = _model(nodes, [_info("x")], [_info("y")])
    with pytest.raises(UnsupportedOp, match="'odd'") as caught:
        vjp_model(model, ["x"], ["y"])
    assert REFUSED[domain, op_type] in str(caught.value)
    behind = vjp_model(model, ["m"], ["y"])
    assert "grad::m" in {o.name for o in behind.graph.output}


def test_every_entry_of_a_foreign_domain_is_told_apart():
    kinds = {(d, n): kind for d, n, kind in table() if d in (MICROSOFT, ML)}
    assert kinds[MICROSOFT, "FusedConv"] == "rule"
    assert kinds[MICROSOFT, "QuantizeLinear"] == "straight-through"
    assert kinds[ML, "LabelEncoder"] == "zero"
    assert kinds[ML, "TreeEnsembleClassifier"] == "refused"


@pytest.mark.parametrize("shape", [(3, 3), (2, 4, 4)])
def test_inverse(shape):
    x = normal(*shape) + 3 * np.eye(shape[-1], dtype=np.float32)
    node = helper.make_node("Inverse", ["x"], ["y"], domain=MICROSOFT)
    model = _model([node], [_info("x", shape)], [_info("y", shape)])
    ct = normal(*shape)
    got = run(vjp_model(model, ["x"], ["y"]), {"x": x, "ct::y": ct})["grad::x"]
    y = np.linalg.inv(x.astype(np.float64))
    for index in np.ndindex(shape):
        step = np.zeros(shape)
        step[index] = 1e-6
        slope = ((np.linalg.inv(x + step) - y) / 1e-6 * ct).sum()
        assert abs(got[index] - slope) < 1e-3 * np.abs(got).max()


@pytest.mark.parametrize("op_type", ["QuantizeLinear", "DequantizeLinear"])
def test_quantisation_of_either_domain_has_the_same_gradient(op_type):
    rng = np.random.default_rng(1)
    reals, numbers = rng.standard_normal((2, 4)).astype(np.float32), rng.integers(0, 256, (2, 4))
    x = reals if op_type[0] == "Q" else numbers.astype(np.uint8)
    kinds = {"x": 1, "y": 2} if op_type[0] == "Q" else {"x": 2, "y": 1}
    ct = rng.standard_normal((2, 4)).astype(np.float32)
    feeds = {"x": x, "s": np.array([0.005, 0.02, 0.1, 1], np.float32)}
    zero = numpy_helper.from_array(rng.integers(100, 200, 4).astype(np.uint8), "z")
    found = []
    for domain in ("", MICROSOFT):
        node = helper.make_node(op_type, ["x", "s", "z"], ["y"], domain=domain, axis=1)
        inputs = [_info("x", (2, 4), kinds["x"]), _info("s", (4,))]
        model = _model([node], inputs, [_info("y", (2, 4), kinds["y"])], [zero])
        grad = vjp_model(model, ["x", "s"], ["y"])
        found.append(run(grad, {**feeds, "ct::y": ct}, ["grad::x", "grad::s"]))
    for name, want in found[0].items():
        assert np.abs(want).min(axis=0).max() > 0
        np.testing.assert_allclose(found[1][name], want, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("condition", [True, False])
def test_inside_a_branch(condition: bool):
    """ONNX Runtime's optimiser fuses inside subgraphs too."""
    foreign = {"domain": MICROSOFT}
    then = [
        helper.make_node("FusedMatMul", ["x", "w"], ["a"], transB=1, **foreign),
        helper.make_node("SkipLayerNormalization", ["a", "x", "g", "g"], ["s"], **foreign),
        helper.make_node("FastGelu", ["s"], ["then"], **foreign),
    ]
    otherwise = [helper.make_node("QuickGelu", ["x"], ["else"], **foreign)]
    shape, weights = ("n", 3, 4), [numpy_helper.from_array(normal(4), "g")]
    inputs = [_info("x", shape), _info("w", (4, 4))]
    branches = [
        helper.make_graph(nodes, name, [], [_info(name, shape)])
        for nodes, name in ((then, "then"), (otherwise, "else"))
    ]
    chooser = helper.make_node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1])
    model = _model([chooser], [*inputs, _info("c", (), 9)], [_info("y", shape)], weights)
    name, nodes = ("then", then) if condition else ("else", otherwise)
    alone = _model(nodes, inputs, [_info(name, shape)], weights)
    ct, feeds = normal(2, 3, 4), {"x": normal(2, 3, 4), "w": normal(4, 4)}
    names = ["grad::x", "grad::w"]
    got = run(vjp_model(model, ["x", "w"], ["y"]),
              {**feeds, "c": np.array(condition), "ct::y": ct}, names)  # fmt: skip
    want = run(vjp_model(alone, ["x", "w"], [name]), {**feeds, f"ct::{name}": ct}, names)
    for key in names:
        np.testing.assert_allclose(got[key], want[key], rtol=1e-5, atol=1e-5)
