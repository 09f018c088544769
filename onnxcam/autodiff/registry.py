"""The table of gradient rules, and what a rule gets to see of a node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from onnxcam.graph import ops
from onnxcam.graph.contrib import definitions
from onnxcam.graph.emit import Emitter, Tensor, const_value
from onnxcam.graph.registry import Registry, Source, caller, is_own

Rule: TypeAlias = Callable[..., Any]
Key: TypeAlias = tuple[str, str]  # domain and operator type
STANDARD = ""
MICROSOFT = "com.microsoft"
_DISCRETE = {"tensor(int32)", "tensor(int64)", "tensor(bool)"}


@dataclass(frozen=True)
class Entry:
    """A rule in the table.

    Attributes:
        rule: ``rule(op, node, *dys)`` -> one gradient per input (None: none flows there).
        since: First opset version of the domain that it holds for.
        broadcasts: The operator broadcasts its inputs: the engine sums the gradients back.
        straight_through: The rule lets a gradient through a rounding to integers.
    """

    rule: Rule
    since: int
    broadcasts: bool = False
    straight_through: bool = False


_SOURCE = Source("onnxcam.autodiff.rules", "onnxcam.rules")
_RULES: Registry[Key, list[Entry]] = Registry("rules", _SOURCE)
_NONDIFF: Registry[Key, str] = Registry("zeros", _SOURCE)
_REFUSED: Registry[Key, str] = Registry("refusals", _SOURCE)
_LIMITS: Registry[Key, str] = Registry("limits", _SOURCE)
_FALLBACKS: list[tuple[Callable[[NodeView], bool], Entry]] = []


def vjp(
    *names: str,
    since: int = 1,
    domain: str = STANDARD,
    broadcasts: bool = False,
    straight_through: bool = False,
) -> Callable[[Rule], Rule]:
    """Enter a rule for one or more operators.

    Args:
        names: Operator types.
        since: First opset version of the domain that the rule holds for; of several rules the
            newest that is not too new is taken.
        domain: Operator domain; "" is the standard one.
        broadcasts: The engine shall sum gradients back over broadcast dimensions.
        straight_through: The rule differentiates through a rounding (straight-through estimator).

    Returns:
        A decorator that returns the rule unchanged.
    """

    def enter(rule: Rule) -> Rule:
        for name in names:
            entries = _RULES.entries.setdefault((domain, name), [])
            if any(e.since == since for e in entries):
                raise ValueError(f"two rules for {domain}::{name} since {since}")
            entries.append(Entry(rule, since, broadcasts, straight_through))
            entries.sort(key=lambda e: e.since)
        return rule

    return enter


def nondiff(*names: str, domain: str = STANDARD, why: str) -> None:
    """Enter operators whose derivative is zero (almost everywhere) by definition."""
    for name in names:
        _NONDIFF.enter((domain, name), why, caller())


def refuse(*names: str, domain: str = STANDARD, why: str) -> None:
    """Enter operators that have a derivative which onnxcam does not give, with the reason."""
    for name in names:
        _REFUSED.enter((domain, name), why, caller())


def limit(*names: str, domain: str = STANDARD, why: str) -> None:
    """Enter operators with a rule that refuses some nodes: "in training mode without its mask"."""
    for name in names:
        _LIMITS.enter((domain, name), why, caller())


def fallback(applies: Callable[[NodeView], bool]) -> Callable[[Rule], Rule]:
    """Enter a rule for operators that have none and are not refused.

    Args:
        applies: Whether it holds for a node.
    """

    def enter(rule: Rule) -> Rule:
        _FALLBACKS.append((applies, Entry(rule, 1)))
        return rule

    return enter


def fallback_for(view: NodeView) -> Entry | None:
    """Return the first fallback that holds for a node without a rule, None where none does."""
    load_rules()
    if refusal(view.domain, view.op_type) is not None:
        return None
    return next((entry for applies, entry in _FALLBACKS if applies(view)), None)


def lookup(domain: str, op_type: str, opset: int) -> Entry | None:
    """Return the rule of an operator at an opset version, or None."""
    entries = _RULES.get((_standard(domain), op_type)) or ()
    fitting = [e for e in entries if e.since <= opset]
    return fitting[-1] if fitting else None


def nondiff_reason(domain: str, op_type: str) -> str | None:
    """Return why the derivative of an operator is zero by definition, or None."""
    return _NONDIFF.get((_standard(domain), op_type))


def refusal(domain: str, op_type: str) -> str | None:
    """Return why an operator is refused on purpose, or None."""
    return _REFUSED.get((_standard(domain), op_type))


def limited(domain: str, op_type: str) -> str | None:
    """Return which nodes of an operator with a rule are refused, or None."""
    return _LIMITS.get((_standard(domain), op_type))


def schema_of(domain: str | None, op_type: str, opset: int) -> onnx.defs.OpSchema | None:
    """Return the schema of an operator at an opset version, None where onnx does not know it."""
    try:
        return onnx.defs.get_schema(op_type, opset, _standard(domain))
    except onnx.defs.SchemaError:
        return None


def is_discrete(schema: onnx.defs.OpSchema | None, side: str, index: int) -> bool:
    """Tell whether an operator admits only indices, counts or conditions in one place.

    Args:
        schema: Its schema.
        side: "inputs" or "outputs".
        index: Number of the input or output.
    """
    formals = getattr(schema, side, ())
    types = set(formals[min(index, len(formals) - 1)].types) if formals else set()
    # An int32 and nothing else is a quantised bias or sum.
    return bool(types) and types <= _DISCRETE and types != {"tensor(int32)"}


def load_rules() -> None:
    """Import every file in ``rules/`` and every plug-in, which enter their rules."""
    _SOURCE.load()


def is_foreign(function: Callable[..., Any]) -> bool:
    """Tell whether a rule or a method is not onnxcam's own."""
    return not is_own(function.__module__)


