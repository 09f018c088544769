"""The table of kinds, targets and methods: its page, some of its cells, more behind a marker."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from kinds import cells as cell_module
from kinds import detectors, references
from kinds import subject as subject_module
from kinds.asked import QUESTIONS, Question
from kinds.cells import ALONE, REFUSED, RIGHT, WRONG, Cell, Subject, cells
from kinds.found import FOUND
from kinds.kind import Kind, Outputs
from kinds.networks import KINDS
from kinds.page import page
from kinds.store import Row, gathered, merged, missing, ordered, ran, read, write, wrong

from onnxcam import methods
from onnxcam.errors import InternalError, UsageError

ROOT = Path(__file__).resolve().parents[2]
RESULTS = read(ROOT / "docs" / "kinds.json")
ASKED = {question.name: question for question in (*QUESTIONS, *FOUND)}
ANEW = "run `python tools/kinds.py`, which runs what is missing"


def _who(row: Row, verdict: str) -> set[str]:
    return {name for (said, _), names in row.items() if said == verdict for name in names}


def test_the_page_says_what_came_of_the_cells() -> None:
    want = page(RESULTS, {name: make().what for name, make in KINDS.items()})
    assert (ROOT / "docs" / "kinds.md").read_text() == want


def test_the_table_is_whole_and_no_cell_is_wrong() -> None:
    """Every kind, every target, every method of the registry: none less, none more."""
    assert wrong(RESULTS) == []
    assert list(RESULTS) == list(KINDS), ANEW
    for name, targets in RESULTS.items():
        assert list(targets) == list(ASKED), (name, ANEW)
        for target, row in targets.items():
            assert sorted(ran(row)) == sorted(methods.names()), (name, target, ANEW)


def test_every_refusal_has_a_reason_and_a_next_step() -> None:
    for targets in RESULTS.values():
        for row in targets.values():
            for verdict, why in row:
                assert verdict in (RIGHT, REFUSED) and "Traceback" not in why
                assert "did not expect" not in why and len(why) < 700
                assert verdict == RIGHT or re.search(r"[.:] [A-Z`]|\?", why), why


def test_every_kind_of_the_issue_is_there_and_is_answered() -> None:
    """A kind that is refused everywhere would be no kind that is explained."""
    for name, targets in RESULTS.items():
        assert _who(targets["class"], RIGHT), name
    assert len(KINDS) >= 33 and {"CNN", "ViT", "Swin", "CTC", "GNN", "int8", "DETR"} <= set(KINDS)
    assert len(ASKED) >= 18 and detectors


def test_a_method_without_its_cells_is_missing() -> None:
    """The tool runs it alone, and puts it beside the others."""
    known = [*methods.names(), "new-method"]
    left = missing(RESULTS, "CNN", list(ASKED), known)
    assert left == {target: ["new-method"] for target in ASKED}
    new = gathered([Cell("CNN", target, "new-method", RIGHT, "why") for target in ASKED])
    both = ordered(merged(RESULTS, new), list(KINDS), list(ASKED), known)
    assert missing(both, "CNN", list(ASKED), known) == {}
    assert len(ran(both["CNN"]["class"])) == len(known)
    assert ordered(both, list(KINDS), list(ASKED), methods.names()) == RESULTS


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    write(tmp_path / "kinds.json", RESULTS)
    assert read(tmp_path / "kinds.json") == RESULTS
    assert read(tmp_path / "none.json") == {}
    written = (tmp_path / "kinds.json").read_text()
    assert written == (ROOT / "docs" / "kinds.json").read_text()


def _agrees(name: str, chosen: Sequence[str], asked: Sequence[str]) -> None:
    """Run cells again, and hold them against the page."""
    subject = Subject(KINDS[name]())
    if len(chosen) <= len(SOME):  # a graph with all methods would take longer than these alone
        subject._families.update(dict.fromkeys(chosen, ()))
    found = gathered(cells(subject, chosen, [ASKED[q] for q in asked]))
    assert wrong(found) == []
    for target in asked:
        for verdict in (RIGHT, REFUSED):
            kept = _who(RESULTS[name][target], verdict) & set(chosen)
            assert _who(found[name][target], verdict) == kept, (name, target, verdict)


# Of every sort of method one, which are quick: of a layer, of the input, relevance, sampled.
SOME = ("gradcam", "hirescam", "saliency", "lrp-epsilon", "rise")


@pytest.mark.parametrize(
    "name",
    [pytest.param("multi-label CNN", marks=pytest.mark.exhaustive), "CTC", "tabular", "YOLOv5"],
)
def test_cells_are_what_the_page_says(name: str) -> None:
    _agrees(name, SOME, ("top class", "log-probability", "place", "function", "every sure box"))


@pytest.mark.parametrize("name", ["tabular", "tree ensemble"])
def test_every_method_answers_or_says_why_not(name: str) -> None:
    """Found in the registry: a new method is run."""
    _agrees(name, methods.names(), ["class"])


@pytest.mark.exhaustive
@pytest.mark.parametrize("number", range(len(KINDS)), ids=list(KINDS))
def test_a_part_of_all_cells_is_what_the_page_says(number: int) -> None:
    """Each kind at other targets by other methods, so that all of these have their turn."""
    targets = list(ASKED)
    asked = ["class", targets[(2 + number) % len(targets)]]
    chosen = [m for i, m in enumerate(methods.names()) if (i + number) % 3 == 0 and m != "xrai"]
    _agrees(list(KINDS)[number], chosen, asked)


def test_methods_are_held_against_torch() -> None:
    """Few have nothing but a twin of the file: what is compared with itself proves nothing."""
    alone = set(methods.names()) - set(references.known())
    assert alone <= TWINS
    against = {
        why for targets in RESULTS.values() for row in targets.values()
        for (verdict, why), names in row.items() if verdict == RIGHT and not set(names) <= alone
    }  # fmt: skip
    exact = {references.GRADIENTS, references.RULES, references.ANSWERS}
    assert against <= exact | {f"{what}, {cell_module.ROUNDING}" for what in exact}


def test_few_maps_are_decided_by_rounding() -> None:
    """Those are held less closely: in half precision and int8, and of a search among equals."""
    near = [
        name for name, targets in RESULTS.items() for row in targets.values()
        for (_, why), names in row.items() if cell_module.ROUNDING in why for _ in names
    ]  # fmt: skip
    assert len(near) < 100 and sum(n not in ("fp16", "int8") for n in near) < 10


def test_rounding_excuses_no_other_map() -> None:
    want, none = np.array([0.0, 2.0]), iter(())
    moved = [want + 0.02, want - 0.03]  # by 0.015 of the largest value
    assert cell_module._rounded(want + 1e-4, want, "it", 1e-3, none) == (RIGHT, "it")
    said = cell_module._rounded(want + 0.05, want, "it", 1e-3, iter(moved))
    assert said == (RIGHT, f"it, {cell_module.ROUNDING}")
    for far, others in ((0.05, []), (0.05, [want]), (0.07, moved), (0.7, [want + 1])):
        said = cell_module._rounded(want + far, want, "it", 1e-3, iter(others))
        assert said[0] == WRONG and "off by" in said[1], far


TWINS = {
    "legrad", "gradcam++-exact", "deeplift-reveal-cancel",
}  # fmt: skip


def test_a_wrong_score_a_wrong_map_and_an_answer_to_nonsense_are_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subject_module, "DRAWS", 2)  # takes less time
    subject = Subject(KINDS["multi-label CNN"]())
    subject._families.update(dict.fromkeys(methods.names(), ()))  # each alone
    twice = Question("twice", lambda *_: 1, lambda kind, y: 2 * kind.scores(y)[:, 1])
    like = Question("like", lambda *_: 1, lambda kind, y: kind.scores(y)[:, 1] + 0 * y[0].sum())
    nonsense = Question("nonsense", lambda *_: 1, lambda kind, y: None)
    bent = Question("bent", lambda *_: 1, nonsense.truth, _bent)
    for name in ("gradcam", "saliency", "lrp-epsilon", "rise", "ablation-cam", "smoothgrad"):
        (cell,) = cells(subject, [name], [twice])
        assert cell.verdict == WRONG and "score of" in cell.why
        (cell,) = cells(subject, [name], [like])
        assert cell.verdict == RIGHT
        (cell,) = cells(subject, [name], [nonsense])
        assert cell.verdict == WRONG and "no sense" in cell.why
        (cell,) = cells(subject, [name], [bent])
        assert cell.verdict == WRONG and "off by" in cell.why, name


def _bent(kind: Kind, y: Outputs) -> Any:
    """The score of the class for the input, and another function of the network around it."""
    first = float(kind.scores(y)[0, 2])
    return lambda kind, y: kind.scores(y)[:, 1] + kind.scores(y)[:, 2] - first


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (InternalError("a fault", "report it"), WRONG),
        (ValueError("a traceback"), WRONG),
        (UsageError("a reason", "a step"), REFUSED),
        (UsageError("a reason without a step"), WRONG),
    ],
)
def test_faults_are_no_refusals(
    error: Exception, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = Subject(KINDS["tabular"]())
    assert not isinstance(subject.explainer("saliency"), str)

    def raised(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setitem(subject._ways, "saliency", raised)
    monkeypatch.setitem(subject._families, "saliency", ())  # alone
    (cell,) = cells(subject, ["saliency"], [ASKED["class"]])
    assert cell.verdict == verdict
    assert subject_module.said(lambda: 1) == 1


def test_maps_are_compared_by_their_largest_value() -> None:
    want = np.array([0.0, 2.0])
    assert cell_module._compared(want + 1e-4, want, "it", 1e-3)[0] == RIGHT
    assert cell_module._compared(want + 1e-2, want, "it", 1e-3)[0] == WRONG
    assert cell_module._compared(want * np.nan, want, "it", 1e-3)[0] == WRONG
    assert cell_module._compared(want[None], want, "it", 1e-3)[0] == WRONG
    results = gathered([Cell("CNN", "class", "gradcam", ALONE, "why")])
    assert wrong(results) == ["CNN, class, gradcam: not judged, why"]


NAMED = r"method='([\w+-]+)'|the method ([a-z]+[-+][\w+-]+)"


def _next(why: str) -> list[str]:
    """Return the methods that a refusal sends its reader to."""
    return [a or b for a, b in re.findall(NAMED, why)]


def test_no_refusal_leads_in_a_circle() -> None:
    """Who follows the methods that refusals name comes to an answer, or to what names none."""
    followed = 0
    for (name, targets), target in product(RESULTS.items(), ASKED):
        row = targets[target]
        right = _who(row, RIGHT)
        said = {m: why for (verdict, why), names in row.items() if verdict == REFUSED
                for m in names}  # fmt: skip
        for method in said:
            way = [method]
            while (there := _next(said.get(way[-1], ""))) and way[-1] not in right:
                assert there[0] in methods.names(), (name, target, way, there)
                assert there[0] not in way, (name, target, [*way, there[0]])
                way.append(there[0])
            followed += len(way) > 1
            assert len(way) == 1 or way[-1] in right or not _next(said[way[-1]]), way
    assert followed
