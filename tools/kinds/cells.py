"""Run a cell: one method at one target of one kind; and judge what comes of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kinds.asked import Question
from kinds.subject import HOW, Subject, parameters, said
from onnxcam import Explainer, methods

RIGHT, REFUSED, WRONG, ALONE = "right", "refused", "WRONG", "not judged"
TWIN = "a twin of one score"
ROUNDING = "as near as its rounding lets it be"
MOST_OFF = 0.3  # of the largest value: what no rounding excuses
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Cell:
    """What came of a method at a target of a kind.

    Attributes:
        kind: The kind's name.
        target: The target's.
        method: The method's.
        verdict: "right", "refused", "WRONG", or "not judged".
        why: Against what it was held, or the reason of a refusal, or what is wrong.
    """

    kind: str
    target: str
    method: str
    verdict: str
    why: str

    def as_dict(self) -> dict[str, str]:
        """Return what JSON can hold."""
        return asdict(self)


def cells(subject: Subject, chosen: Sequence[str], questions: Sequence[Question]) -> Iterator[Cell]:
    """Yield what comes of methods at targets of a kind."""
    for question in questions:
        for name in chosen:
            verdict, why = _judged(subject, question, name)
            yield Cell(subject.kind.name, question.name, name, verdict, why)


def _judged(subject: Subject, question: Question, name: str) -> tuple[str, str]:
    found = subject.explained_by(name, question)
    if isinstance(found, str):
        return WRONG if found.startswith("fault") else REFUSED, found
    each = question.parts(subject.kind, subject.outputs)
    if each is None:
        return WRONG, f"it answers what makes no sense: {found[0].score:.4g}"
    if len(found) != len(each):
        return WRONG, f"it finds {len(found)}, and there are {len(each)}"
    verdicts = [_one(subject, q, name, e) for q, e in zip(each, found, strict=True)]
    return next((v for v in verdicts if v[0] != RIGHT), verdicts[0])


def _one(subject: Subject, question: Question, name: str, found: Any) -> tuple[str, str]:
    """Judge one explanation: its score, and its map."""
    kind = subject.kind
    if not np.isfinite(found.raw_map).all():
        return WRONG, "the map is not finite"
    want = float(question.fixed(kind, subject.outputs)(kind, subject.outputs)[0])  # type: ignore
    far = abs(found.score - want)
    if far > kind.exact * max(abs(found.score), 1):
        return WRONG, f"it is a score of {found.score:.4g}, not {want:.4g}"
    got = found.signed_map.astype(np.float64)
    reference = subject.reference(question, name)
    if reference is not None:
        return _rounded(got, *reference, kind.exact, subject.otherwise(question, name))
    twin = _of_twin(subject, question, name, found, subject.explained)
    if isinstance(twin, str):
        return ALONE, f"the same network with this one score is refused: {twin}"
    others = (_of_twin(subject, question, name, found, x) for x in subject.moved())
    signed = (t.signed_map.astype(np.float64) for t in others if not isinstance(t, str))
    return _rounded(got, twin.signed_map.astype(np.float64), TWIN, kind.exact, signed)


def _of_twin(subject: Subject, question: Question, name: str, found: Any, x: Array) -> Any:
    """Return the explanation of the network whose one output is the target."""
    method, kind = methods.find(name), subject.kind
    given: dict[str, Any] = {"input": kind.explained, "reduction_layer": "score", **HOW}
    if method.takes_feature and found.feature_layer != kind.explained:
        given["feature_layer"] = found.feature_layer
    how = {"parameters": parameters(method), **given}
    others = subject.others or None
    return said(lambda: Explainer(subject.twin(question), name, **how)(x, 0, extra_inputs=others))


def _rounded(
    got: Array, want: Array, what: str, exact: float, otherwise: Iterator[Array]
) -> tuple[str, str]:
    """Compare maps; where they differ, with how far rounding moves the wanted one itself.

    A share between a smallest value and the next, a search that follows the larger of two equal
    gains, a difference of scores in half precision: there the last digit decides. Such a map is
    right where it is no farther off than twice what the reference moves, and never far off.
    """
    verdict = _compared(got, want, what, exact)
    if verdict[0] == RIGHT or got.shape != want.shape:
        return verdict
    scale = float(np.abs(want).max()) or 1.0
    moved = max((float(np.abs(o - want).max()) / scale for o in otherwise), default=0.0)
    far = float(np.abs(got - want).max()) / scale
    if far <= min(2 * moved, MOST_OFF):
        return RIGHT, f"{what}, {ROUNDING}"
    return WRONG, f"{verdict[1]}; rounding moves this by {moved:.2g}"


def _compared(got: Array, want: Array, what: str, exact: float) -> tuple[str, str]:
    if got.shape != want.shape:
        return WRONG, f"a map of {got.shape}, and {want.shape} of {what}"
    scale = float(np.abs(want).max()) or 1.0
    far = float(np.abs(got - want).max()) / scale
    if not far <= exact:
        return WRONG, f"off by {far:.2g} of its largest value, against {what}"
    return RIGHT, what
