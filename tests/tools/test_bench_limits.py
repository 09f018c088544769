"""The promises: which are checked, what is measured for each, and the file that keeps it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from support import nets

ROOT = Path(__file__).resolve().parents[2]

from bench import comparisons, limits, store, subjects  # noqa: E402

FAST = comparisons.Settings(runs=3, warmup=1)
WHERE = {"machine": {"cpu": "a"}, "versions": {"onnx": "1"}, "settings": {"runs": 3}}
Make = Callable[..., list[limits.Check]]


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Make:
    """Check one promise on a small net instead of a network of real size."""

    def export(name: str, folder: Path, *, exporter: str) -> Path:
        path = folder / f"{name}.onnx"
        onnx.save(nets.cnn(size=24), str(path))
        return path

    monkeypatch.setattr(limits, "export", export)
    return lambda *case, **more: list(limits.checks([limits.Case(*case, **more)], FAST))


def test_promises_are_about_networks_that_there_are() -> None:
    assert {case.arch for case in limits.CASES} <= set(subjects.architectures())
    for case in limits.CASES:
        assert case.group in limits.GROUPS and case.limits


@pytest.mark.parametrize(
    ("groups", "archs", "batches", "expected"),
    [
        (["convert"], [], [], {("vgg16", (1,))}),
        (["explained"], ["vit_b"], [], {("vit_b", (1, 8))}),
        (["explained"], ["vit_b", "deit_s"], [8], {("vit_b", (8,)), ("deit_s", (8,))}),
        (["gradient"], [], [8], set()),
        ([], ["vgg16"], [], {("vgg16", (1,))}),
    ],
)
def test_promises_are_chosen(
    groups: list[str], archs: list[str], batches: list[int], expected: set[Any]
) -> None:
    assert {(c.arch, c.batches) for c in limits.chosen(groups, archs, batches)} == expected


def test_an_explained_model_is_compared_at_each_batch(measured: Make) -> None:
    generous = {limits.TIME: 1000.0}
    found = measured("explained", "small", generous, "layercam", 3, (1, 2))
    assert [(c.what, c.batch, c.passed) for c in found] == [
        ("layercam, 3 classes", 1, True),
        ("layercam, 3 classes", 2, True),
    ]
    for check in found:
        assert check.interval is not None and check.plain_ms is not None
        assert 0 < check.interval[0] <= check.value <= check.interval[1]


def test_a_gradient_is_measured_in_time_size_and_cost(measured: Make) -> None:
    wanted = {limits.TIME: 0.001, limits.NODES: 4.0, limits.BUILD: 60.0, limits.MEMORY: 1e9}
    found = {c.quantity: c for c in measured("gradient", "small", wanted, batches=(1,))}
    assert {name: c.passed for name, c in found.items()} == {
        limits.TIME: False, limits.NODES: True, limits.BUILD: True, limits.MEMORY: True,
    }  # fmt: skip
    assert found[limits.TIME].value > 0.5
    assert found[limits.NODES].value == pytest.approx(round(found[limits.NODES].value * 5) / 5)
    assert found[limits.NODES].interval is None


def test_converting_is_measured_by_its_memory(measured: Make) -> None:
    plain, checked = measured(
        "convert", "small", {limits.MEMORY: 0.0, limits.CHECKED: 0.0}, batches=(1,)
    )
    assert 0 < plain.value < checked.value  # the check runs both models
    assert not plain.passed and (plain.what, checked.what) == ("convert --no-check", "convert")


def test_rows_are_replaced_by_their_key_and_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "all.json"
    store.update(path, "a", WHERE, [{"x": 1, "y": 1}, {"x": 2, "y": 1}], key=["x"])
    store.update(path, "b", WHERE, [{"x": 9}], key=["x"])
    store.update(path, "a", WHERE, [{"x": 2, "y": 5}, {"x": 3, "y": 5}], key=["x"])
    content = json.loads(path.read_text())
    assert content["b"]["results"] == [{"x": 9}]
    assert content["a"] == {
        **WHERE, "results": [{"x": 1, "y": 1}, {"x": 2, "y": 5}, {"x": 3, "y": 5}]
    }  # fmt: skip


@pytest.mark.parametrize(
    "other", [{"machine": {"cpu": "b"}}, {"versions": {"onnx": "2"}}, {"settings": {"runs": 4}}]
)
def test_rows_of_other_circumstances_are_dropped(tmp_path: Path, other: dict[str, Any]) -> None:
    path = tmp_path / "all.json"
    store.update(path, "a", WHERE, [{"x": 1}], key=["x"])
    store.update(path, "a", {**WHERE, **other}, [{"x": 2}], key=["x"])
    assert json.loads(path.read_text())["a"]["results"] == [{"x": 2}]
