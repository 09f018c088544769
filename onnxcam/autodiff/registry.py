"""The table of gradient rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import onnx

from onnxcam.autodiff.view import STANDARD, NodeView, Rule, schema_of, standard
from onnxcam.graph import ops
from onnxcam.graph.contrib import definitions
from onnxcam.graph.registry import Registry, Source, caller, is_own

__all__ = [
    "MICROSOFT", "STANDARD", "Entry", "Key", "NodeView", "Rule", "extended", "fallback",
    "fallback_for", "is_discrete", "is_foreign", "limit", "limited", "load_rules", "lookup",
    "nondiff", "nondiff_reason", "refusal", "refuse", "schema_of", "table", "vjp",
]  # fmt: skip
Key: TypeAlias = tuple[str, str]  # domain and operator type
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
    entries = _RULES.get((standard(domain), op_type)) or ()
    fitting = [e for e in entries if e.since <= opset]
    return fitting[-1] if fitting else None


def nondiff_reason(domain: str, op_type: str) -> str | None:
    """Return why the derivative of an operator is zero by definition, or None."""
    return _NONDIFF.get((standard(domain), op_type))


def refusal(domain: str, op_type: str) -> str | None:
    """Return why an operator is refused on purpose, or None."""
    return _REFUSED.get((standard(domain), op_type))


def limited(domain: str, op_type: str) -> str | None:
    """Return which nodes of an operator with a rule are refused, or None."""
    return _LIMITS.get((standard(domain), op_type))


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
    rules = [e.rule for entries in _RULES.entries.values() for e in entries]
    rules += [entry.rule for _, entry in _FALLBACKS]
    tables = any(table.extended for table in (_NONDIFF, _REFUSED, _LIMITS))
    return tables or definitions.extended() or ops.extended() or any(map(is_foreign, rules))


def table() -> Iterable[tuple[str, str, str]]:
    """Yield (domain, operator, "rule" | "straight-through" | "zero" | "refused")."""
    for (domain, name), entries in _RULES.items():
        yield domain, name, "straight-through" if entries[-1].straight_through else "rule"
    for (domain, name), _ in _NONDIFF.items():
        yield domain, name, "zero"
    for (domain, name), _ in _REFUSED.items():
        yield domain, name, "refused"
