"""The table of kinds, targets and methods: its page, some of its cells, and all behind a marker."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import kinds
from kinds import cells as cell_module
from kinds import detectors
from kinds.asked import QUESTIONS, Question
from kinds.cells import ALONE, REFUSED, RIGHT, WRONG, Cell, Subject, cells
from kinds.networks import KINDS
from kinds.page import gathered, page, wrong

from onnxcam import methods
from onnxcam.errors import InternalError, UsageError

ROOT = Path(__file__).resolve().parents[2]
RESULTS = json.loads((ROOT / "docs" / "kinds.json").read_text())
BY_NAME = {question.name: question for question in QUESTIONS}
# Of every sort of method one, which are quick: of a layer, of the input, relevance, sampled.
SOME = ("gradcam", "hirescam", "saliency", "lrp-epsilon", "rise")


def test_the_page_says_what_came_of_the_cells() -> None:
    what = {name: make().what for name, make in KINDS.items()}
    ordered = {name: RESULTS[name] for name in KINDS}
    want = page(ordered, what, cell_module.CORE, cell_module.FULL)
    assert (ROOT / "docs" / "kinds.md").read_text() == want


def test_no_cell_is_wrong_and_none_is_missing() -> None:
    assert wrong(RESULTS) == []
    assert list(RESULTS) == list(KINDS)
    for name, targets in RESULTS.items():
        assert list(targets) == list(BY_NAME), name
        for target, verdicts in targets.items():
            ran = [m for reasons in verdicts.values() for names in reasons.values() for m in names]
            assert len(ran) == len(set(ran)) and set(SOME) <= set(ran), (name, target)
            for why in verdicts.get(REFUSED, {}):
                assert why.strip() and "Traceback" not in why and "did not expect" not in why


def test_every_kind_of_the_issue_is_there_and_is_answered() -> None:
    """A kind that is refused everywhere would be no kind that is explained."""
    for name, targets in RESULTS.items():
        right = [t for t, verdicts in targets.items() if verdicts.get(RIGHT)]
        assert "class" in right or name == "tree ensemble" or right, name
    assert len(KINDS) >= 31 and {"CNN", "ViT", "Swin", "CTC", "GNN", "int8", "DETR"} <= set(KINDS)


@pytest.mark.parametrize("name", ["multi-label CNN", "CTC", "tabular"])
def test_cells_are_what_the_page_says(name: str) -> None:
    subject = Subject(KINDS[name]())
    some = [BY_NAME[q] for q in ("top class", "log-probability", "place", "function")]
    found = gathered(cells(subject, SOME, some))
    assert wrong(found) == []
    for question in some:
        verdicts = found[name][question.name]
        kept = RESULTS[name][question.name]
        for verdict in (RIGHT, REFUSED):
            got = {m for names in verdicts.get(verdict, {}).values() for m in names}
            want = {m for names in kept.get(verdict, {}).values() for m in names}
            assert got == want & set(SOME), (name, question.name)


@pytest.mark.parametrize(
    ("name", "least"),
    [("tabular", 0.3), pytest.param("multi-label CNN", 0.9, marks=pytest.mark.exhaustive)],
)
def test_every_method_answers_or_says_why_not(name: str, least: float) -> None:
    """Found in the registry: a new method is a new row."""
    subject = Subject(KINDS[name]())
    found = list(cells(subject, methods.names(), [BY_NAME["class"]]))
    assert [c.method for c in found] == list(methods.names())
    assert [c for c in found if c.verdict not in (RIGHT, REFUSED)] == []
    assert sum(c.verdict == RIGHT for c in found) > least * len(found)


def test_a_wrong_map_a_fault_and_an_answer_to_nonsense_are_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subject = Subject(KINDS["multi-label CNN"]())
    twice = Question("twice", lambda _: 1, lambda kind, y: 2 * kind.scores(y)[:, 1])
    other = Question("other", lambda _: 1, lambda kind, y: kind.scores(y)[:, 1] + 0 * y[0].sum())
    nonsense = Question("nonsense", lambda _: 1, lambda kind, y: None)
    (cell,) = cells(subject, ["gradcam"], [twice])
    assert cell.verdict == WRONG and "score of" in cell.why
    (cell,) = cells(subject, ["gradcam"], [other])
    assert cell.verdict == RIGHT
    (cell,) = cells(subject, ["gradcam"], [nonsense])
    assert cell.verdict == WRONG and "no sense" in cell.why

    for error, verdict in (
        (InternalError("a fault", "report it"), WRONG),
        (ValueError("a traceback"), WRONG),
        (UsageError("a reason", "a step"), REFUSED),
        (UsageError("a reason without a step"), WRONG),
    ):

        def raised(*args: object, error: Exception = error, **options: object) -> None:
            raise error

        monkeypatch.setattr(cell_module, "Explainer", raised)
        (cell,) = cells(subject, ["gradcam"], [BY_NAME["class"]])
        assert cell.verdict == verdict, error


def test_maps_are_compared_by_their_largest_value() -> None:
    want = np.array([0.0, 2.0])
    assert cell_module._compared(want + 1e-4, want, 1e-3, "it")[0] == RIGHT
    assert cell_module._compared(want + 1e-2, want, 1e-3, "it")[0] == WRONG
    assert cell_module._compared(want[None], want, 1e-3, "it")[0] == WRONG
    results = gathered([Cell("CNN", "class", "gradcam", ALONE, "why")])
    assert wrong(results) == ["CNN, class, gradcam: not judged, why"]
    assert kinds.__doc__ and detectors.__doc__


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", list(KINDS))
def test_every_kind_at_every_target(name: str) -> None:
    found = gathered(cells(Subject(KINDS[name]()), ["gradcam", "saliency"]))
    assert wrong(found) == []


NAMED = r"method='([\w+-]+)'|the method ([a-z]+[-+][\w+-]+)"


def _next(why: str) -> list[str]:
    """Return the methods that a refusal sends its reader to."""
    return [a or b for a, b in re.findall(NAMED, why)]


def test_no_refusal_leads_in_a_circle() -> None:
    """Who follows the methods that refusals name comes to an answer, at targets of every method."""
    followed = 0
    for name, targets in RESULTS.items():
        for target in cell_module.CORE:
            verdicts = targets[target]
            right = {m for names in verdicts.get(RIGHT, {}).values() for m in names}
            said = {m: why for why, names in verdicts.get(REFUSED, {}).items() for m in names}
            for method in said:
                way = [method]
                while (there := _next(said.get(way[-1], ""))) and way[-1] not in right:
                    assert there[0] in methods.names(), (name, target, way, there)
                    assert there[0] not in way, (name, target, [*way, there[0]])
                    way.append(there[0])
                followed += len(way) > 1
                assert len(way) == 1 or way[-1] in right or not _next(said[way[-1]]), way
    assert followed
