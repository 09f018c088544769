"""Every rule is held by a gradient check: where its result is scaled by 1.03, one fails.

The checks are the rows of the other tests' tables, found by the operator of the row, then ONNX's
own node tests, and for what neither has single tests named here. A check counts only where it
passes as long as the rule is as it is.
"""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import contrib_case
import numpy as np
import pytest
import reference_loops  # noqa: F401
import reference_repairs  # noqa: F401
import rule_cases
from gradcheck import check_gradient
from onnx import ModelProto
from onnx.backend.test.loader import load_model_tests
from variants import FLOATS

from onnxcam.autodiff import expand, registry
from onnxcam.autodiff.coverage import known
from onnxcam.autodiff.registry import MICROSOFT
from onnxcam.autodiff.sequences import each
from onnxcam.emit import Emitter, Tensor, is_sequence
from onnxcam.errors import OnnxcamError

pytestmark = pytest.mark.exhaustive

FACTOR = 1.03
MOST = 12  # checks that are tried for a rule; nearly always the first one will do
LARGE = 2000  # elements of the inputs of a node test: more take too long
FAILURES = (AssertionError, OnnxcamError, NotImplementedError, RuntimeError, pytest.skip.Exception)
Key = tuple[str, str]
Check = Callable[[], Any]

registry.load_rules()
REFUSES = {("", "Scan", 1)}  # this rule only says why it gives nothing
RULES = {(*key, e.since) for key, entries in registry._RULES.items() for e in entries} - REFUSES
EXPANDED = [(c.domain, c.op_type) for c in known() if c.kind == "expanded"]
EXPANDED = [key for key in EXPANDED if key not in registry._RULES]


@pytest.mark.parametrize(("domain", "op_type", "since"), sorted(RULES))
def test_a_rule_that_is_3_percent_off_is_caught(domain: str, op_type: str, since: int) -> None:
    _is_caught((domain, op_type), lambda factor: _rule((domain, op_type), since, factor))


@pytest.mark.parametrize(("domain", "op_type"), EXPANDED)
def test_a_definition_that_is_3_percent_off_is_caught(domain: str, op_type: str) -> None:
    _is_caught((domain, op_type), lambda factor: _definition((domain, op_type), factor))


def _is_caught(key: Key, scaled: Callable[[float], AbstractContextManager[None]]) -> None:
    checks = [*_rows().get(key, ()), *_node_tests().get(key, ()), *_others().get(key, ())]
    assert checks, f"no gradient check for {key}: give it a row in a table of cases"
    for check in checks[:MOST]:
        if _fails(check, scaled(FACTOR)) and not _fails(check, scaled(1.0)):
            return
    pytest.fail(f"{len(checks[:MOST])} checks of {key} pass where its gradient is 3 % off")


def _fails(check: Check, scaled: AbstractContextManager[None]) -> bool:
    with scaled, np.errstate(all="ignore"):
        try:
            check()
        except FAILURES:
            return True
    return False


# ---- mutations


@contextmanager
def _rule(key: Key, since: int, factor: float) -> Iterator[None]:
    """Scale what a rule of the registry returns."""
    entries = registry._RULES[key]
    place = next(i for i, e in enumerate(entries) if e.since == since)
    old = entries[place]
    entries[place] = replace(old, rule=_times(old.rule, factor))
    try:
        yield
    finally:
        entries[place] = old


@contextmanager
def _definition(key: Key, factor: float) -> Iterator[None]:
    """Scale what comes of differentiating ONNX's definition of an operator."""
    old = expand.expanded
    other = _times(old, factor)

    def chosen(op: Emitter, node: registry.NodeView, *dys: Any) -> Any:
        return (other if (node.domain, node.op_type) == key else old)(op, node, *dys)

    expand.expanded = chosen
    try:
        yield
    finally:
        expand.expanded = old


