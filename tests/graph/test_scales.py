"""What integers stand for: the scale of what made them, also when they were picked since."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from support.contrib_case import Case, model_of
from support.quantized_cases import QUANTIZED

from onnxcam.graph.contrib import cuts_at_zero, scale_of
from onnxcam.graph.emit import is_float
from onnxcam.model.draft import Draft
from onnxcam.model.model import load

ROUNDED = [c for c in QUANTIZED if {"ys", "yz"} <= c.feeds.keys() and c.op_type.startswith("Q")]
NEVER = {"QuantizeLinear"}  # what it makes is mostly dequantised at once


@pytest.mark.parametrize("case", ROUNDED, ids=lambda c: c.label)
def test_the_scale_of_what_an_operator_rounds_is_that_of_its_output(case: Case) -> None:
    y = Draft(load(model_of(case))).tensor("y")
    if is_float(y) or case.op_type in NEVER:
        assert scale_of(y) is None
        return
    scale = scale_of(y)
    assert scale is not None and scale.zero is not None
    assert (scale.scale.name, scale.zero.name) == ("ys", "yz")


def _made() -> tuple[Any, Any]:
    """Return integers that a QLinearSigmoid has made, and their scale."""
    names = ("x", "xs", "xz", "ys", "yz")
    inputs = [gs.Variable(name, np.float32 if "s" in name else np.uint8, []) for name in names]
    made = gs.Variable("made", np.uint8, [1, 4, 6, 6])
    gs.Node("QLinearSigmoid", inputs=inputs, outputs=[made], domain="com.microsoft")
    return made, inputs[3]


@pytest.mark.parametrize(
    "op_type", ["Reshape", "Transpose", "Gather", "DepthToSpace", "MaxPool", "Tile", "Split"]
)
def test_what_is_picked_has_the_scale_that_it_had(op_type: str) -> None:
    made, ys = _made()
    outputs = [gs.Variable(f"y{i}", np.uint8, None) for i in range(2)]
    gs.Node(op_type, inputs=[made], outputs=outputs)
    found = scale_of(outputs[0])
    assert found is not None and found.scale is ys
    second = scale_of(outputs[1])  # of a MaxPool these are indices
    assert (second is not None) == (op_type == "Split")


@pytest.mark.parametrize("op_type", ["Add", "Pad", "Concat", "Cast"])
def test_what_is_computed_has_another(op_type: str) -> None:
    made, _ = _made()
    y = gs.Variable("y", np.uint8, None)
    gs.Node(op_type, inputs=[made], outputs=[y])
    assert scale_of(y) is None


@pytest.mark.parametrize(("zero", "cuts"), [(0, True), (3, False)])
@pytest.mark.parametrize(
    ("op_type", "place", "domain"),
    [
        ("QLinearAdd", 7, "com.microsoft"),
        ("QLinearConv", 7, ""),
        ("QLinearMatMul", 7, ""),
        ("QGemm", 8, "com.microsoft"),
    ],
)
def test_a_linear_operator_that_rounds_from_zero_on_is_a_rectifier(
    op_type: str, place: int, domain: str, zero: int, cuts: bool
) -> None:
    inputs = [gs.Variable(f"x{i}") for i in range(place)]
    inputs.append(gs.Constant("zero", np.array(zero, np.uint8)))
    node = gs.Node(op_type, inputs=inputs, outputs=[gs.Variable("y")], domain=domain)
    assert cuts_at_zero(node) == cuts
