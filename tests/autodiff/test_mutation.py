"""Every rule is held by gradient checks: where what it gives an input is 3 % off, one fails.

The checks are the rows of the other tests' tables, found by the operator of the row, then ONNX's
own node tests, and for what neither has single tests named here. A check counts only where it
passes as long as the rule is as it is.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import (
    contrib_case,
    reference_loops,  # noqa: F401
    reference_repairs,  # noqa: F401
    rule_cases,
)
from support.gradcheck import check_gradient
from support.node_cases import node_cases

from onnxcam.autodiff import expand, registry
from onnxcam.autodiff.control.sequences import each
from onnxcam.autodiff.coverage import known
from onnxcam.autodiff.registry import MICROSOFT
from onnxcam.errors import OnnxcamError
from onnxcam.graph.emit import Emitter, Tensor, is_sequence
from onnxcam.graph.ops import Trait, traits_of

pytestmark = pytest.mark.exhaustive

FACTOR = 1.03
ENOUGH, MOST = 2, 12  # checks that are made for a rule: after so many all may be seen, or not
LARGE = 2000  # elements of the inputs of a node test: more take too long
FAILURES = (AssertionError, OnnxcamError, NotImplementedError, RuntimeError, pytest.skip.Exception)
Key = tuple[str, str]
Check = Callable[[], Any]

registry.load_rules()
REFUSES = {("", "Scan", 1)}  # this rule only says why it gives nothing
RULES = {(*key, e.since) for key, entries in registry._RULES.items() for e in entries} - REFUSES
# Loading writes these in other operators, so that their rules have nothing to do here.
RULES = {
    (domain, op_type, since)
    for domain, op_type, since in RULES
    if domain != "com.microsoft.nchwc" and Trait.WITHDRAWN not in traits_of(domain, op_type)
}
EXPANDED = [(c.domain, c.op_type) for c in known() if c.kind == "expanded"]
EXPANDED = [key for key in EXPANDED if key not in registry._RULES.entries]


@pytest.mark.parametrize(("domain", "op_type", "since"), sorted(RULES))
def test_a_rule_that_is_3_percent_off_is_caught(domain: str, op_type: str, since: int) -> None:
    _is_caught((domain, op_type), lambda change: _rule((domain, op_type), since, change))


@pytest.mark.parametrize(("domain", "op_type"), EXPANDED)
def test_a_definition_that_is_3_percent_off_is_caught(domain: str, op_type: str) -> None:
    _is_caught((domain, op_type), lambda change: _definition((domain, op_type), change))


def _is_caught(key: Key, changed: Callable[[Change], AbstractContextManager[None]]) -> None:
    """Fail where the gradient of an input may be 3 % off without that a check fails."""
    checks = [*_rows().get(key, ()), *_node_tests().get(key, ()), *_others().get(key, ())]
    assert checks, f"no gradient check for {key}: give it a row in a table of cases"
    given: set[int] = set()
    caught: set[int] = set()
    for count, check in enumerate(checks[:MOST]):
        here = Change()
        if _fails(check, changed(here)):
            continue
        given |= here.given
        for place in here.given - caught:
            off, right = Change(place, FACTOR), Change(place, 1.0)
            if _fails(check, changed(off)) and not _fails(check, changed(right)):
                caught.add(place)
        if given and given <= caught and count >= ENOUGH:
            break
    assert given, f"none of {len(checks[:MOST])} checks of {key} gets a gradient from it"
    missed = given - caught
    assert not missed, f"checks of {key} pass where the gradient of input {missed} is 3 % off"


def _fails(check: Check, changed: AbstractContextManager[None]) -> bool:
    with changed, np.errstate(all="ignore"):
        try:
            check()
        except FAILURES:
            return True
    return False


# ---- mutations


@dataclass
class Change:
    """A change of a rule.

    Attributes:
        place: Number of the input whose gradient is scaled; None changes nothing.
        factor: What it is scaled by.
        given: Inputs that the rule gave a gradient that was asked for.
    """

    place: int | None = None
    factor: float = 1.0
    given: set[int] = field(default_factory=set)

    def of(self, rule: registry.Rule) -> registry.Rule:
        """Return the rule with this change."""

        def changed(op: Emitter, node: registry.NodeView, *dys: Any) -> list[Tensor | None]:
            made = rule(op, node, *dys)
            grads = list(made) if isinstance(made, list | tuple) else [made]
            self.given |= {i for i, dx in enumerate(grads) if dx is not None and node.wants(i)}
            return [
                _product(op, dx, self.factor) if i == self.place and dx is not None else dx
                for i, dx in enumerate(grads)
            ]

        return changed


@contextmanager
def _rule(key: Key, since: int, change: Change) -> Iterator[None]:
    """Change a rule of the registry."""
    entries = registry._RULES.entries[key]
    place = next(i for i, e in enumerate(entries) if e.since == since)
    old = entries[place]
    entries[place] = replace(old, rule=change.of(old.rule))
    try:
        yield
    finally:
        entries[place] = old


@contextmanager
def _definition(key: Key, change: Change) -> Iterator[None]:
    """Change what comes of differentiating ONNX's definition of an operator."""
    place, (applies, old) = next(
        (i, each) for i, each in enumerate(registry._FALLBACKS) if each[1].rule is expand.expanded
    )
    other = change.of(old.rule)

    def chosen(op: Emitter, node: registry.NodeView, *dys: Any) -> Any:
        return (other if (node.domain, node.op_type) == key else old.rule)(op, node, *dys)

    registry._FALLBACKS[place] = (applies, replace(old, rule=chosen))
    try:
        yield
    finally:
        registry._FALLBACKS[place] = (applies, old)


