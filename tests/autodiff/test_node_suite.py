"""ONNX's own node tests: every gradient against differences, three ways.

As published; with all inputs but the first as constants; without the dimensions of its inputs.
"""

from __future__ import annotations

import onnx
import pytest
import reference_repairs  # noqa: F401
from node_cases import (
    KINKED,
    LOOSE,
    MODES,
    MOVED,
    NO_RUNTIME,
    OWN_MEANING,
    REFUSED,
    UNJUDGED,
    NodeCase,
    node_cases,
    published,
)

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
    if case.listed(OWN_MEANING):
        case.check_own_meaning(mode)


def test_the_suite_is_there() -> None:
    assert len(published()) > 1800
    assert len(CASES) > 1300


def test_few_are_refused() -> None:
    refused = [name for name, case in CASES.items() if _refused(case)]
    assert len(refused) <= 0.03 * len(CASES), refused


def test_what_is_refused_has_its_reason_in_the_table() -> None:
    for name, op_type in REFUSED.items():
        ((domain, _),) = {(d, n) for d, n in CASES[name].operators if n == op_type}
        assert coverage(domain, op_type, onnx.defs.onnx_opset_version()).reason, op_type


@pytest.mark.parametrize("table", [KINKED, LOOSE, MOVED, NO_RUNTIME, OWN_MEANING, UNJUDGED])
def test_every_exception_names_cases(table: object) -> None:
    for pattern in table:
        assert any(case.listed([pattern]) for case in CASES.values()), pattern


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", _one_of_each(), ids=lambda case: case.name)
def test_each_operator(case: NodeCase, mode: str) -> None:
    _check(case, mode)


@pytest.mark.exhaustive
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CASES)
def test_node(name: str, mode: str) -> None:
    _check(CASES[name], mode)
