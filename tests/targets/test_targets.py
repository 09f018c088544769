"""Targets: an index or a label, or an error that helps."""

from __future__ import annotations

import pytest

from onnxcam.errors import UsageError
from onnxcam.targets.names import resolve_target

LABELS = ("tench, Tinca tinca", "goldfish", "crane", "crane", "Egyptian cat")


@pytest.mark.parametrize(
    ("target", "index"),
    [(None, -1), (-1, -1), (2, 2), ("2", 2), ("goldfish", 1), ("GOLDFISH", 1), ("tinca TINCA", 0),
     ("egyptian cat", 4)],
)  # fmt: skip
def test_found(target: int | str | None, index: int) -> None:
    assert resolve_target(target, 5, LABELS) == index


@pytest.mark.parametrize(
    ("target", "classes", "labels", "words"),
    [
        (5, 5, LABELS, r"5 is out of range \(the model has 5 classes: 0 to 4\)"),
        (-2, 5, LABELS, "-2 is out of range"),
        (7, None, LABELS, "out of range"),
        ("crane", 5, LABELS, "belongs to classes 2, 3"),
        ("goldfsh", 5, LABELS, "Did you mean 'goldfish'"),
        ("zebra", 5, LABELS, "no class is called 'zebra'"),
        ("cat", 5, None, "has no labels"),
    ],
)
def test_refused(target: int | str, classes: int, labels: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        resolve_target(target, classes, labels)


def test_a_class_of_an_unknown_count_is_accepted() -> None:
    assert resolve_target(1234, None, None) == 1234
