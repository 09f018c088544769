"""Policies and verdicts: what passes, what fails, what stays open; intervals as scipy's."""

from __future__ import annotations

import numpy as np
import pytest

from onnxcam.audit.measures import MEASURES, column
from onnxcam.audit.policy import parsed, read_policy, ready
from onnxcam.audit.statistics import estimate
from onnxcam.audit.verdict import judge
from onnxcam.errors import OnnxcamError, UsageError

stats = pytest.importorskip("scipy.stats")


def rows(right: int, wrong: int, **more: object) -> list[dict[str, object]]:
    return [{"correct": k < right, "method": "m", **more} for k in range(right + wrong)]


def policy(minimum: float = 0.8, **more: object) -> object:
    extra = "".join(f"{k} = {v}\n" for k, v in more.items())
    return parsed(f'[[limit]]\nmeasure = "accuracy"\nmin = {minimum}\n{extra}', "here")


@pytest.mark.parametrize(
    ("right", "wrong", "result", "code"),
    [
        (99, 1, "pass", 0),
        (50, 50, "fail", 3),
        (80, 20, "not enough data", 4),
        (5, 0, "not enough data", 4),
    ],
)
def test_a_limit_is_kept_broken_or_open(right: int, wrong: int, result: str, code: int) -> None:
    verdict = judge(policy(), {"records": rows(right, wrong), "pairs": []})  # type: ignore[arg-type]
    assert (verdict.result, verdict.exit_code) == (result, code)


def test_intervals_of_rates_and_numbers_are_scipys() -> None:
    truths = np.arange(40) < 30
    found = estimate(truths, 0.9, resamples=100, seed=0)
    want = stats.binomtest(30, 40).proportion_ci(0.9, method="exact")
    assert found is not None and (found.low, found.high) == (want.low, want.high)
    x = np.random.default_rng(0).random(50)
    found = estimate(x, 0.95, resamples=500, seed=3)
    want = stats.bootstrap(
        (x,), np.mean, n_resamples=500, confidence_level=0.95, method="percentile",
        rng=np.random.default_rng(3),
    ).confidence_interval  # fmt: skip
    assert found is not None
    assert (found.low, found.high) == pytest.approx((want.low, want.high))


def test_many_classes_are_corrected_for() -> None:
    data = [r for name in "abcd" for r in rows(50, 1, label=name)]
    verdict = judge(policy(per='["class"]'), {"records": data, "pairs": []})  # type: ignore[arg-type]
    assert {f.group for f in verdict.findings} == set("abcd")
    assert verdict.findings[0].confidence == pytest.approx(1 - 0.05 / 4)


def test_a_bad_slice_fails_a_good_whole() -> None:
    data = rows(970, 0, slices={"site": "north"}) + rows(5, 25, slices={"site": "south"})
    verdict = judge(policy(per='["overall", "slice"]'), {"records": data, "pairs": []})  # type: ignore[arg-type]
    assert verdict.result == "fail"
    assert [f.group for f in verdict.open] == ["site=south"]


def test_small_groups_are_counted_not_judged() -> None:
    data = [*rows(100, 0, label="a"), *rows(1, 3, label="b")]
    verdict = judge(policy(per='["class"]'), {"records": data, "pairs": []})  # type: ignore[arg-type]
    assert verdict.result == "pass" and "1 of 2 classes" in verdict.skipped[0]


def test_a_conflict_keeps_an_audit_from_passing() -> None:
    tables = {"records": rows(100, 0), "pairs": []}
    assert judge(policy(), tables, ["they disagree"]).result == "not enough data"  # type: ignore[arg-type]


def test_what_needs_labels_is_left_out_without() -> None:
    data = [{"correct": None, "object_area": None, "method": "m"}] * 50
    verdict = judge(policy(needs='"labels"'), {"records": data, "pairs": []})  # type: ignore[arg-type]
    assert verdict.result == "not enough data" and "no labels" in verdict.skipped[0]


@pytest.mark.parametrize("name", ready())
def test_ready_policies_are_read(name: str) -> None:
    found = read_policy(name)
    assert found.limits and found.name == name.replace("-", " ")
    assert read_policy(found.name).sha256 == found.sha256


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = 'x'", "no limit"),
        ("[[limit]]\nmeasure = 'beauty'\nmax = 1", "beauty"),
        ("[[limit]]\nmeasure = 'flips'", "neither"),
        ("[[limit]]\nmeasure = 'flips'\nmax = 'much'", "no number"),
        ("[[limit]]\nmeasure = 'flips'\nmax = 1\nper = ['planet']", "planet"),
        ("[[limit]]\nmeasure = 'flips'\nmax = 1\nmaximum = 2", "maximum"),
        ("confidence = 2\n[[limit]]\nmeasure = 'flips'\nmax = 1", "confidence"),
        ("limit = 3", "no limit"),
        ("[[limit", "TOML"),
    ],
)
def test_a_wrong_policy_is_refused(text: str, said: str) -> None:
    with pytest.raises(OnnxcamError, match=said):
        parsed(text, "here")


def test_an_unknown_policy_names_the_ready_ones() -> None:
    with pytest.raises(UsageError, match="first-release"):
        read_policy("no-such-thing")


def test_measures_of_pairs() -> None:
    pair = {"right_before": True, "right_after": False, "probability_shift": -0.25,
            "flipped": False, "spearman": 0.1, "explanation_flip": True}  # fmt: skip
    want = {"accuracy_drop": 1.0, "harmful_flips": True, "probability_shift": 0.25,
            "explanation_flips": True}  # fmt: skip
    for name, value in want.items():
        assert column(MEASURES[name], [pair]).tolist() == [value]
    assert column(MEASURES["explanation_flips"], [{**pair, "flipped": True}]).size == 0