def _product(op: Emitter, dx: Tensor, factor: float) -> Tensor:
    if is_sequence(dx):
        return each(op, lambda child, x: child.Mul(x, factor), dx)
    return op.Mul(dx, factor)


# ---- checks, those of most inputs first, and the smaller before the larger


@functools.cache
def _rows() -> dict[Key, list[Check]]:
    """Return a check of every row of the tables in the tests of this folder."""
    found: dict[Key, list[Any]] = {}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        if path.stem == "test_mutation":
            continue
        for table in vars(importlib.import_module(path.stem)).values():
            for row in _listed(table):
                if isinstance(row, rule_cases.Case):
                    _enter(found, ("", row.op), row.feeds, row.check)
                elif isinstance(row, contrib_case.Case):
                    key = row.domain, row.op_type
                    _enter(found, key, row.feeds, functools.partial(_foreign, row))
    return _sorted(found)


def _listed(table: Any) -> list[Any]:
    return list(table.values() if isinstance(table, dict) else table
                if isinstance(table, list | tuple) else [table])  # fmt: skip


def _foreign(case: contrib_case.Case) -> None:
    """Check a row of the tables of ONNX Runtime's operators as its own tests do."""
    module = importlib.import_module("test_quantized_gradient")
    if any(case is c for c in module.CASES):
        module.test_operators_against_differences_without_rounding(case, False)
    else:
        module = importlib.import_module("test_contrib_gradient")
        module.test_the_node_has_the_gradient_of_its_definition(case, False)


@functools.cache
def _node_tests() -> dict[Key, list[Check]]:
    """Return a check of every small node test of ONNX's."""
    found: dict[Key, list[Any]] = {}
    for case in node_cases().values():
        sizes = sum(np.size(v) for v in case.feeds.values())
        if len(case.model.graph.node) == 1 and sizes <= LARGE:
            node = case.model.graph.node[0]
            check = functools.partial(case.check, "published")
            _enter(found, (node.domain, node.op_type), case.feeds, check)
    return _sorted(found)


@functools.cache
def _others() -> dict[Key, list[Check]]:
    """Return checks of what is in no table of rows, or only where nothing changes."""
    foreign = {
        "BiasAdd": "bias add", "BiasSoftmax": "bias softmax", "BiasSplitGelu": "bias split gelu",
        "FusedMatMulActivation": "matmul, activation", "GroupNorm": "group norm",
        "SkipGroupNorm": "skip group norm", "NhwcConv": "conv",
        "NhwcFusedConv": "conv, sum, activation",
    }  # fmt: skip
    foreign_tests = {k: _test("kernelless.test_gradient", name) for k, name in foreign.items()}
    quantised = "contrib_rules.test_quantisation_of_either_domain_has_the_same_gradient"
    foreign_tests |= {k: _test(quantised, k) for k in ("QuantizeLinear", "DequantizeLinear")}
    foreign_tests["QLinearReduceMean"] = _test("kernelless.test_mean_of_integers")
    foreign_tests["Inverse"] = _test("contrib_rules.test_inverse", (3, 3))
    pool = ("GlobalLpPool", {}, (2, 3, 5), "static")
    upsample = ("Upsample", 9, "linear", True, [1.0, 1.0, 1.0, 1.5])
    tests = {
        "Cast": _test("casts.test_cast_between_floats", 11),
        "DynamicQuantizeLinear": _node("dynamicquantizelinear"),
        "GlobalLpPool": _test("pooling.test_global_pools", *pool),
        "GridSample": _test("sampling.test_grid_sample_as_torch", "zeros", "linear", 0),
        "If": _test("control.test_differences", "both branches", False, True),
        "MaxRoiPool": _test("sampling.test_max_roi_pool_finds_the_largest_pixels"),
        "QuantizeLinear": _node("quantizelinear"),
        "Scatter": _test("scatter.test_scatter_of_old_opsets", 10),
        "Upsample": _test("resize.test_old_opsets", *upsample),
    }
    found = {("", k): [check] for k, check in tests.items()}
    found |= {("", op): [_sequence(name, i) for i in (0, 1, -1)] for op, name in SEQUENCES.items()}
    return found | {(MICROSOFT, k): [check] for k, check in foreign_tests.items()}


SEQUENCES = {
    "ConcatFromSequence": "insert, at", "Optional": "optional", "OptionalGetElement": "optional",
    "SequenceAt": "split evenly", "SequenceConstruct": "insert, at", "SequenceErase": "erase",
    "SequenceInsert": "insert, at", "SequenceMap": "map", "SplitToSequence": "split evenly",
}  # fmt: skip


def _sequence(name: str, place: int) -> Check:
    """Return a check of a row of the sequences' tests, at a place that is known."""
    rows = importlib.import_module("test_sequence")
    model = rows._model(rows.CASES[name])
    return functools.partial(check_gradient, model, rows._feeds(place), constant=["i"])


def _node(name: str) -> Check:
    return _test("quantized_node_suite.test_node", name, "published")


def _test(name: str, *arguments: Any) -> Check:
    """Return a test of this folder, with its parameters in their order."""
    module, function = name.split(".")
    return functools.partial(getattr(importlib.import_module(f"test_{module}"), function),
                             *arguments)  # fmt: skip


def _enter(found: Any, key: Key, feeds: Any, check: Check) -> None:
    sizes = [np.size(v) for v in feeds.values() if v is not None]
    found.setdefault(key, []).append(((-len(sizes), sum(sizes)), check))


def _sorted(found: Any) -> dict[Key, list[Check]]:
    return {k: [c for _, c in sorted(v, key=lambda pair: pair[0])] for k, v in found.items()}
