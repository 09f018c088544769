"""The only maker of nodes: ``op.Relu(x)`` writes one ONNX node into a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx.defs import OpSchema
from onnx_graphsurgeon.ir.tensor import Tensor as _AnyTensor

from onnxcam.errors import UnsupportedOp
from onnxcam.graph import quirks
from onnxcam.graph.emit.arguments import (
    assign,
    formal_of,
    has_body,
    literal_dtype,
    node_key,
)
from onnxcam.graph.emit.inference import Inference
from onnxcam.graph.emit.names import Names
from onnxcam.graph.emit.shorthands import Shorthands
from onnxcam.graph.emit.tensors import (
    Tensor,
    Value,
    dtype_of,
    is_float,
)
from onnxcam.graph.ops import Trait, has


class Emitter(Shorthands):
    """Writes nodes into a graph: ``op.Name(*inputs, **attributes) -> Tensor``.

    Inputs are tensors of the graph, NumPy arrays (kept as they are), Python numbers and lists
    (they take the dtype that the schema asks for) or None (an omitted optional input). A
    keyword names an attribute or an input, whichever it is in the graph's opset. Two keywords
    are the emitter's own: ``_outputs`` (how many outputs; a tuple is returned when it is more
    than one) and ``_domain``. The same node is not written twice.

    Attributes:
        graph: The graph (or subgraph) that is written to.
        opsets: Opset version by domain.
        nodes: The nodes written so far, in an order that can be run.
        scope: Put the names of what is emitted inside the block under a name.
        fresh: Return a name that no tensor or node of the model has.
        reserve: Take exactly this name; False when it is taken already.
        infer: Stamp the dtypes and shapes that ONNX infers on the outputs of a node.
        typed: Stamp the shape of a tensor on another whose own inferred shape says less.
        learn: Add to a tensor's type what is known of an equal tensor's.
        written: Return a node as ONNX writes it.
        straight_through: Operators whose rounding some gradient written so far ignores; where
            it is empty the gradients are exact.
    """

    def __init__(
        self, graph: gs.Graph, opsets: Mapping[str, int], *, parent: Emitter | None = None
    ) -> None:
        self.graph = graph
        self.opsets = dict(opsets)
        self.parent = parent
        self.nodes: list[gs.Node] = []
        self._seen: dict[Any, tuple[Tensor, ...]] = {}
        self._keep: list[Tensor] = []  # ids are keys: nothing that has one may be collected
        self.hoist = parent is not None
        self._local: set[int] = set()
        if parent is None:
            self.straight_through: set[str] = set()
            self._names = Names(graph)
            self._inference = Inference(self.opsets)
            self._constants: dict[Any, Tensor] = {}
            self._marks = {}
        else:
            self.straight_through = parent.straight_through
            self._names, self._inference = parent._names, parent._inference
            self._constants, self._marks = parent._constants, parent._marks
        self.scope, self.fresh = self._names.scope, self._names.fresh
        self.reserve, self.infer = self._names.reserve, self._inference.infer
        self.typed, self.learn = self._inference.typed, self._inference.learn
        self.written = self._inference.written

    # ---- constants and types

    def const(self, value: Any, dtype: Any = None) -> Tensor:
        """Return a constant; equal constants are the same tensor.

        Args:
            value: Number, nested list or array.
            dtype: NumPy dtype; None keeps that of ``value``.
        """
        array = np.asarray(value) if dtype is None else np.asarray(value).astype(dtype)
        key = (array.dtype, array.shape, array.tobytes())
        if key in self._constants:
            return self._constants[key]
        tensor = gs.Constant(self.fresh("const"), np.asarray(array, order="C"))
        if array.nbytes <= 4096:
            self._constants[key] = tensor
        return tensor

    # ---- nodes

    def call(
        self,
        op_type: str,
        inputs: Sequence[Value],
        named: Mapping[str, Any],
        *,
        outputs: int | None = None,
        domain: str = "",
    ) -> Any:
        """Emit one node; see the class for what the arguments may be.

        Raises:
            UnsupportedOp: The operator does not exist in the graph's opset.
        """
        schema = self.schema(op_type, domain)
        values, attributes = assign(schema, list(inputs), named)
        tensors = self._tensors(schema, values)
        count = outputs or max(schema.min_output, 1)
        home = self if has_body(attributes) else self._home(tensors)
        made = home._once(op_type, domain, tensors, attributes, count)
        return made[0] if len(made) == 1 else made

    def again(
        self, node: gs.Node, inputs: Sequence[Tensor | None], attributes: Mapping[str, Any]
    ) -> tuple[Tensor, ...]:
        """Write a node of the model once more, whatever its domain.

        What could fail stays in this subgraph, which may never run. A node that does not fit the
        types of its inputs, as in a branch for another rank, gets outputs of unknown type.

        Args:
            node: The node.
            inputs: Its new inputs.
            attributes: All its attributes.
        """
        fixed = has(node, Trait.MAY_FAIL, Trait.RANDOM) or has_body(attributes)
        home = self if fixed else self._home(inputs)
        count, domain = len(node.outputs), node.domain or ""
        return home._once(node.op, domain, inputs, dict(attributes), count, lenient=True)

    def schema(self, op_type: str, domain: str = "") -> OpSchema:
        """Return the schema of an operator in the graph's opset."""
        opset = self.opsets.get(domain, 1)
        try:
            return onnx.defs.get_schema(op_type, opset, domain)
        except onnx.defs.SchemaError:
            raise UnsupportedOp(
                f"{domain or 'ai.onnx'}::{op_type} does not exist in opset {opset}, but the "
                "gradient needs it",
                "raise the model to a newer opset with onnx.version_converter",
            ) from None

    def body(self, inputs: Sequence[Tensor], *, name: str = "body") -> Emitter:
        """Return the emitter of a new subgraph (of Scan, Loop) with these inputs.

        What does not depend on the inputs is written outside, once. See ``hoist``.
        """
        graph = gs.Graph(nodes=[], inputs=list(inputs), outputs=[], name=self.fresh(name))
        child = Emitter(graph, self.opsets, parent=self)
        child._own(inputs)
        return child

    def enter(self, *inputs: Tensor) -> None:
        """Add inputs to this subgraph."""
        self.graph.inputs.extend(inputs)
        self._own(inputs)

    def close(self, outputs: Sequence[Tensor]) -> gs.Graph:
        """Make these the outputs of this subgraph, and return it.

        What is no node's output here (a tensor from outside, an input) or comes twice is copied.
        """
        taken = {id(t) for t in self.graph.inputs}
        for tensor in outputs:
            fresh = id(tensor) in self._local and id(tensor) not in taken
            result = tensor if fresh else self._inside("Identity", tensor)
            taken.add(id(result))
            self.graph.outputs.append(result)
        return self.graph

    def named(self, tensor: Tensor, name: str) -> Tensor:
        """Return a copy of a tensor under exactly this (reserved) name."""
        copy = self._inside("Identity", tensor)
        copy.name = copy.inputs[0].name = name
        copy.dtype = copy.dtype or dtype_of(tensor)
        return copy

    def _inside(self, op_type: str, *inputs: Tensor) -> Tensor:
        return self._write(op_type, "", inputs, {}, 1)[0]

    def _own(self, tensors: Sequence[Tensor]) -> None:
        self._local.update(id(t) for t in tensors)
        self._keep.extend(tensors)

    def _home(self, tensors: Sequence[Tensor | None]) -> Emitter:
        """Return the outermost scope in which all of these tensors exist."""
        home = self
        while home.parent is not None and home.hoist:
            if any(t is not None and id(t) in home._local for t in tensors):
                break
            home = home.parent
        return home

    def _tensors(self, schema: OpSchema, values: Sequence[Value]) -> list[Tensor | None]:
        known: dict[str, np.dtype[Any]] = {}
        formals = [formal_of(schema, i) for i in range(len(values))]
        for formal, value in zip(formals, values, strict=True):
            if isinstance(value, _AnyTensor | np.ndarray):
                dtype = dtype_of(value)
                if dtype is not None:
                    known.setdefault(formal.type_str, dtype)
        out: list[Tensor | None] = []
        for formal, value in zip(formals, values, strict=True):
            if value is None or isinstance(value, _AnyTensor):
                out.append(value)
            elif isinstance(value, np.ndarray | np.generic):
                out.append(self.const(value))
            else:
                out.append(self.const(value, literal_dtype(schema, formal, known)))
        return out

    def _once(
        self,
        op_type: str,
        domain: str,
        inputs: Sequence[Tensor | None],
        attributes: dict[str, Any],
        count: int,
        *,
        lenient: bool = False,
    ) -> tuple[Tensor, ...]:
        """Write a node here, or return the outputs of the same node if it was written before."""
        key = node_key(op_type, domain, inputs, attributes, count)
        if key is None:
            return self._write(op_type, domain, inputs, attributes, count, lenient=lenient)
        if key not in self._seen:
            made = self._write(op_type, domain, inputs, attributes, count, lenient=lenient)
            self._seen[key] = made
        return self._seen[key]

    def _write(
        self,
        op_type: str,
        domain: str,
        inputs: Sequence[Tensor | None],
        attributes: dict[str, Any],
        count: int,
        *,
        lenient: bool = False,
    ) -> tuple[Tensor, ...]:
        inputs = self._fit(op_type, [self._lent(t) for t in inputs])
        name = self.fresh(op_type)
        made = [
            gs.Variable(name if count == 1 else self.fresh(f"{op_type}.{i}")) for i in range(count)
        ]
        node = gs.Node(
            op_type,
            name=name,
            attrs=attributes,
            inputs=[gs.Variable.empty() if t is None else t for t in inputs],
            outputs=made,
            domain=domain or None,
        )
        try:
            self.infer(node)
        except onnx.shape_inference.InferenceError:
            if not lenient:
                raise
        except onnx.checker.ValidationError as error:
            raise UnsupportedOp(
                f"{op_type} in opset {self.opsets.get(domain, 1)}: {error}",
                "raise the model to a newer opset",
            ) from None
        self.nodes.append(node)
        self.graph.nodes.append(node)
        self._keep.extend(t for t in inputs if t is not None)
        if self.parent is not None:
            self._local.update(id(t) for t in made)
        return tuple(made)

    @quirks.works_around(quirks.MOVED_INT8)
    def _fit(self, op_type: str, inputs: list[Tensor | None]) -> list[Tensor | None]:
        moved = quirks.moves_int8(op_type, inputs, self.opsets.get("", 1))
        return [self.Sum(inputs[0]), *inputs[1:]] if moved else inputs

    @quirks.works_around(quirks.CAPTURED_DEQUANTIZE)
    def _lent(self, tensor: Tensor | None) -> Tensor | None:
        """Return a tensor from outside as this subgraph may use it."""
        if tensor is None or self.parent is None or id(tensor) in self._local:
            return tensor
        if not is_float(tensor) or not quirks.is_dequantised(tensor):  # a pool's places are neither
            return tensor
        owner: Emitter = self
        while owner.parent is not None and id(tensor) not in owner._local:
            owner = owner.parent
        return owner.Sum(tensor)
