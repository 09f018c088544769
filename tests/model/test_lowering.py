"""Models at older opsets: what is taken along computes the same, the rest is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper
from support import nets

from onnxcam.errors import ModelError
from onnxcam.model.model import load
from onnxcam.run.session import Session

X = np.random.default_rng(0).normal(size=(2, 4, 6, 6)).astype("f4")


def _node(op: str, *inputs: str, out: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, list(inputs), out.split(), **attributes)


SIZES = {"sizes": np.array([2, 4, 9, 9])}
CASES: dict[str, tuple[int, list[Any], dict[str, np.ndarray]]] = {
    "more types alone": (11, [_node("Relu", "x", out="r"), _node("Add", "r", "x")], {}),
    "an option at its default": (13, [_node("Cast", "x", out="y", to=1)], {}),
    "zeros that are none": (
        13, [_node("Reshape", "x", "s", allowzero=1)], {"s": np.array([-1, 12])},
    ),
    "equal parts": (
        17,
        [_node("Split", "x", out="a b", axis=1, num_outputs=2), _node("Sub", "a", "b")],
        {},
    ),
    "axes as an attribute": (17, [_node("ReduceMean", "x", "axes")], {"axes": np.array([2, 3])}),
    "an option of the mean": (
        13, [_node("ReduceMean", "x", "axes", noop_with_empty_axes=0)], {"axes": np.array([1])},
    ),
    "a part of a shape": (
        13,
        [
            _node("Shape", "x", out="part", start=1, end=-1),
            _node("Cast", "part", out="f", to=1),
            _node("ReduceSum", "f", out="sum"),
            _node("Mul", "x", "sum"),
        ],
        {},
    ),
    "an average": (13, [_node("AveragePool", "x", kernel_shape=[2, 2], strides=[2, 2])], {}),
    "sizes": (13, [_node("Resize", "x", "", "", "sizes", mode="linear")], SIZES),
    "by its definition": (17, [_node("Gelu", "x")], {}),
    "by an older definition": (13, [_node("HardSwish", "x")], {}),
    "a definition with weights": (
        13,
        [_node("LayerNormalization", "x", "scale", "bias")],
        {"scale": np.arange(6, dtype="f4"), "bias": np.ones(6, "f4")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_an_older_opset_computes_the_same(case: str) -> None:
    opset, nodes, weights = CASES[case]
    proto = _untyped(nodes, weights)
    model = load(proto, opset=opset)
    assert model.opset == opset and [o.domain for o in model.light.opset_import] == [""]
    onnx.checker.check_model(model.proto, full_check=True)
    want, got = (Session(m, device="cpu", threads=1).run({"x": X})[0] for m in (proto, model))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    assert want.size > 1 and np.ptp(want) > 0


def _untyped(nodes: list[Any], weights: dict[str, np.ndarray]) -> ModelProto:
    """Return a model whose output has the shape that its nodes give it."""
    proto = nets.model(nodes, {"x": ["N", 4, 6, 6]}, {"y": ["a"]}, weights)
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    (output,) = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph.output
    proto.graph.output[0].CopyFrom(output)
    return proto


@pytest.mark.parametrize(
    ("opset", "nodes", "words"),
    [
        (17, [_node("Pad", "x", "pads", mode="wrap")], "Pad"),
        (17, [_node("Resize", "x", "", "scales", mode="linear", antialias=1)], "Resize"),
        (10, [_node("Relu", "x")], "Relu"),
        (8, [_node("HardSwish", "x")], "Mul"),
    ],
)  # fmt: skip
def test_what_an_older_opset_means_otherwise_is_refused(
    opset: int, nodes: list[Any], words: str
) -> None:
    weights = {
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "scales": np.array([1, 1, 0.5, 0.5], "f4"),
    }
    used = {name for node in nodes for name in node.input}
    proto = _untyped(nodes, {k: v for k, v in weights.items() if k in used})
    with pytest.raises(ModelError, match=f"cannot be brought from opset 20 to {opset}: .*{words}"):
        load(proto, opset=opset)


def test_the_model_that_was_given_stays_as_it_is() -> None:
    proto = _untyped([_node("Gelu", "x")], {})
    before = proto.SerializeToString()
    load(proto, opset=13)
    assert proto.SerializeToString() == before


def test_types_that_are_too_new_are_refused() -> None:
    proto = nets.model(
        [_node("Relu", "x")], {"x": ["N", 4, 6, 6]}, {"y": ["N", 4, 6, 6]},
        dtype=onnx.TensorProto.BFLOAT16,
    )  # fmt: skip
    load(proto, opset=13)
    with pytest.raises(ModelError, match="cannot be brought from opset 20 to 12"):
        load(proto, opset=12)