def _times(rule: registry.Rule, factor: float) -> registry.Rule:
    def scaled(op: Emitter, node: registry.NodeView, *dys: Any) -> list[Tensor | None]:
        made = rule(op, node, *dys)
        grads = made if isinstance(made, list | tuple) else [made]
        return [None if dx is None else _product(op, dx, factor) for dx in grads]

    return scaled


def _product(op: Emitter, dx: Tensor, factor: float) -> Tensor:
    if is_sequence(dx):
        return each(op, lambda child, x: child.Mul(x, factor), dx)
    return op.Mul(dx, factor)


# ---- checks, the smallest first


@functools.cache
def _rows() -> dict[Key, list[Check]]:
    """Return a check of every row of the tables in the tests of this folder."""
    found: dict[Key, list[tuple[int, Check]]] = {}
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
    """Return a check of every small node test of ONNX that has floats to differentiate."""
    found: dict[Key, list[tuple[int, Check]]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tests = load_model_tests(kind="node")
    for test in tests:
        graph, arrays = test.model.graph, test.data_sets[0][0]
        if len(graph.node) > 1 or not all(isinstance(v, np.ndarray | np.generic) for v in arrays):
            continue
        feeds = {i.name: np.asarray(v) for i, v in zip(graph.input, arrays, strict=False)}
        kinds = {v.name: v.type.tensor_type.elem_type for v in [*graph.input, *graph.output]}
        wrt = [i.name for i in graph.input if kinds[i.name] in FLOATS]
        outputs = [o.name for o in graph.output if kinds[o.name] in FLOATS]
        node = graph.node[0]
        if wrt and outputs and sum(v.size for v in feeds.values()) <= LARGE:
            check = functools.partial(_node_test, test.model, feeds, wrt, outputs)
            _enter(found, (node.domain, node.op_type), feeds, check)
    return _sorted(found)


def _node_test(model: ModelProto, feeds: Any, wrt: list[str], outputs: list[str]) -> None:
    check_gradient(model, feeds, wrt=wrt, outputs=outputs, minimum=0)


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
        "If": _test("control.test_differences", "both branches", False, True),
        "MaxRoiPool": _test("sampling.test_max_roi_pool_finds_the_largest_pixels"),
        "QuantizeLinear": _node("quantizelinear"),
        "Scatter": _test("scatter.test_scatter_of_old_opsets", 10),
        "Upsample": _test("resize.test_old_opsets", *upsample),
        **{op: _sequence(name) for op, name in SEQUENCES.items()},
    }
    found = {("", k): [check] for k, check in tests.items()}
    return found | {(MICROSOFT, k): [check] for k, check in foreign_tests.items()}


SEQUENCES = {
    "ConcatFromSequence": "insert, at", "Optional": "optional", "OptionalGetElement": "optional",
    "SequenceAt": "construct, at", "SequenceConstruct": "construct, at", "SequenceErase": "erase",
    "SequenceInsert": "insert, at", "SequenceMap": "map", "SplitToSequence": "split evenly",
}  # fmt: skip


def _sequence(name: str) -> Check:
    """Return a check of a row of the sequences' tests, at a place that is known."""
    rows = importlib.import_module("test_sequence")
    model = rows._model(rows.CASES[name])
    return functools.partial(check_gradient, model, rows._feeds(0), constant=["i"])


def _node(name: str) -> Check:
    return _test("quantized_node_suite.test_node", name, "published")


def _test(name: str, *arguments: Any) -> Check:
    """Return a test of this folder, with its parameters in their order."""
    module, function = name.split(".")
    return functools.partial(getattr(importlib.import_module(f"test_{module}"), function),
                             *arguments)  # fmt: skip


def _enter(found: Any, key: Key, feeds: Any, check: Check) -> None:
    size = sum(np.size(v) for v in feeds.values() if v is not None)
    found.setdefault(key, []).append((size, check))


def _sorted(found: dict[Key, list[tuple[int, Check]]]) -> dict[Key, list[Check]]:
    return {k: [c for _, c in sorted(v, key=lambda pair: pair[0])] for k, v in found.items()}
