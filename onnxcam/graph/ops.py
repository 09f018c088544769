"""What an operator is, stated once: elementwise, an activation, a pool, moves values, random ...

Everything that has to know a kind of operators asks here: layout, layers, engine, passes. An
operator of one's own is described with :func:`describe`; a package that brings some names the
module that does so as an entry point of the group ``onnxcam.traits``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

from onnxcam.graph.operators import DATA, FIRST, IMPLIED, TABLE, Trait
from onnxcam.graph.registry import Registry, Source, caller

__all__ = [
    "Trait", "data_inputs", "describe", "described", "extended", "has", "named", "traits_of",
]  # fmt: skip
_T = TypeVar("_T")
_NONE: frozenset[Trait] = frozenset()
_SOURCE = Source(__name__, "onnxcam.traits")
_TRAITS: Registry[tuple[str, str], frozenset[Trait]] = Registry("operators", _SOURCE)


class GraphNode(Protocol):
    """A node as onnx-graphsurgeon has it."""

    op: str
    domain: str | None


class ProtoNode(Protocol):
    """A node as ONNX has it, or as a rule sees it."""

    op_type: str
    domain: str


def describe(*names: str, domain: str, traits: Sequence[Trait]) -> None:
    """Say what operators are.

    Args:
        names: Operator types.
        domain: Operator domain; "" is the standard one.
        traits: What they are; what follows from these need not be named.

    Raises:
        ValueError: One of them is described already.
    """
    module = caller()
    for name in names:
        _TRAITS.enter((_standard(domain), name), frozenset(_with_implied(traits)), module)


def traits_of(domain: str | None, op_type: str) -> frozenset[Trait]:
    """Return what an operator is; nothing for one that is not described."""
    key = (_standard(domain), op_type)
    known = _TRAITS.entries.get(key)  # the plug-ins are not searched for an operator of our own
    return (_TRAITS.get(key) or _NONE) if known is None else known


def has(node: GraphNode | ProtoNode, *traits: Trait) -> bool:
    """Tell whether the operator of a node has one of some traits.

    Args:
        node: A node: of onnx-graphsurgeon, of ONNX, or as a rule sees it.
        traits: The traits.
    """
    op_type = node.op_type if hasattr(node, "op_type") else node.op
    return not traits_of(node.domain, op_type).isdisjoint(traits)


def named(*traits: Trait, domain: str = "") -> frozenset[str]:
    """Return the operators of a domain that have one of some traits."""
    return frozenset(
        name
        for (place, name), its in _TRAITS.items()
        if place == domain and not its.isdisjoint(traits)
    )


def data_inputs(node: GraphNode | ProtoNode, inputs: Sequence[_T]) -> list[_T]:
    """Return those inputs of a node that hold data: no weights, scales, shapes or limits.

    Of an elementwise operator these are the operands that are broadcast together, of a product
    its two factors, of a join the parts, else the first input.

    Args:
        node: A node.
        inputs: What stands for each of its inputs: the tensors, their shapes, their numbers.
    """
    op_type = getattr(node, "op_type", None) or node.op  # type: ignore[union-attr]
    several = has(node, Trait.ELEMENTWISE, Trait.JOINS)
    return list(inputs[DATA.get(op_type, slice(None) if several else FIRST)])


def described() -> Iterator[tuple[str, str, frozenset[Trait]]]:
    """Yield domain, operator type and traits of every operator that is described."""
    for (domain, name), traits in _TRAITS.items():
        yield domain, name, traits


def extended() -> bool:
    """Tell whether there are operators that onnxcam itself does not describe."""
    return _TRAITS.extended


def _standard(domain: str | None) -> str:
    return "" if domain is None or domain == "ai.onnx" else domain


def _with_implied(traits: Sequence[Trait]) -> Iterator[Trait]:
    for trait in traits:
        yield trait
        yield from _with_implied(IMPLIED.get(trait, ()))


def _describe_own() -> None:
    for domain, kinds in TABLE.items():
        traits: dict[str, list[Trait]] = {}
        for trait, names in kinds.items():
            for name in names.split():
                traits.setdefault(name, []).append(trait)
        for name, its in traits.items():
            describe(name, domain=domain, traits=its)


_describe_own()
