"""Chunks and splits as TorchScript writes them become a Split, with layouts and gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper, parser
from support.runtime import run

import onnxcam
from onnxcam.model.model import load

TEXTS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "chunk": (
        "s = SplitToSequence<axis=2>(h, k) a = SequenceAt(s, zero) b = SequenceAt(s, one)"
        "y = Mul(a, b)",
        {"k": np.array(4)},
    ),
    "split": (
        "s = SplitToSequence<axis=-1>(h, k) a = SequenceAt(s, zero) b = SequenceAt(s, last)"
        "y = Concat<axis=2>(b, a)",
        {"k": np.array([3, 4, 1])},
    ),
    "uneven": (
        "s = SplitToSequence<axis=2>(h, k) a = SequenceAt(s, last) y = Exp(a)",
        {"k": np.array(3)},
    ),
    "unbind": (
        "s = SplitToSequence<axis=1, keepdims=0>(h) a = SequenceAt(s, one) b = SequenceAt(s, last)"
        "y = Mul(a, b)",
        {},
    ),
    "kept axes": ("s = SplitToSequence<axis=1>(h) y = SequenceAt(s, one)", {}),
    "stack": (
        "g = Exp(h) s = SequenceConstruct(h, g) y = ConcatFromSequence<axis=1, new_axis=1>(s)",
        {},
    ),
    "cat": ("g = Exp(h) s = SequenceConstruct(h, g, h) y = ConcatFromSequence<axis=-1>(s)", {}),
    "split and cat": (
        "s = SplitToSequence<axis=2>(h, k) y = ConcatFromSequence<axis=1>(s)",
        {"k": np.array([4, 4])},
    ),
    "length": (
        "s = SplitToSequence<axis=2>(h, k) n = SequenceLength(s) f = Cast<to=1>(n) y = Mul(h, f)",
        {"k": np.array([3, 4, 1])},
    ),
}  # fmt: skip


def _model(name: str) -> ModelProto:
    text, given = TEXTS[name]
    model: ModelProto = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]> g (float[2, 3, 8] x) => (float[a, b, c] y) {{
        h = Mul(x, two) {text} }}"""
    )
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    constants = {
        "two": np.float32(2),
        "zero": np.array(0),
        "one": np.array(1),
        "last": np.array(-1),
    }
    for key, value in {**constants, **given}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), key))
    return model


@pytest.mark.parametrize("name", TEXTS)
def test_a_list_of_tensors_is_no_sequence(name: str) -> None:
    model = _model(name)
    x = np.random.default_rng(0).normal(size=(2, 3, 8)).astype("f4")
    want = run(model, {"x": x}, ["y"])["y"]
    loaded = load(model)
    assert not any("Sequence" in n.op_type for n in loaded.light.graph.node)
    np.testing.assert_array_equal(run(loaded.proto, {"x": x}, ["y"])["y"], want)
    ct = np.random.default_rng(1).normal(size=want.shape).astype("f4")
    gradient = onnxcam.vjp_model(model, ["x"], ["y"])
    got = run(gradient, {"x": x, "ct::y": ct}, ["grad::x"])["grad::x"]
    along = np.random.default_rng(2).normal(size=x.shape).astype("f4")
    step = np.float32(1e-2)
    up, down = (run(model, {"x": x + s * step * along}, ["y"])["y"] for s in (1, -1))
    finite = float(((up.astype("f8") - down) / (2 * step) * ct).sum())
    assert abs(finite - float((got * along).sum())) <= 2e-2 * max(1, abs(finite))


def test_who_else_reads_a_sequence_still_does() -> None:
    model = _model("split")
    del model.graph.node[-1]
    text = "s2 = SequenceInsert(s, a) y = ConcatFromSequence<axis=2>(s2)"
    graph = parser.parse_graph(f"g (float[1] s) => (float[1] y) {{ {text} }}")
    model.graph.node.extend(graph.node)
    x = np.random.default_rng(0).normal(size=(2, 3, 8)).astype("f4")
    want = run(model, {"x": x}, ["y"])["y"]
    np.testing.assert_array_equal(run(load(model).proto, {"x": x}, ["y"])["y"], want)


def test_what_is_not_known_stays() -> None:
    model = _model("chunk")
    for value in model.graph.initializer:
        if value.name == "one":
            value.name = "other"
    model.graph.input.add(name="one").type.tensor_type.elem_type = 7
    model.graph.input[-1].type.tensor_type.shape.SetInParent()
    assert [n.op_type for n in load(model).light.graph.node].count("SequenceAt") == 2
