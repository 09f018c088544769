"""ONNX's own node tests: every gradient against differences, three ways.

As published; with all inputs but the first as constants; without the dimensions of its inputs.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from support import reference_repairs  # noqa: F401
from support.gradcheck import run
from support.node_cases import (
    KINKED,
    LOOSE,
    MODES,
    MOVED,
    NO_GRADIENT,
    NO_RUNTIME,
    OWN_MEANING,
    REFUSED,
    UNJUDGED,
    NodeCase,
    all_cases,
    node_cases,
    published,
)

from onnxcam.autodiff import vjp_model
from onnxcam.autodiff.coverage import coverage, refusals
from onnxcam.errors import UnsupportedOp

CASES = node_cases()
BLOCKED = refusals()


def _one_of_each() -> list[NodeCase]:
    """Return one case of each operator, as the operator itself."""
    found: dict[frozenset[tuple[str, str]], NodeCase] = {}
    for case in CASES.values():
        if len(case.model.graph.node) == 1:
            found.setdefault(case.operators, case)
    return list(found.values())


def _refused(case: NodeCase) -> str:
    """Return the operator for which a case is to be refused, "" where it has a gradient."""
    blocked = [name for domain, name in case.operators if (domain, name) in BLOCKED]
    return str(case.listed(REFUSED) or "".join(blocked))


def _moves_samples(case: NodeCase) -> bool:
    """Tell whether the auxiliary inputs of a case move where it samples what it resizes."""
    modes = [a.s for node in case.model.graph.node for a in node.attribute if a.name == "mode"]
    return bool(case.auxiliary) and modes not in ([], [b"nearest"])


def _check(case: NodeCase, mode: str) -> None:
    refused = _refused(case)
    if refused:
        with pytest.raises(UnsupportedOp, match=rf"no gradient for [\w.:]*{refused}\b.*node '"):
            case.check(mode)
        return
    if case.listed(UNJUDGED):
        case.build(mode)
        return
    ran = case.check(mode).runtime
    why = case.no_runtime(mode)
    assert ran or why, "ONNX Runtime does not run it, and nothing says why"
    if why and not ran:
        case.check_loads(mode)
    if case.listed(OWN_MEANING):
        case.check_own_meaning(mode)


def test_the_suite_is_there() -> None:
    assert len(published()) > 1800
    assert len(CASES) > 1300


def test_few_are_refused() -> None:
    refused = [name for name, case in CASES.items() if _refused(case) or _moves_samples(case)]
    assert len(refused) <= 0.03 * len(CASES), refused


def test_what_is_refused_has_its_reason_in_the_table() -> None:
    for name, op_type in REFUSED.items():
        ((domain, _),) = {(d, n) for d, n in CASES[name].operators if n == op_type}
        assert coverage(domain, op_type, onnx.defs.onnx_opset_version()).reason, op_type


@pytest.mark.parametrize(
    "table", [KINKED, LOOSE, MOVED, NO_GRADIENT, NO_RUNTIME, OWN_MEANING, UNJUDGED]
)
def test_every_exception_names_cases(table: object) -> None:
    for pattern in table:
        assert any(case.listed([pattern]) for case in CASES.values()), pattern


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", _one_of_each(), ids=lambda case: case.name)
def test_each_operator(case: NodeCase, mode: str) -> None:
    _check(case, mode)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.auxiliary])
def test_scales_and_regions(name: str) -> None:
    """They move nothing where it takes the nearest; elsewhere they are refused, not zero."""
    case = CASES[name]
    if _moves_samples(case):
        with pytest.raises(UnsupportedOp, match=r"gradient of the (scales|roi) of Resize node"):
            vjp_model(case.model, case.auxiliary, case.outputs)
        return
    ys = run(case.model, case.feeds, case.outputs)
    grad = vjp_model(case.model, case.auxiliary, case.outputs)
    got = run(grad, {**case.feeds, **{f"ct::{y}": np.ones_like(v) for y, v in ys.items()}})
    assert all(not got[f"grad::{x}"].any() for x in case.auxiliary)


def test_the_others_give_graphs_that_hold_or_are_refused() -> None:
    """Text, whole numbers, conditions: no crash, nothing that the checker rejects."""
    for case in all_cases():
        if case.name in CASES:
            continue
        ends = [
            [v.name for v in side] for side in (case.model.graph.input, case.model.graph.output)
        ]
        try:
            grad = vjp_model(case.model, *ends)
        except UnsupportedOp:
            continue
        onnx.checker.check_model(grad)


@pytest.mark.exhaustive
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CASES)
def test_node(name: str, mode: str) -> None:
    _check(CASES[name], mode)