def extended() -> bool:
    """Tell whether anything that a gradient depends on is not onnxcam's own."""
    rules = [e.rule for _, entries in _RULES.items() for e in entries]
    rules += [entry.rule for _, entry in _FALLBACKS]
    tables = any(table.extended for table in (_NONDIFF, _REFUSED, _LIMITS))
    return tables or definitions.extended() or ops.extended() or any(map(is_foreign, rules))


def _standard(domain: str | None) -> str:
    return STANDARD if domain in (None, "ai.onnx") else domain


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
        overrides: Other rules that are in force, for rules that differentiate graphs themselves.
        asked: Ids of the tensors whose own gradient is asked for, for rules that would pass one.
    """

    def __init__(self, node: gs.Node, opset: int, captures: Sequence[Tensor] = ()) -> None:
        self.raw = node
        self.op_type: str = node.op
        self.domain = _standard(node.domain)
        self.opset = opset
        self.outputs: list[Tensor] = _given(node.outputs)
        self.name: str = node.name or next((t.name for t in node.outputs if t.name), node.op)
        self.explicit = len(node.inputs)
        self.captures = list(captures)
        self.inputs: list[Tensor] = _given(node.inputs) + self.captures
        self.overrides: Mapping[str, Rule] = {}
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
        if isinstance(value, gs.Constant):
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

    @property
    def schema(self) -> onnx.defs.OpSchema | None:
        """The operator's schema at the model's opset, None where onnx does not know it."""
        return schema_of(self.domain, self.op_type, self.opset)

    def emit_forward(self, op: Emitter, inputs: Sequence[Any], **changed: Any) -> Any:
        """Emit this node again with other inputs (and attributes)."""
        attributes = {**self.raw.attrs, **changed}
        return op.call(
            self.op_type, inputs, attributes, outputs=len(self.outputs), domain=self.domain
        )


def _given(tensors: Sequence[Tensor]) -> list[Any]:
    """Return tensors with None for those that are omitted."""
    return [t if t.name else None for t in tensors]


def table() -> Iterable[tuple[str, str, str]]:
    """Yield (domain, operator, "rule" | "straight-through" | "zero" | "refused")."""
    for (domain, name), entries in _RULES.items():
        yield domain, name, "straight-through" if entries[-1].straight_through else "rule"
    for (domain, name), _ in _NONDIFF.items():
        yield domain, name, "zero"
    for (domain, name), _ in _REFUSED.items():
        yield domain, name, "refused"
