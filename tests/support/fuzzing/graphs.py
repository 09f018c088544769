"""Random small graphs: scopes that grow node by node, each evaluated as it is added.

What a node computes is known at once (in double, by ONNX's reference evaluator), so that the next
one can be made to fit; what does not fit is given up and another is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from support import reference_repairs  # noqa: F401
from support.reference_ops import BETTER_OPS
from support.variants import graph_model, in_double

LARGEST, ELEMENTS = 30.0, 400  # of a value; of a tensor


class UnfitError(Exception):
    """A node does not fit here; another has to be drawn."""


Family = Callable[["Scope"], Any]
FAMILIES: list[Family] = []  # of operators: each adds a few nodes to a scope
CONTROL: list[Family] = []  # the same, of nodes with subgraphs


def family(function: Family) -> Family:
    """Register what adds operators of one family."""
    FAMILIES.append(function)
    return function


def control(function: Family) -> Family:
    """Register what adds nodes with subgraphs."""
    CONTROL.append(function)
    return function


@dataclass
class Model:
    """What all scopes of one model share."""

    rng: np.random.Generator
    opset: int
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    fed: list[str] = field(default_factory=list)  # weights that are inputs with a default
    taken: set[str] = field(default_factory=set)  # weights that are no others' too
    count: int = 0


class Scope:
    """A graph or subgraph in the making.

    Attributes:
        rng: The source of every choice.
        opset: The model's.
        values: Every visible tensor, those of the scopes around it too, floats in double.
        pool: The float tensors among them that nodes are to consume, the newest last.
        nodes: What was added.
        is_body: It is a subgraph.
    """

    def __init__(self, model: Model, outer: Scope | None = None) -> None:
        self.model, self.rng, self.opset = model, model.rng, model.opset
        self.is_body = outer is not None
        self.values: dict[str, np.ndarray] = dict(outer.values) if outer else {}
        self.pool: list[str] = list(outer.pool) if outer else []
        self.nodes: list[NodeProto] = []

    def fresh(self) -> str:
        """Return a name that is new in the model (the branches of an If share theirs)."""
        self.model.count += 1
        return f"t{self.model.count}"

    def chance(self, p: float) -> bool:
        """Return True with probability ``p``."""
        return bool(self.rng.random() < p)

    def one_of(self, choices: Sequence[Any]) -> Any:
        """Return one of these."""
        if not choices:
            raise UnfitError
        return choices[int(self.rng.integers(len(choices)))]

    def integers(self, low: int, high: int, size: int) -> list[int]:
        """Return ``size`` numbers from ``low`` to ``high``, both included."""
        return [int(v) for v in self.rng.integers(low, high + 1, size)]

    def floats(self, *shape: int, positive: bool = False) -> np.ndarray:
        """Return random numbers, float32."""
        values = self.rng.uniform(0.3, 1.2, shape)
        signs = 1 if positive else self.rng.choice([-1, 1], shape)
        return (values * signs).astype(np.float32)

    def pick(self, low: int = 0, high: int = 5) -> str:
        """Return a tensor of the pool of rank ``low`` to ``high``; new ones more often."""
        fitting = [n for n in self.pool if low <= self.values[n].ndim <= high]
        return str(self.one_of(fitting[-3:] if self.chance(0.6) else fitting))

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor."""
        return self.values[name].shape

    def const(self, value: Any) -> str:
        """Return a constant: a weight (used before, maybe), an input's default or a node."""
        value = np.asarray(value)
        if value.dtype == np.float64:
            value = value.astype(np.float32)
        floating = value.dtype == np.float32
        same = [n for n, v in self.model.weights.items()
                if v.shape == value.shape and v.dtype == value.dtype and n not in self.model.taken
                and (v.min(initial=1) > 0 or value.min(initial=1) < 0)]  # fmt: skip
        if floating and same and self.chance(0.3):
            name = self.one_of(same)
            self.values[name] = self.model.weights[name].astype(np.float64)
            return str(name)
        name = f"w{len(self.model.weights)}"
        if self.chance(0.3):
            name = self.fresh()
            constant = numpy_helper.from_array(value, name)
            self.nodes.append(helper.make_node("Constant", [], [name], value=constant))
        else:
            self.model.weights[name] = value
            if floating and self.chance(0.3):
                self.model.fed.append(name)
        self.values[name] = value.astype(np.float64) if floating else value
        return name

    def parameter(self, value: Any) -> str:
        """Return a float weight that is no other's and not differentiated, like Resize's scales."""
        name = f"w{len(self.model.weights)}"
        self.model.weights[name] = np.asarray(value, np.float32)
        self.model.taken.add(name)
        self.values[name] = np.asarray(value, np.float64)
        return name

    def add(self, op_type: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> str:
        """Add a node and return its first output; its float outputs join the pool."""
        names = [self.fresh() for _ in range(outputs)]
        title = self.fresh() if self.chance(0.7) else ""
        try:
            onnx.defs.get_schema(op_type, self.opset, "")
            node = helper.make_node(op_type, inputs, names, name=title, **attributes)
            results = self._evaluated(node)
        except UnfitError:
            raise
        except Exception as error:  # the evaluator raises anything
            raise UnfitError(f"{op_type}: {error!r}") from error
        if not all(_fits(np.asarray(v)) for v in results):
            raise UnfitError(op_type)
        self.nodes.append(node)
        for name, value in zip(names, results, strict=True):
            self.values[name] = np.asarray(value)
            if self.values[name].dtype.kind == "f":
                self.pool.append(name)
        return names[0]

    def _evaluated(self, node: NodeProto) -> list[Any]:
        seen = {n: np.asarray(v) for n, v in self.values.items()}
        if not any(a.type == onnx.AttributeProto.GRAPH for a in node.attribute):
            seen = {n: seen[n] for n in node.input if n}
        inputs = [_info(n, v) for n, v in seen.items()]
        results = [onnx.ValueInfoProto(name=n) for n in node.output]
        graph = helper.make_graph([node], "node", inputs, results)
        imports = [helper.make_opsetid("", self.opset)]
        model = in_double(helper.make_model(graph, opset_imports=imports, ir_version=10))
        with np.errstate(all="ignore"):
            return list(ReferenceEvaluator(model, new_ops=BETTER_OPS).run(None, seen))

    def closed(self, name: str, inputs: Sequence[str], outputs: Sequence[str]) -> GraphProto:
        """Return the scope as a subgraph; shapes are declared or not."""
        shaped = self.chance(0.5)
        made = [_single(n, self.values[n], shaped) for n in inputs]
        given = [_single(n, self.values[n], shaped) for n in outputs]
        return helper.make_graph(self.nodes, name, made, given)


def _fits(value: np.ndarray) -> bool:
    if not 0 < value.size <= ELEMENTS or value.ndim > 6:
        return False
    return bool(np.isfinite(value).all() and np.abs(value.astype(float)).max() <= LARGEST)


def _info(name: str, value: np.ndarray) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    return helper.make_tensor_value_info(name, kind, value.shape)


def _single(name: str, value: np.ndarray, shaped: bool) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    kind = TensorProto.FLOAT if kind == TensorProto.DOUBLE else kind
    return helper.make_tensor_value_info(name, kind, value.shape if shaped else None)


def build(scope: Scope, inputs: Sequence[str], outputs: Sequence[str]) -> ModelProto:
    """Return the main scope as a model whose weights may be inputs too."""
    weights = scope.model.weights
    given = [_single(n, scope.values[n], True) for n in inputs]
    given += [_single(n, weights[n], True) for n in scope.model.fed]
    model = graph_model(scope.nodes, given, outputs, opset=scope.opset, initializers=weights)
    for info in model.graph.output:  # of a Loop's output no inference knows even the rank
        info.CopyFrom(_single(info.name, scope.values[info.name], True))
    return model


def grow(scope: Scope, nodes: int, *, nested: bool) -> None:
    """Add ``nodes`` random families to a scope, with subgraphs or not.

    Raises:
        UnfitError: None of many fitted.
    """
    grown = 0
    for _ in range(20 * nodes):
        added = scope.one_of(CONTROL if nested and scope.chance(0.12) else FAMILIES)
        try:
            added(scope)
        except UnfitError:
            continue
        grown += 1
        if grown == nodes:
            return
    if not grown:
        raise UnfitError


def axis_of(scope: Scope, name: str) -> int:
    """Return an axis of a tensor; from opset 11 on it may be negative."""
    rank = len(scope.shape(name))
    if not rank:
        raise UnfitError
    axis = int(scope.rng.integers(rank))
    return axis - rank if scope.opset >= 11 and scope.chance(0.5) else axis
