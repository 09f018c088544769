"""What was put right on load is held against the file by running both, once a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto, helper, numpy_helper, parser

from onnxcam import Explainer, ModelError, convert, load
from onnxcam.graph.contrib.blocked import BLOCKED
from onnxcam.model.passes import blocks
from onnxcam.run import faithful

X = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype("f4")


def _net() -> ModelProto:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[1,3,8,8] x) => (float[1,5] y) {
        a = Conv (x, w) b = Relu (a) c = Conv (b, v) d = Relu (c)
        p = GlobalAveragePool (d) f = Flatten (p) y = MatMul (f, h)
    }"""
    model = parser.parse_model(text)
    shapes: dict[str, tuple[int, ...]] = {"w": (32, 3, 3, 3), "v": (32, 32, 1, 1), "h": (32, 5)}
    rng = np.random.default_rng(1)
    for name, shape in shapes.items():
        value = rng.normal(size=shape).astype("f4")
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    return model


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The net in blocks of channels, which the file does not tell the size of."""
    path = tmp_path / "m.onnx"
    options = ort.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(path), 4
    ort.InferenceSession(_net().SerializeToString(), options, providers=["CPUExecutionProvider"])
    if not any(n.domain == BLOCKED for n in onnx.load(path).graph.node):
        pytest.skip("this processor has no blocks of channels")
    return path


def test_only_what_was_rewritten_is_held_against_its_file(file: Path) -> None:
    assert load(_net()).before is None
    assert load(file).before is not None


def test_a_wrong_layout_is_no_model(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = blocks._block_here()
    monkeypatch.setattr(blocks, "_block_here", lambda: 24 - right)
    with pytest.raises(ModelError, match="computes something else.*images in blocks"):
        Explainer(file, cache=False)
    with pytest.raises(ModelError, match="computes something else"):
        convert(file)


def test_it_is_run_once(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ONNXCAM_CACHE", str(tmp_path / "cache"))
    calls: list[Any] = []
    apart = faithful._apart
    monkeypatch.setattr(faithful, "_apart", lambda *a: calls.append(a) or apart(*a))
    want = Explainer(_net(), cache=False)(X)
    for _ in range(2):
        np.testing.assert_allclose(Explainer(file)(X).map, want.map, rtol=1e-5, atol=1e-6)
    assert len(calls) == 2  # two inputs, the first time


def test_functions_of_other_opsets_are_raised_by_the_same_steps() -> None:
    """onnx's inliner would convert them by onnx's converter: to another interpolation."""
    function = helper.make_function(
        "own", "Enlarge", ["a"], ["b"],
        [
            helper.make_node("Constant", [], ["s"], value_floats=[1.0, 1.0, 2.0, 2.0]),
            helper.make_node("Resize", ["a", "s"], ["b"], mode="linear"),
        ],
        [helper.make_opsetid("", 10)],
    )  # fmt: skip
    function.node[0].CopyFrom(
        helper.make_node(
            "Constant", [], ["s"], value=numpy_helper.from_array(np.array([1, 1, 2, 2], "f4"))
        )
    )
    node = helper.make_node("Enlarge", ["x"], ["y"], domain="own")
    ports = [helper.make_tensor_value_info(n, 1, ["N", 1, None, None]) for n in "xy"]
    graph = helper.make_graph([node], "g", ports[:1], ports[1:])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, opset_imports=opsets, functions=[function], ir_version=8)
    loaded = load(model)
    x = np.arange(4, dtype="f4").reshape(1, 1, 2, 2)
    (y,) = ort.InferenceSession(loaded.proto.SerializeToString()).run(None, {"x": x})
    assert y[0, 0].tolist() == [[0, 0.5, 1, 1], [1, 1.5, 2, 2], [2, 2.5, 3, 3], [2, 2.5, 3, 3]]


@pytest.mark.parametrize("domain", ["", "ai.onnx", "com.microsoft"])
def test_a_function_named_like_an_operator_is_what_the_runtime_takes_it_for(domain: str) -> None:
    """The runtime may run its own operator, or the function: nobody explains the other one."""
    op = "Gelu" if domain == "com.microsoft" else "Relu"
    model = _net()
    model.graph.node[1].op_type, model.graph.node[1].domain = op, domain
    negated = [helper.make_node("Neg", ["a"], ["b"])]
    opset = helper.make_opsetid("", 17)
    model.functions.append(helper.make_function(domain, op, ["a"], ["b"], negated, [opset]))
    if domain == "com.microsoft":
        model.opset_import.append(helper.make_opsetid(domain, 1))
    options = ort.SessionOptions()
    options.log_severity_level = 4
    want = ort.InferenceSession(model.SerializeToString(), options).run(None, {"x": X})[0]
    try:
        found = Explainer(model, cache=False)(X)
    except ModelError as error:
        assert "computes something else" in str(error)
    else:
        np.testing.assert_allclose(np.ravel(found.scores), want.ravel(), rtol=1e-3, atol=1e-4)
    mine = _net()
    mine.functions.append(helper.make_function("own", op, ["a"], ["b"], negated, [opset]))
    assert load(mine).before is None  # a name of its own costs nothing
