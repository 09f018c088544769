"""K targets of N inputs in one call are K * N single calls; also with targets of each input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import nets

from onnxcam import Explainer, UsageError
from onnxcam.run.runner import Runner
from onnxcam.targets import Margin, Probability, Score, Sum

X = np.random.default_rng(3).normal(size=(4, 2, 6, 6)).astype("f4")
INPUTS = list(X[:, None])
SAME = [[2, 0], [1, 1], [0, 2], [2, 2]]
RAGGED = [[2], [0, 1, None], [1, 2], [0]]
MIXED = [[2, Margin(1, 0)], [Sum()], [Probability(1), 0, Margin(2)], [Probability(0)]]


def _explainer(batch: Any = "N", method: Any = "gradcam", **options: Any) -> Explainer[Any]:
    return Explainer(nets.cnn(batch=batch), method, device="cpu", threads=1, **options)


def _alike(got: Any, want: Any) -> None:
    np.testing.assert_allclose(got.map, want.map, rtol=1e-5, atol=1e-6)
    assert (got.target, got.quantity) == (want.target, want.quantity)
    assert got.score == pytest.approx(want.score, rel=1e-5)


@pytest.mark.parametrize("batch", ["N", 1, 3])
@pytest.mark.parametrize("lists", [SAME, RAGGED, MIXED], ids=["same", "ragged", "mixed"])
def test_a_list_for_each_input_equals_single_calls(batch: Any, lists: list[list[Any]]) -> None:
    explainer = _explainer(batch)
    found = explainer(INPUTS, target=lists)
    assert [len(row) for row in found] == [len(row) for row in lists]
    for x, row, targets in zip(INPUTS, found, lists, strict=True):
        for got, target in zip(row, targets, strict=True):
            _alike(got, explainer(x, target=target))


@pytest.mark.parametrize("method", ["rise", "integrated-gradients", ["gradcam", "saliency"]])
def test_of_methods_of_every_kind(method: Any) -> None:
    small = {"masks": 8} if method == "rise" else {}
    explainer = _explainer(method=method, parameters=small)
    for row, targets, x in zip(explainer(INPUTS, target=RAGGED), RAGGED, INPUTS, strict=True):
        for got, target in zip(row, targets, strict=True):
            want = explainer(x, target=target)
            both = [list(e.values()) if isinstance(e, dict) else [e] for e in (got, want)]
            for a, b in zip(*both, strict=True):
                _alike(a, b)


def test_one_list_is_of_all_inputs_and_an_array_has_a_list_a_row() -> None:
    explainer = _explainer()
    together = explainer(INPUTS, target=[2, 0])
    assert [[e.target for e in row] for row in together] == [[2, 0]] * 4
    rows = explainer(X, target=SAME)
    for row, want in zip(rows, explainer(INPUTS, target=SAME), strict=True):
        for a, b in zip(row, want, strict=True):
            _alike(a, b)
    assert [e.target for e in explainer(INPUTS[0], target=[[1, 2]])] == [1, 2]
    streamed = dict(enumerate(r for _, r in explainer.stream(iter(INPUTS), target=SAME)))
    assert [e.target for e in streamed[2]] == [0, 2]


def test_it_costs_one_run_of_what_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four inputs with two targets each are one run with two targets, not one with eight."""
    explainer = _explainer()
    explainer(INPUTS[:1], target=0)
    fed = []
    (runner,) = explainer._engine.of(Score())
    assert isinstance(runner, Runner)
    run = runner.session.run
    monkeypatch.setattr(
        runner.session,
        "run",
        lambda feeds, *more: fed.append(feeds["onnxcam.target"].shape) or run(feeds, *more),
    )
    explainer(INPUTS, target=SAME)
    explainer(INPUTS, target=[2, 0])
    assert fed == [(4, 2), (1, 2)]


REFUSED: dict[str, tuple[Any, Any, str]] = {
    "too few": (INPUTS, SAME[:3], "3 lists of targets for 4 inputs"),
    "too many": (INPUTS[:2], SAME, "4 lists of targets for 2 inputs"),
    "of one": (INPUTS[0], SAME, "4 lists of targets for 1 input"),
    "of rows": (X, SAME[:3], "3 lists of targets for 4 inputs"),
    "beside": (INPUTS, [[1], 2, [0], [1]], "side by side"),
    "empty": (INPUTS[:2], [[1], []], "no target is given"),
    "no class": (INPUTS[:2], [[1], [5]], "out of range"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_lists_that_do_not_fit_are_refused(name: str) -> None:
    inputs, lists, said = REFUSED[name]
    with pytest.raises(UsageError, match=said):
        _explainer()(inputs, target=lists)


def test_a_stream_with_more_inputs_than_lists_is_refused() -> None:
    with pytest.raises(UsageError, match="one list for each input"):
        list(_explainer().stream(iter(INPUTS), target=SAME[:2]))
