"""ONNX models written node by node."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Value = tuple[str, list[int | str]]


class Nodes:
    """Collects nodes and initialisers; every node is called like its one output."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []

    def add(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node; return its output's name."""
        self._nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def constant(self, array: NDArray[np.float32], name: str) -> str:
        """Add an initialiser; return its name."""
        self._initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def model(self, name: str, entry: Value, exit_: Value) -> onnx.ModelProto:
        """Return the model: opset 17, one float32 input and output, each a name and a shape."""
        ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (entry, exit_)]
        graph = helper.make_graph(
            self._nodes, name, ends[:1], ends[1:], initializer=self._initializers
        )
        opset = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, producer_name="onnxcam", opset_imports=opset, ir_version=8)
