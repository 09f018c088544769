"""What a file says of its weights besides the weights themselves counts for nothing."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from onnxcam.model.model import load


def test_a_weight_described_with_another_type_has_its_own() -> None:
    """As converters to half precision leave it where a node stays in single precision."""
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 3]) for n in "xy"]
    weight = helper.make_tensor("w", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0])
    node = helper.make_node("Mul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", ports[:1], ports[1:], [weight])
    graph.value_info.append(helper.make_tensor_value_info("w", TensorProto.FLOAT16, [3]))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(load(model).proto, full_check=True)
