"""An exported file in half precision, and in int8."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

_FLOAT, _HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def in_half(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return the file in half precision, inputs and outputs too."""
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    for tensor in made.graph.initializer:
        if tensor.data_type == _FLOAT:
            values = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for port in [*made.graph.input, *made.graph.output]:
        if port.type.tensor_type.elem_type == _FLOAT:
            port.type.tensor_type.elem_type = _HALF
    del made.graph.value_info[:]
    return made


def halved(module: nn.Module) -> nn.Module:
    """Return a network with weights that half precision can hold."""
    for parameter in module.parameters():
        parameter.data = parameter.data.half().float()
    return module


_STEP = 1 / 64  # of what a ReLU leaves


class RoundedReLU(nn.Module):
    """A ReLU in whole numbers, of which a gradient knows nothing."""

    def forward(self, x: Tensor) -> Tensor:
        """Return what a QuantizeLinear and a DequantizeLinear make of a ReLU."""
        return torch.fake_quantize_per_tensor_affine(x.relu(), _STEP, 0, 0, 255)


def rounded(module: nn.Module) -> nn.Module:
    """Return the network that a file of :func:`in_int8` is: rounded weights and activations."""
    made = deepcopy(module)
    for each in list(made.modules()):
        if isinstance(each, nn.Conv2d | nn.Linear):
            scale = each.weight.detach().abs().max() / 127
            each.weight.data = (each.weight.detach() / scale).round() * scale
        for name, child in each.named_children():
            if isinstance(child, nn.ReLU):
                setattr(each, name, RoundedReLU())
    return made


def in_int8(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return the file with its weights and activations in int8: QDQ, one scale each."""
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    graph = made.graph
    names = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    nodes = []
    for node in list(graph.node):
        if node.op_type in ("Conv", "Gemm"):
            weight = names[node.input[1]]
            scale = np.float32(np.abs(weight).max() / 127)
            whole = np.round(weight / scale).astype(np.int8)
            key = f"{node.input[1]}_q"
            graph.initializer.extend(
                [numpy_helper.from_array(whole, key), numpy_helper.from_array(scale, f"{key}_s")]
            )
            nodes.append(helper.make_node("DequantizeLinear", [key, f"{key}_s"], [f"{key}_d"]))
            node.input[1] = f"{key}_d"
        nodes.append(node)
        if node.op_type == "Relu":
            key = node.output[0]
            graph.initializer.append(numpy_helper.from_array(np.float32(_STEP), f"{key}_s"))
            node.output[0] = f"{key}_r"
            nodes.append(helper.make_node("QuantizeLinear", [f"{key}_r", f"{key}_s"], [f"{key}_q"]))
            nodes.append(helper.make_node("DequantizeLinear", [f"{key}_q", f"{key}_s"], [key]))
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    return made
