"""The model that onnxruntime-training gets to see, while it is packed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np
from onnx import ModelProto, helper

from onnxcam.autodiff.engine import path
from onnxcam.autodiff.registry import NodeView
from onnxcam.errors import UnsupportedOp
from onnxcam.graph import ir
from onnxcam.graph.emit import (
    Dim,
    Emitter,
    Tensor,
    const_value,
    dtype_of,
    graph_proto,
    is_float,
    is_sequence,
    shape_of,
    value_info,
)
from onnxcam.graph.ops import Trait, data_inputs, has

_IR_VERSION = 10
_SMALL = 64  # elements: shapes, axes and pads are sent, weights are not
Rewrite: TypeAlias = "Callable[[Parcel, NodeView], None]"


def refused(why: str) -> UnsupportedOp:
    """Return the error for what onnxruntime-training cannot differentiate."""
    return UnsupportedOp(
        f"onnxruntime-training cannot differentiate this model: {why}",
        "use the native gradient builder",
    )


def _broadcasts(node: NodeView) -> bool:
    return has(node, Trait.ELEMENTWISE) and len(data_inputs(node, node.inputs)) > 1


class Parcel:
    """The model that is sent, while it is packed.

    Args:
        op: Emitter of the whole graph.
        carrying: Ids of the tensors (of the whole) that carry a gradient.
        rewrites: What is packed in another way, by operator.

    Attributes:
        op: Emitter of the whole graph.
        carrying: Ids of the tensors (of the whole) that carry a gradient.
        tensors: The tensors of the whole, by sent name.
        uses: How often a sent tensor is used by nodes that its gradient comes from.
        seeds: Cotangents by sent name.
    """

    def __init__(self, op: Emitter, carrying: set[int], rewrites: Mapping[str, Rewrite]) -> None:
        self.op, self.carrying, self._rewrites = op, carrying, rewrites
        self.tensors: dict[str, Tensor] = {}
        self.uses: Counter[str] = Counter()
        self.seeds: dict[str, Tensor] = {}
        self._sent: dict[int, ir.Variable] = {}
        self._variables: list[ir.Variable] = []
        self._nodes: list[ir.Node] = []
        self._vague: set[Dim] = set()

    def carry(self, tensor: Tensor) -> ir.Variable:
        """Return what stands for a tensor that carries a gradient, everywhere the same."""
        if id(tensor) not in self._sent:
            if is_sequence(tensor):
                raise refused(f"it gives no gradient for sequences, as {tensor.name!r} is one")
            if not is_float(tensor):
                raise refused(f"it gives no gradient for integers, as {tensor.name!r} is one")
            self._sent[id(tensor)] = self._variable(tensor)
        return self._sent[id(tensor)]

    def send(self, node: ir.Node) -> None:
        """Pack a node, or what replaces it."""
        domain = "" if node.domain in (None, "ai.onnx") else node.domain
        view = NodeView(node, self.op.opsets.get(domain, 1))
        if any(isinstance(a, ir.Graph) for a in node.attrs.values()):
            raise refused(f"it gives no gradient for {view.op_type}, node {view.name!r}")
        rewrite = None if view.domain else self._rewrites.get(view.op_type)
        if rewrite is None:
            self.add(view, view.inputs)
        else:
            rewrite(self, view)

    def add(self, node: NodeView, inputs: Sequence[Tensor | None]) -> None:
        """Pack a node with these inputs."""
        outputs = [t if t is not None else ir.Variable.empty() for t in node.outputs]
        self._note_vague(node, inputs, outputs)
        self._add(node.op_type, node.name, inputs, outputs, node.raw.attrs, node.domain)

    def replace(self, node: NodeView, y: Tensor) -> None:
        """Pack the emitted nodes that lead to ``y`` in place of a node with one output."""
        sources = [t for t in node.inputs if t is not None and id(t) in self.carrying]
        nodes, carrying = path(self.op, [y], sources, sources)
        self.carrying |= carrying
        for emitted in nodes:
            if not self.has(emitted):  # it may stand for two equal nodes
                self.send(emitted)
        self._add("Identity", node.name, [y], [node.outputs[0]], {}, "")

    def has(self, node: ir.Node) -> bool:
        """Tell whether a node is packed already."""
        return any(id(t) in self._sent and self._sent[id(t)].inputs for t in node.outputs)

    def leaf(self, tensor: Tensor, cotangent: Tensor) -> None:
        """Make a tensor an output that has this cotangent; it may still be used elsewhere."""
        end = self._variable(tensor)
        self.seeds[end.name] = cotangent
        self.uses[self.carry(tensor).name] += 1
        self._nodes.append(ir.Node("Identity", inputs=[self.carry(tensor)], outputs=[end]))

    def proto(self) -> ModelProto:
        """Return the packed model."""
        for variable in self._variables:
            if variable.shape is not None:
                variable.shape = [None if d in self._vague else d for d in variable.shape]
        inputs = [v for v in self._variables if not v.inputs]
        outputs = [v for v in self._variables if v.name in self.seeds]
        graph = graph_proto(ir.Graph(self._nodes, inputs, outputs, name="part"))
        graph.value_info.extend(value_info(v) for v in self._variables if v.inputs)
        domains = {"", *(node.domain or "" for node in self._nodes)}
        imports = [helper.make_opsetid(d, v) for d, v in self.op.opsets.items() if d in domains]
        return helper.make_model(graph, opset_imports=imports, ir_version=_IR_VERSION)

    def _add(
        self,
        op_type: str,
        name: str,
        inputs: Sequence[Tensor | None],
        outputs: Sequence[Tensor],
        attrs: Mapping[str, Any],
        domain: str,
    ) -> None:
        used: set[int] = set()
        sources = [self._source(x, used) for x in inputs]
        while sources and not sources[-1].name:
            sources.pop()
        made = [self._made(y) for y in outputs]
        node = ir.Node(op_type, name, dict(attrs), sources, made, domain=domain or None)
        self._nodes.append(node)

    def _source(self, x: Tensor | None, used: set[int]) -> ir.Variable:
        if x is None:
            return ir.Variable.empty()
        if id(x) not in self.carrying:
            return self._given(x)
        source = self.carry(x)
        self.uses[source.name] += 1
        if id(x) not in used:
            used.add(id(x))
            return source
        copy = self._variable(x)  # the builder counts a node that uses a tensor twice as one use
        self.uses[copy.name] += 1
        self._nodes.append(ir.Node("Identity", inputs=[source], outputs=[copy]))
        return copy

    def _made(self, y: Tensor) -> ir.Variable:
        if not y.name:
            return ir.Variable.empty()
        return self.carry(y) if id(y) in self.carrying else self._variable(y)

    def _given(self, x: Tensor) -> ir.Variable:
        variable = self._variable(x)
        shape = shape_of(x)
        known = shape is not None and all(isinstance(d, int) for d in shape)
        if known and np.prod(shape, dtype=np.int64) <= _SMALL:  # type: ignore[arg-type]
            value = const_value(x)
            if value is not None:
                attrs = {"value": ir.Constant("value", value)}
                self._nodes.append(ir.Node("Constant", attrs=attrs, outputs=[variable]))
        return variable

    def _variable(self, tensor: Tensor) -> ir.Variable:
        dtype, shape = dtype_of(tensor), shape_of(tensor)
        if dtype is None:
            raise refused(f"the dtype of {tensor.name!r} is not known")
        name = f"t{len(self._variables)}"
        variable = ir.Variable(name, dtype=dtype, shape=None if shape is None else list(shape))
        self._variables.append(variable)
        self.tensors[name] = tensor
        return variable

    def _note_vague(
        self, node: NodeView, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]
    ) -> None:
        """Forget symbols that the builder would take for equal in a broadcast, right or not."""
        shapes = [shape_of(t) or () for t in [*inputs, *outputs] if t is not None]
        if node.op_type == "MatMul":
            shapes = [shape[:-2] for shape in shapes]
        elif node.op_type == "Gemm":
            shapes = shapes[2:]
        elif node.op_type != "Expand" and not _broadcasts(node):
            return
        for a, b in combinations(shapes, 2):
            for d, e in zip(reversed(a), reversed(b), strict=False):
                if d != e and 1 not in (d, e):
                    self._vague |= {s for s in (d, e) if isinstance(s, str)}
