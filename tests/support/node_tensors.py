"""A model's sequences and optional values as tensors: what differences can be taken of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, TypeProto, ValueInfoProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator


def as_tensors(model: ModelProto, feeds: Mapping[str, Any]) -> tuple[ModelProto, dict[str, Any]]:
    """Return a model and feeds whose inputs and outputs are all tensors.

    A sequence that comes in is put together of tensors in the graph; one that goes out is taken
    apart into as many as it has for these feeds. An optional value is wrapped and unwrapped there.
    """
    if all(v.type.HasField("tensor_type") for v in [*model.graph.input, *model.graph.output]):
        return model, dict(feeds)
    out, given = ModelProto(), dict(feeds)
    out.CopyFrom(model)
    inputs, outputs = _Inputs(), _Outputs()
    for info in model.graph.input:
        inputs.put(info.name, info.type, given.pop(info.name))
    results = ReferenceEvaluator(model).run(None, dict(feeds))
    for info, value in zip(model.graph.output, results, strict=True):
        outputs.take(info.name, info.type, value)
    _replace(out.graph, inputs, outputs)
    return out, inputs.feeds


class _Inputs:
    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.infos: list[ValueInfoProto] = []
        self.feeds: dict[str, Any] = {}

    def put(self, name: str, kind: TypeProto, value: Any) -> None:
        """Make the tensors that a value of this type is put together of."""
        which = kind.WhichOneof("value")
        if which == "tensor_type":
            self.infos.append(helper.make_value_info(name, kind))
            self.feeds[name] = value
        elif which == "optional_type":
            inner = kind.optional_type.elem_type
            if value is None:
                self.nodes.append(helper.make_node("Optional", [], [name], type=inner))
                return
            self.nodes.append(helper.make_node("Optional", [f"{name}_value"], [name]))
            self.put(f"{name}_value", inner, value)
        else:
            element = kind.sequence_type.elem_type
            parts = [f"{name}_{i}" for i in range(len(value))]
            empty = {} if parts else {"dtype": element.tensor_type.elem_type}
            made = "SequenceConstruct" if parts else "SequenceEmpty"
            self.nodes.append(helper.make_node(made, parts, [name], **empty))
            for part, array in zip(parts, value, strict=True):
                self.infos.append(_info(part, element, array))
                self.feeds[part] = array


class _Outputs:
    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.infos: list[ValueInfoProto] = []

    def take(self, name: str, kind: TypeProto, value: Any) -> None:
        """Take the tensors out of a value of this type."""
        which = kind.WhichOneof("value")
        if which == "tensor_type":
            self.infos.append(helper.make_value_info(name, kind))
        elif which == "optional_type" and value is not None:
            inner = f"{name}_value"
            self.nodes.append(helper.make_node("OptionalGetElement", [name], [inner]))
            self.take(inner, kind.optional_type.elem_type, value)
        elif which == "sequence_type":
            for i, array in enumerate(value):
                at, part = numpy_helper.from_array(np.array(i), ""), f"{name}_{i}"
                self.nodes.append(helper.make_node("Constant", [], [f"{part}_at"], value=at))
                self.nodes.append(helper.make_node("SequenceAt", [name, f"{part}_at"], [part]))
                self.infos.append(_info(part, kind.sequence_type.elem_type, array))


def _info(name: str, kind: TypeProto, array: Any) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind.tensor_type.elem_type, np.shape(array))


def _replace(graph: GraphProto, inputs: _Inputs, outputs: _Outputs) -> None:
    nodes = [*reversed(inputs.nodes), *graph.node, *outputs.nodes]
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    graph.input.extend(inputs.infos)
    graph.output.extend(outputs.infos)
