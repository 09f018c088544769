"""What a rule gets to see of a node, and what may take its place: overrides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import onnx

from onnxcam.autodiff.route import Route
from onnxcam.graph import ir
from onnxcam.graph.emit import Emitter, Tensor, const_value

Rule: TypeAlias = Callable[..., Any]
Predicate: TypeAlias = "Callable[[NodeView], bool]"
STANDARD = ""


@dataclass(frozen=True)
class Override:
    """Another rule for some nodes in one backward pass.

    Attributes:
        applies: Which nodes it is for.
        rule: ``rule(op, node, *dys, **parameters)`` -> one gradient per input, as any rule.
        parameters: What the rule takes besides: ``{"epsilon": 1e-6}``.
        where: Where it holds. This is asked of the nodes of the outermost graph only: what is in
            a body or a definition lies where its node does.
        what: What it is for, in words: "ReLU".
        revives: Whether it holds for operators whose derivative is zero by definition, too: what
            they return then counts as differentiable. Their inputs' side of the route is known
            when ``applies`` is asked, not yet what lies behind them.
    """

    applies: Predicate
    rule: Rule
    parameters: Mapping[str, Any] = field(default_factory=dict)
    where: Predicate | None = None
    what: str = ""
    revives: bool = False

    def matches(self, node: NodeView) -> bool:
        """Tell whether it is for this node, at this place."""
        return self.applies(node) and (self.where is None or self.where(node))

    def inside(self, node: NodeView) -> Override | None:
        """Return what it is inside a node: it holds everywhere, or not at all."""
        if self.where is None:
            return self
        return replace(self, where=None) if self.where(node) else None


@dataclass(frozen=True)
class Overrides:
    """Other rules, in order: of those that match a node the first is taken.

    Attributes:
        items: The overrides.
        origins: What copied nodes are copies of, by name.
        complete: Whether they say what becomes of every gradient, so that they mean something
            where they change none.
        must: What one of them is for, in its words, that there has to be; "" for nothing.
    """

    items: tuple[Override, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)
    complete: bool = False
    must: str = ""

    def __bool__(self) -> bool:
        """Tell whether there is any."""
        return bool(self.items)

    def first(self, node: NodeView, *, zero: bool = False) -> Override | None:
        """Return the override of a node, None where it keeps its own rule.

        Args:
            node: The node.
            zero: The derivative of its operator is zero by definition.
        """
        return next((o for o in self.items if (o.revives or not zero) and o.matches(node)), None)

    def inside(self, node: NodeView, copies: Mapping[str, str] | None = None) -> Overrides:
        """Return the overrides that hold in the body or the definition of a node.

        Args:
            node: The node.
            copies: Names of nodes there that are copies, and the names of what they are copies of.
        """
        inner = [o.inside(node) for o in self.items]
        names = {new: self.origins.get(old, old) for new, old in (copies or {}).items()}
        return Overrides(tuple(o for o in inner if o is not None), names)


class NodeView:
    """What a rule sees of a forward node.

    Attributes:
        op_type: Operator type.
        domain: Operator domain, "" for the standard one.
        opset: Version of that domain in the model.
        name: Node name, or that of its first output.
        inputs: Input tensors, None where an optional one is omitted; a rule knows which of its
            inputs may be, and the type leaves it out (that of ``input(i)`` says it). For nodes
            with subgraphs the ``captures`` follow.
        outputs: Output tensors, None where one is omitted; as with ``inputs``.
        captures: Outer tensors that the subgraphs of the node use and that are differentiated.
        raw: The onnx-graphsurgeon node.
        overrides: Other rules that are in force.
        route: What lies around the node, for predicates and rules that look there.
        asked: Ids of the tensors whose own gradient is asked for, for rules that would pass one.
    """

    def __init__(self, node: ir.Node, opset: int, captures: Sequence[Tensor] = ()) -> None:
        self.raw = node
        self.op_type: str = node.op
        self.domain = standard(node.domain)
        self.opset = opset
        self.outputs: list[Tensor] = _given(node.outputs)
        self.name: str = node.name or next((t.name for t in node.outputs if t.name), node.op)
        self.explicit = len(node.inputs)
        self.captures = list(captures)
        self.inputs: list[Tensor] = _given(node.inputs) + self.captures
        self.overrides = Overrides()
        self.route = Route()
        self.asked: frozenset[int] = frozenset()
        self._wanted: set[int] = set()

    def input(self, index: int) -> Tensor | None:
        """Return an input, None where it is omitted."""
        return self.inputs[index] if index < self.explicit else None

    def output(self, index: int) -> Tensor | None:
        """Return an output, None where it is omitted."""
        return self.outputs[index] if index < len(self.outputs) else None

    def attr(self, name: str, default: Any = None) -> Any:
        """Return an attribute: its value, else the schema's default, else ``default``.

        Tensors come as NumPy arrays, subgraphs as graphsurgeon graphs.
        """
        value = self.raw.attrs.get(name)
        if isinstance(value, ir.Constant):
            return np.asarray(value.values)
        if value is not None:
            return value
        schema = self.schema
        if schema is not None and name in schema.attributes:
            stated = schema.attributes[name].default_value
            if stated.type != onnx.AttributeProto.UNDEFINED:
                found = onnx.helper.get_attribute_value(stated)
                if isinstance(found, list):
                    return [f.decode() if isinstance(f, bytes) else f for f in found]
                return found.decode() if isinstance(found, bytes) else found
        return default

    def const(self, index: int) -> np.ndarray[Any, Any] | None:
        """Return the value of an input that is a constant, else None."""
        return const_value(self.input(index))

    def setting(self, name: str, index: int, default: Any = None) -> Any:
        """Return what is an attribute in old opsets and an input in new ones.

        Returns:
            The attribute's value where there is one, a NumPy array for a constant input, the
            tensor for a computed one, else ``default``.
        """
        if name in self.raw.attrs:
            return self.attr(name)
        tensor = self.input(index)
        if tensor is None or self.schema is None or name in self.schema.attributes:
            return self.attr(name, default)
        value = const_value(tensor)
        return tensor if value is None else value

    def type_of(self, index: int) -> str | None:
        """Return the schema's type variable of an input ("T"), None where there is none."""
        schema = self.schema
        if schema is None or not schema.inputs or index >= self.explicit:
            return None
        return str(schema.inputs[min(index, len(schema.inputs) - 1)].type_str)

    def wants(self, index: int) -> bool:
        """Tell whether the gradient of this input is asked for."""
        return index in self._wanted

    def wanted_as(self, other: NodeView) -> None:
        """Ask for the gradients that are asked for of another node of the same kind."""
        self._wanted = set(other._wanted)

    @property
    def schema(self) -> onnx.defs.OpSchema | None:
        """The operator's schema at the model's opset, None where onnx does not know it."""
        return schema_of(self.domain, self.op_type, self.opset)

    @property
    def origin(self) -> str:
        """The name that the node has in the model, also where this is a copy of it."""
        return self.overrides.origins.get(self.raw.name, str(self.raw.name))

    def beside(self, node: ir.Node) -> NodeView:
        """Return the view of another node of the same walk (and of the same domain)."""
        view = NodeView(node, self.opset)
        view.overrides, view.route, view.asked = self.overrides, self.route, self.asked
        return view

    def emit_forward(self, op: Emitter, inputs: Sequence[Any], **changed: Any) -> Any:
        """Emit this node again with other inputs (and attributes)."""
        attributes = {**self.raw.attrs, **changed}
        return op.call(
            self.op_type, inputs, attributes, outputs=len(self.outputs), domain=self.domain
        )


def _given(tensors: Sequence[Tensor]) -> list[Any]:
    """Return tensors with None for those that are omitted."""
    return [t if t.name else None for t in tensors]


def schema_of(domain: str | None, op_type: str, opset: int) -> onnx.defs.OpSchema | None:
    """Return the schema of an operator at an opset version, None where onnx does not know it."""
    try:
        return onnx.defs.get_schema(op_type, opset, standard(domain))
    except onnx.defs.SchemaError:
        return None


def standard(domain: str | None) -> str:
    """Return the name of a domain: "" for the standard one, which has two."""
    return STANDARD if domain in (None, "ai.onnx") else domain
