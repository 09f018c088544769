"""The only maker of nodes: ``op.Relu(x)`` writes one ONNX node into a graph."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import TypeProto, helper, numpy_helper
from onnx.defs import OpSchema
from onnx_graphsurgeon.ir.tensor import Tensor as _AnyTensor

from onnxcam.emit.arguments import IMPURE, assign, formal_of, has_body, literal_dtype, node_key
from onnxcam.emit.protos import node_proto, stamp, type_proto
from onnxcam.emit.tensors import (
    Dim,
    Tensor,
    Value,
    dtype_of,
    elem_type,
    is_sequence,
    shape_of,
    static_shape,
)
from onnxcam.errors import UnsupportedOp

NAMESPACE = "onnxcam"
_MOVES = frozenset(  # what ONNX Runtime moves a DequantizeLinear past
    {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "MaxPool", "Slice", "Identity"}
)
PARTIAL = frozenset(  # may fail, for what they are given: not to be run where they did not run
    {"Gather", "GatherElements", "GatherND", "Reshape", "ScatterElements", "ScatterND",
     "SequenceAt", "SequenceErase", "SequenceInsert", "Split", "Squeeze", "Expand"}
)  # fmt: skip
_INFERENCE_DATA_LIMIT = 64  # elements: shapes, axes and pads are smaller, weights are not


class Emitter:
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
        if parent is not None:
            self._root: Emitter = parent._root
            self.straight_through: set[str] = parent.straight_through
            self.hoist = True
            self._local: set[int] = set()
            return
        self._root = self
        self.straight_through = set()
        self.hoist = False
        self._names = all_names(graph)
        self._counts: Counter[str] = Counter()
        self._types: dict[int, TypeProto] = {}
        self._constants: dict[Any, Tensor] = {}
        self._one_hots: dict[int, Tensor] = {}
        self._scope: list[str] = [NAMESPACE]

    # ---- names and scopes

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Put the names of what is emitted inside the block under ``name/``."""
        self._root._scope.append(name.strip("/") or "unnamed")
        try:
            yield
        finally:
            self._root._scope.pop()

    def fresh(self, name: str) -> str:
        """Return a name that no tensor or node of the model has, from the scope and ``name``."""
        root = self._root
        stem = "/".join([*root._scope, name])
        while True:
            count = root._counts[stem]
            root._counts[stem] += 1
            candidate = f"{stem}_{count}" if count else stem
            if candidate not in root._names:
                root._names.add(candidate)
                return candidate

    def reserve(self, name: str) -> bool:
        """Take exactly this name; False when it is taken already."""
        if name in self._root._names:
            return False
        self._root._names.add(name)
        return True

    # ---- constants and shapes

    def const(self, value: Any, dtype: Any = None) -> Tensor:
        """Return a constant; equal constants are the same tensor.

        Args:
            value: Number, nested list or array.
            dtype: NumPy dtype; None keeps that of ``value``.
        """
        array = np.asarray(value) if dtype is None else np.asarray(value).astype(dtype)
        root = self._root
        key = (str(array.dtype), array.shape, array.tobytes())
        if array.nbytes > 4096 or key not in root._constants:
            tensor = gs.Constant(self.fresh("const"), np.asarray(array, order="C"))
            if array.nbytes > 4096:
                return tensor
            root._constants[key] = tensor
        return root._constants[key]

    def shape(self, x: Tensor) -> Tensor:
        """Return the shape of ``x`` as an int64 [rank] tensor: a constant where it is static."""
        static = static_shape(x)
        return self.Shape(x) if static is None else self.const(np.array(static, np.int64))

    def dim(self, x: Tensor, axis: int) -> int | Tensor:
        """Return one dimension of ``x``: an int where it is known, else an int64 [1] tensor."""
        shape = shape_of(x)
        if shape is not None and isinstance(shape[axis], int):
            return int(shape[axis])  # type: ignore[arg-type]
        end = axis + 1 or None
        if "start" in self.schema("Shape").attributes:
            return self.Shape(x, start=axis, end=end)
        last = np.iinfo(np.int64).max if end is None else end
        return self.Slice(self.Shape(x), starts=[axis], ends=[last], axes=[0])

    def dims(self, *parts: int | Tensor | Sequence[int]) -> Tensor:
        """Join ints, int lists and int64 [n] tensors into one int64 vector."""
        vectors: list[Any] = []
        for part in parts:
            if isinstance(part, _AnyTensor):
                vectors.append(part)
                continue
            numbers = list(np.atleast_1d(part))
            if vectors and isinstance(vectors[-1], list):
                vectors[-1] += numbers
            else:
                vectors.append(numbers)
        tensors = [self.const(np.array(v, np.int64)) if isinstance(v, list) else v for v in vectors]
        return tensors[0] if len(tensors) == 1 else self.Concat(*tensors, axis=0)

    def zeros_like(self, x: Tensor, dtype: Any = None) -> Tensor:
        """Return zeros of the shape of ``x`` and its dtype (or another)."""
        kind = np.dtype(dtype or dtype_of(x) or np.float32)
        static = static_shape(x)
        if static is not None and int(np.prod(static)) <= 256:
            return self.const(np.zeros(static, kind))
        value = gs.Constant("", np.zeros(1, kind))
        return self.ConstantOfShape(self.shape(x), value=value)

    def one_hot(self, index: Tensor, depth: int | Tensor, dtype: Any) -> Tensor:
        """Return rows [N, depth] that are 1 at ``index`` (int64 [N], in range) and 0 elsewhere.

        A rule that multiplies with them may pick rows instead, see :meth:`index_of`.
        """
        # A scalar: ONNX's reference evaluator takes no vector of one.
        size = self.const(depth, np.int64) if isinstance(depth, int) else self.scalar(depth)
        rows = self.OneHot(index, size, np.array([0, 1], dtype), axis=-1)
        self._root._one_hots[id(rows)] = index
        return rows

    def index_of(self, rows: Tensor) -> Tensor | None:
        """Return the index that :meth:`one_hot` made these rows of; None for any other tensor."""
        return self._root._one_hots.get(id(rows))

    def scalar(self, x: Tensor) -> Tensor:
        """Return a vector of one as a scalar."""
        return self.Reshape(x, np.zeros(0, np.int64))

    def mean(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        """Return the mean over axes, which stay as 1; free where ``x`` was expanded over them."""
        source = _expanded(x, axes)
        return self.ReduceMean(x, axes=list(axes), keepdims=1) if source is None else source

    def cast(self, x: Tensor, like: Tensor | np.dtype[Any] | type) -> Tensor:
        """Return ``x`` in the dtype of ``like`` (a tensor or a dtype); itself where it is so."""
        target = dtype_of(like) if isinstance(like, _AnyTensor) else np.dtype(like)
        if target is None or dtype_of(x) == target:
            return x
        return self.Cast(x, to=elem_type(target))

    def typed(self, tensor: Tensor, like: Tensor) -> Tensor:
        """Stamp the shape of ``like`` on a tensor whose own inferred shape says less."""
        if isinstance(tensor, gs.Variable) and static_shape(tensor) is None:
            known = shape_of(like)
            if known is not None:
                tensor.shape = list(known)
                self._root._types.pop(id(tensor), None)
        return tensor

    # ---- nodes

    def __getattr__(self, op_type: str) -> Callable[..., Any]:
        """Return the function that emits a node of this operator type."""
        if op_type.startswith("_"):
            raise AttributeError(op_type)

        def emit(
            *inputs: Value, _outputs: int | None = None, _domain: str = "", **named: Any
        ) -> Any:
            return self.call(op_type, inputs, named, outputs=_outputs, domain=_domain)

        return emit

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
        fixed = node.op in PARTIAL | IMPURE or has_body(attributes)
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

    def learn(self, tensor: Tensor, like: Tensor) -> Tensor:
        """Add to a tensor's type what is known of an equal tensor's; symbols are not taken over."""
        if not isinstance(tensor, gs.Variable) or isinstance(like, gs.Constant):
            return tensor
        if dtype_of(tensor) is None:
            tensor.dtype, tensor.type = like.dtype, like.type
        known = [d if isinstance(d, int) else None for d in shape_of(like) or ()]
        if tensor.shape is None and like.shape is not None:
            tensor.shape = known
        elif tensor.shape is not None and len(tensor.shape) == len(known):
            pairs = zip(tensor.shape, known, strict=True)
            tensor.shape = [k if k is not None and not isinstance(d, int) else d for d, k in pairs]
        self._root._types.pop(id(tensor), None)
        return tensor

    def named(self, tensor: Tensor, name: str) -> Tensor:
        """Return a copy of a tensor under exactly this (reserved) name."""
        copy = self._inside("Identity", tensor)
        copy.name = copy.inputs[0].name = name
        copy.dtype = copy.dtype or dtype_of(tensor)
        return copy

    def local(self, tensor: Tensor) -> Tensor:
        """Return a tensor of this subgraph: itself, or a copy of one from outside."""
        return tensor if id(tensor) in self._local else self._inside("Identity", tensor)

    def _inside(self, op_type: str, *inputs: Tensor) -> Tensor:
        return self._write(op_type, "", inputs, {}, 1)[0]

    def variable(
        self, name: str, dtype: Any, shape: Sequence[Dim] | None, *, sequence: bool = False
    ) -> Tensor:
        """Return a new tensor (or sequence) without a producer: a graph or subgraph input."""
        kind = "sequence_type" if sequence else "tensor_type"
        known = None if dtype is None else np.dtype(dtype)
        return gs.Variable(self.fresh(name), known, _listed(shape), kind)

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
        inputs = [self._lent(t) for t in inputs]
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

    def _lent(self, tensor: Tensor | None) -> Tensor | None:
        """Return a tensor from outside as this subgraph may use it.

        ONNX Runtime (1.31) aborts where a subgraph captures a DequantizeLinear's output, also a
        reshaped one: its passes that give every consumer a DequantizeLinear of its own, or move
        it past a reshape, look for explicit inputs only. A Sum of one in between is a copy that
        no pass removes.
        """
        if tensor is None or self.parent is None or id(tensor) in self._local:
            return tensor
        if not _is_dequantised(tensor):
            return tensor
        owner: Emitter = self
        while owner.parent is not None and id(tensor) not in owner._local:
            owner = owner.parent
        return owner.Sum(tensor)

    def infer(self, node: gs.Node) -> None:
        """Stamp the dtypes and shapes that ONNX infers on the outputs of a node.

        Raises:
            onnx.shape_inference.InferenceError: The node does not fit its inputs.
        """
        domain = node.domain or ""
        known = onnx.defs.has(node.op, self.opsets.get(domain, 1), domain)
        if not known or has_body(node.attrs):
            return
        types, data = {}, {}
        for tensor in node.inputs:
            if not tensor.name:
                continue
            types[tensor.name] = self._type(tensor)
            small = math.prod(static_shape(tensor) or (0,)) <= _INFERENCE_DATA_LIMIT
            if isinstance(tensor, gs.Constant) and small:
                data[tensor.name] = numpy_helper.from_array(tensor.values, tensor.name)
        try:
            inferred = onnx.shape_inference.infer_node_outputs(
                self.schema(node.op, domain),
                node_proto(node),
                types,
                data,
                opset_imports=[helper.make_opsetid(d, v) for d, v in self.opsets.items()],
                ir_version=onnx.IR_VERSION,
            )
        except ValueError:  # an input comes from an operator that onnx does not know
            return
        for tensor in node.outputs:
            kind = inferred.get(tensor.name)
            if kind is not None:
                self._root._types[id(tensor)] = kind
                stamp(tensor, kind)
        if node.op == "Attention":  # onnx takes an unknown hidden size for 0
            for tensor in node.outputs:
                tensor.shape = [d or None for d in tensor.shape or ()] or None
                self._root._types.pop(id(tensor), None)
        self._infer_rank(node)

    def _infer_rank(self, node: gs.Node) -> None:
        """Stamp the rank on what has a computed shape of known length; onnx leaves it open."""
        y = node.outputs[0]
        if node.op not in ("Reshape", "Expand", "ConstantOfShape") or y.shape is not None:
            return
        length = (shape_of(node.inputs[-1]) or (None,))[0]
        ranks = [length] if isinstance(length, int) else []
        if node.op == "Expand":
            shape = shape_of(node.inputs[0])
            ranks = [*ranks, len(shape)] if ranks and shape is not None else []
        if ranks and dtype_of(y) is not None:
            y.shape = [None] * max(ranks)
            self._root._types.pop(id(y), None)

    def _type(self, tensor: Tensor) -> TypeProto:
        types = self._root._types
        if id(tensor) not in types:
            unknown = dtype_of(tensor) is None and not is_sequence(tensor)
            types[id(tensor)] = TypeProto() if unknown else type_proto(tensor)
            self._root._keep.append(tensor)
        return types[id(tensor)]


def all_names(graph: gs.Graph) -> set[str]:
    """Return the names of all tensors, nodes and dimensions of a graph and its subgraphs."""
    tensors = [*graph.tensors().values(), *graph.inputs, *graph.outputs]
    names = {t.name for t in tensors}
    names |= {d for t in tensors for d in shape_of(t) or () if isinstance(d, str)}
    for node in graph.nodes:
        names.add(node.name)
        for value in node.attrs.values():
            if isinstance(value, gs.Graph):
                names |= all_names(value)
    return names


def _is_dequantised(tensor: Tensor) -> bool:
    """Tell whether a tensor is a DequantizeLinear's output, or only a reshape of one."""
    while tensor.inputs:
        node = tensor.inputs[0]
        if node.op == "DequantizeLinear":
            return True
        if node.op not in _MOVES:
            return False
        tensor = node.inputs[0]
    return False


def _expanded(x: Tensor, axes: Sequence[int]) -> Tensor | None:
    """Return the tensor that ``x`` is the expansion of, over just these axes."""
    if not x.inputs or x.inputs[0].op != "Expand":
        return None
    source = x.inputs[0].inputs[0]
    large, small = shape_of(x), shape_of(source)
    if large is None or small is None or len(large) != len(small):
        return None
    same = all(
        s == 1 if i in axes else s == big and s is not None
        for i, (big, s) in enumerate(zip(large, small, strict=True))
    )
    return source if same else None


def _listed(shape: Sequence[Dim] | None) -> list[Dim] | None:
    return None if shape is None else list(shape)
