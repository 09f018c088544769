"""Behind every elementwise operator the axes are those before it, and a layer can be explained."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxcam.analysis.layers import catalog
from onnxcam.analysis.layout import layouts
from onnxcam.autodiff.registry import schema_of, table
from onnxcam.graph.ops import Trait, data_inputs, described, traits_of
from onnxcam.model.model import load

ELEMENTWISE = sorted((d, n) for d, n, traits in described() if Trait.ELEMENTWISE in traits)
# Of integers only.
NO_FLOATS = {"BitCast", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor"}
FLOATS = [
    (domain, name)
    for domain, name, kind in table()
    if Trait.ELEMENTWISE in traits_of(domain, name)
    and Trait.COMPARES not in traits_of(domain, name)
    and name not in NO_FLOATS
    and kind != "refused"
]
SCALE = ["scale", "zero"]
# What follows the data, and the attributes.
SPECIAL: dict[str, tuple[list[str], dict[str, Any]]] = {
    "Add": (["one"], {}),
    "BiasAdd": (["bias", "skip"], {}),
    "BiasGelu": (["bias"], {}),
    "Cast": ([], {"to": TensorProto.FLOAT}),
    "CastLike": (["one"], {}),
    "Div": (["one"], {}),
    "GatedAdd": (["one", "one"], {}),
    "Mod": (["one"], {"fmod": 1}),
    "Mul": (["one"], {}),
    "PRelu": (["one"], {}),
    "ParametricSoftplus": ([], {"alpha": 1.0, "beta": 1.0}),
    "Pow": (["one"], {}),
    "QLinearAdd": ([*SCALE, "q", *SCALE, *SCALE], {}),
    "QLinearLeakyRelu": ([*SCALE, *SCALE], {}),
    "QLinearMul": ([*SCALE, "q", *SCALE, *SCALE], {}),
    "QLinearSigmoid": ([*SCALE, *SCALE], {}),
    "QLinearWhere": ([*SCALE, "q", *SCALE, *SCALE], {}),
    "QuantizeLinear": (SCALE, {}),
    "DequantizeLinear": (SCALE, {}),
    "ScaledTanh": ([], {"alpha": 1.0, "beta": 1.0}),
    "Sub": (["one"], {}),
    "Where": (["one"], {}),
}
WEIGHTS = {
    "w": np.ones((4, 3, 1, 1), "f4"),
    "fc": np.ones((144, 5), "f4"),
    "one": np.ones((1, 4, 1, 1), "f4"),
    "bias": np.ones(6, "f4"),
    "skip": np.ones((1, 4, 6, 6), "f4"),
    "yes": np.ones((1, 4, 6, 6), np.bool_),
    "scale": np.array(0.1, "f4"),
    "zero": np.array(3, "u1"),
}


@pytest.mark.parametrize(("domain", "op_type"), ELEMENTWISE)
@pytest.mark.parametrize("forwards", [True, False])
def test_the_layout_passes(domain: str, op_type: str, forwards: bool) -> None:
    """Every operand and the result have the axes of the one that a convolution has shown."""
    schema = schema_of(domain, op_type, onnx.defs.onnx_opset_version())
    count = min(schema.max_input, 9) if schema is not None else 9
    inputs = [gs.Variable(f"x{i}", np.float32, [1, 4, 6, 6]) for i in range(count)]
    y, z = (gs.Variable(n, np.float32, [1, 4, 6, 6]) for n in "yz")
    node = gs.Node(op_type, "op", inputs=inputs, outputs=[y], domain=domain or None)
    data = data_inputs(node, inputs)
    shown = gs.Node("LRN", inputs=[y if forwards else data[0]], outputs=[z])
    known = layouts(gs.Graph([node, shown], inputs=inputs, outputs=[z]))
    assert {known[id(t)].axes for t in (y, *data)} == {"NCHW"}
    assert all(id(t) not in known for t in inputs if not any(t is d for d in data))


@pytest.mark.parametrize(("domain", "op_type"), FLOATS)
def test_the_layer_behind_is_read(domain: str, op_type: str) -> None:
    """The feature layer of Conv -> operator -> Flatten -> MatMul is not the Conv in silence."""
    found = catalog(load(_model(op_type, domain)))
    assert found.feature is not None and found.feature.layout is not None
    rounded = op_type in ("QLinearLeakyRelu", "QLinearSigmoid")  # an activation: before its reals
    assert (found.feature.name, found.feature.layout.axes) == ("made" if rounded else "y", "NCHW")


def _model(op_type: str, domain: str) -> onnx.ModelProto:
    """Return Conv -> operator -> Flatten -> MatMul; what computes on integers gets them."""
    more, attributes = SPECIAL.get(op_type, ([], {}))
    takes = op_type.startswith("QLinear") or op_type == "DequantizeLinear"
    inputs = ["q" if takes else "conv", *more]
    made = "made" if op_type.startswith(("QLinear", "Quantize")) else "y"
    if op_type.endswith("Where"):
        inputs = ["yes", *inputs]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["conv"]),
        helper.make_node("QuantizeLinear", ["conv", *SCALE], ["q"]),
        helper.make_node(op_type, inputs, [made], domain=domain, **attributes),
        helper.make_node("DequantizeLinear", ["made", *SCALE], ["y"]),
        helper.make_node("Flatten", ["y"], ["flat"]),
        helper.make_node("MatMul", ["flat", "fc"], ["logits"]),
    ]
    dropped = ([] if takes else [nodes[1]]) + ([nodes[3]] if made == "y" else [])
    graph = helper.make_graph(
        [node for node in nodes if node not in dropped],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 6, 6])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 5])],
        [numpy_helper.from_array(value, name) for name, value in WEIGHTS.items()],
    )
    opset = 24 if op_type == "Swish" else 20
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)
