"""Which operators have a gradient and of what kind: of all that are known, or of a model's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import onnx

from onnxcam.analysis.layers.path import path
from onnxcam.analysis.layers.score import reduction
from onnxcam.analysis.layout import opened
from onnxcam.autodiff.expand import has_definition
from onnxcam.autodiff.registry import STANDARD, limited, lookup, nondiff_reason, refusal, table
from onnxcam.autodiff.rules.contrib import by_definition
from onnxcam.errors import bounded
from onnxcam.graph import ir
from onnxcam.graph.bodies import bodies
from onnxcam.graph.contrib import defined
from onnxcam.model.model import Model

Kind: TypeAlias = Literal["rule", "expanded", "straight-through", "zero", "none"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MEANING: dict[Kind, str] = {
    "rule": "has a gradient rule of its own",
    "expanded": "is defined by other operators, and the definition is differentiated",
    "straight-through": "rounds; the gradient passes as if it did not",
    "zero": "has the derivative zero, by definition or almost everywhere",
    "none": "is refused: choose a feature layer behind it, pass a rule for it in `overrides`, or "
    "use a sampling method",
}
_ROUNDING = {(domain, name) for domain, name, definition in defined() if definition.rounds}


@dataclass(frozen=True)
class Coverage:
    """What the gradient of an operator is.

    Attributes:
        domain: Operator domain, "" for the standard one.
        op_type: Operator type.
        kind: One of KINDS.
        reason: Why the derivative is zero or is not given; for the other kinds which nodes are
            refused, "" where none is.
    """

    domain: str
    op_type: str
    kind: Kind
    reason: str = ""

    @property
    def name(self) -> str:
        """The operator with its domain, where that is not the standard one."""
        return f"{self.domain}::{self.op_type}" if self.domain else self.op_type

    def as_dict(self) -> dict[str, object]:
        """Return what JSON can hold."""
        return {
            "domain": self.domain or "ai.onnx",
            "op": self.op_type,
            "gradient": self.kind,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Usage:
    """How a model uses an operator.

    Attributes:
        coverage: What the gradient of the operator is.
        nodes: Nodes of it in the model, those in subgraphs among them.
        on_path: Those between the input and the score. A subgraph counts as its node does.
    """

    coverage: Coverage
    nodes: int
    on_path: int

    @property
    def blocks(self) -> bool:
        """Whether it keeps gradients from what lies before it."""
        return self.coverage.kind == "none" and self.on_path > 0

    def as_dict(self) -> dict[str, object]:
        """Return what JSON can hold."""
        return {**self.coverage.as_dict(), "nodes": self.nodes, "on_path": self.on_path}


def coverage(domain: str, op_type: str, opset: int) -> Coverage:
    """Tell what the gradient of an operator is.

    Args:
        domain: Operator domain, "" for the standard one.
        op_type: Operator type.
        opset: Version of that domain.
    """
    zero = nondiff_reason(domain, op_type)
    if zero is not None:
        return Coverage(domain, op_type, "zero", zero)
    entry = lookup(domain, op_type, opset)
    if entry is not None:
        rounds = entry.straight_through or (domain, op_type) in _ROUNDING
        lowered = entry.rule is by_definition
        kind: Kind = "straight-through" if rounds else "expanded" if lowered else "rule"
        limits = limited(domain, op_type)
        return Coverage(domain, op_type, kind, f"but refused {limits}" if limits else "")
    why = refusal(domain, op_type)
    if why is None and has_definition(domain, op_type, opset):
        return Coverage(domain, op_type, "expanded")
    return Coverage(domain, op_type, "none", why or "there is no rule for it")


def known() -> list[Coverage]:
    """Return every operator of ONNX's newest opsets and of onnxcam's tables, by domain and name."""
    newest = _newest()
    names = {(s.domain, s.name) for s in onnx.defs.get_all_schemas() if not s.deprecated}
    names |= {(domain, name) for domain, name, _ in table()}
    return [coverage(domain, name, newest.get(domain, 1)) for domain, name in sorted(names)]


def refusals() -> dict[tuple[str, str], str]:
    """Return why operators are refused, by domain and operator type."""
    return {(c.domain, c.op_type): c.reason for c in known() if c.kind == "none"}


@bounded("the model cannot be looked through")
def of_model(model: Model, *, reduction_layer: str | None = None) -> list[Usage]:
    """Return the operators of a model and how often they stand on the path to the score.

    Args:
        model: The model.
        reduction_layer: Name of the tensor to take the score from; None chooses it.

    Raises:
        ModelError: The model has no float output, or no input to explain.
        UsageError: There is no tensor of the name given.
    """
    draft, known_layouts = opened(model)
    score = draft.tensor(reduction(draft.graph, draft, reduction_layer, known_layouts).name)
    passed = {id(n) for n in path(draft.graph, score, known_layouts)[0]}
    counts: dict[tuple[str, str], list[int]] = {}
    for node in draft.graph.nodes:
        for each in _with_inner([node]):
            found = counts.setdefault((each.domain or STANDARD, each.op), [0, 0])
            found[0] += 1
            found[1] += id(node) in passed
    opsets = draft.op.opsets
    return [
        Usage(coverage(domain, name, opsets.get(domain, 1)), nodes, on_path)
        for (domain, name), (nodes, on_path) in sorted(counts.items())
    ]


def _with_inner(nodes: Iterable[ir.Node]) -> Iterator[ir.Node]:
    for node in nodes:
        yield node
        for body in bodies(node).values():
            yield from _with_inner(body.nodes)


def _newest() -> dict[str, int]:
    """Return the newest version of every domain that onnx has schemas of."""
    found: dict[str, int] = {}
    for schema in onnx.defs.get_all_schemas():
        found[schema.domain] = max(found.get(schema.domain, 1), schema.since_version)
    return found
