"""One node of an operator that ``onnxcam.contrib`` defines, as a model, and its definition."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, helper

from onnxcam.graph.contrib import MICROSOFT, lower
from onnxcam.model.draft import Draft
from onnxcam.model.model import load
from support.gradcheck import run

_RNG = np.random.default_rng(0)
ML = "ai.onnx.ml"


@dataclass(frozen=True)
class Case:
    """A node.

    Attributes:
        op_type: Operator.
        feeds: Inputs by name; None where an optional one is omitted.
        attributes: Attributes.
        outputs: Names of the outputs, "" where one is omitted.
        domain: Operator domain.
        opset: Of the standard domain.
        tolerance: Of the definition against ONNX Runtime, relative to the largest entry.
        steps: How far integer outputs may lie apart: a rounding that falls the other way.
        fixed: ONNX Runtime wants all inputs but the first with known dimensions.
    """

    op_type: str
    feeds: dict[str, Any]
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ("y",)
    domain: str = MICROSOFT
    opset: int = 20
    tolerance: float = 2e-5
    steps: int = 0
    fixed: bool = False

    @property
    def label(self) -> str:
        parts = [f"{k}={v}" for k, v in self.attributes.items() if np.size(v) < 5]
        shapes = [f"{k}{list(v.shape)}" for k, v in self.feeds.items() if v is not None]
        return " ".join([self.op_type, *parts, *shapes])


def normal(*shape: int) -> np.ndarray:
    return _RNG.standard_normal(shape).astype(np.float32)


def bytes_(*shape: int) -> np.ndarray:
    return _RNG.integers(0, 256, shape).astype(np.uint8)


def signed(*shape: int) -> np.ndarray:
    return _RNG.integers(-127, 128, shape).astype(np.int8)


def f32(value: Any) -> np.ndarray:
    return np.array(value, np.float32)


def i32(value: Any) -> np.ndarray:
    return np.array(value, np.int32)


def model_of(case: Case, *, symbolic: bool = False) -> ModelProto:
    """Return the model of one node, typed by running it."""
    given = {k: v for k, v in case.feeds.items() if v is not None}
    node = helper.make_node(
        case.op_type, [k if v is not None else "" for k, v in case.feeds.items()],
        list(case.outputs), name="node", domain=case.domain,
    )  # fmt: skip
    node.attribute.extend(helper.make_attribute(k, v) for k, v in case.attributes.items())
    free = {k for k, v in given.items() if v.dtype.kind == "f"} if symbolic else set()
    free &= set(list(given)[:1]) if case.fixed else set(given)
    inputs = [
        helper.make_tensor_value_info(
            k, helper.np_dtype_to_tensor_dtype(v.dtype),
            [f"{k}_{i}" for i in range(v.ndim)] if k in free else v.shape,
        )
        for k, v in given.items()
    ]  # fmt: skip
    names = [name for name in case.outputs if name]
    graph = helper.make_graph([node], "graph", inputs, [onnx.ValueInfoProto(name=n) for n in names])
    domains = [("", case.opset), (MICROSOFT, 1), (ML, 3)]
    imports = [helper.make_opsetid(domain, version) for domain, version in domains]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    values = run(model, given)
    del model.graph.output[:]
    for name in names:
        shape = [None] * values[name].ndim if symbolic else values[name].shape
        kind = helper.np_dtype_to_tensor_dtype(values[name].dtype)
        model.graph.output.append(helper.make_tensor_value_info(name, kind, shape))
    return model


def lowered(model: ModelProto) -> ModelProto:
    """Return a model of one node with its definition in the node's place.

    Outputs that have no definition are missing; where a definition gives floats for integers (as
    for MatMulInteger) the output is a float.
    """
    loaded = load(model)
    kept = [n.op_type for n in loaded.light.graph.node] == [n.op_type for n in model.graph.node]
    draft = Draft(loaded if kept else model)  # what ONNX withdrew is written out when it is loaded
    (node,) = draft.graph.nodes
    made = lower(draft.op, node)
    taken = {t.name: y for t, y in zip(node.outputs, made, strict=True) if t.name and y is not None}
    for name, y in taken.items():
        draft.output(y, f"defined {name}")
    proto = draft.build()
    del proto.graph.node[0]
    names = {o.name: o for o in proto.graph.output}
    del proto.graph.output[:]
    for name in taken:
        info = names[f"defined {name}"]
        if not info.type.tensor_type.HasField("shape"):
            info.type.tensor_type.shape.CopyFrom(names[name].type.tensor_type.shape)
        proto.graph.output.append(info)
    renamed(proto, {f"defined {name}": name for name in taken})
    onnx.checker.check_model(proto, full_check=True)
    return proto


def renamed(proto: ModelProto, names: dict[str, str]) -> None:
    """Give outputs of a model, and the nodes named after them, other names, in place."""
    for node in proto.graph.node:
        node.output[:] = [names.get(o, o) for o in node.output]
        node.name = names.get(node.name, node.name)
    for info in proto.graph.output:
        info.name = names.get(info.name, info.name)
