"""How boxes are written is read off numbers, and left alone where these show nothing."""

from __future__ import annotations

import numpy as np
import pytest

from onnxcam.analysis.detectors import Boxes, Column, Detector, Head, Rows, Scale
from onnxcam.run.settling import settled

RNG = np.random.default_rng(0)
SIZE = (64, 96)
GRID = Scale((8, 12), 4, None)
HEAD = (Head("s", 0, 2),)
Y, X = np.mgrid[:8, :12].reshape(2, -1) * 8.0 + 4
WIDE, HIGH = RNG.uniform(4, 20, size=(2, 96))
CORNERS = np.stack([X - WIDE, Y - HIGH, X + WIDE, Y + HIGH], 1)
CENTRED = np.stack([X, Y, 2 * WIDE, 2 * HIGH], 1)
ROWS = Rows(Column("s", None, 2), Column("detection_boxes", 0, 3), None)


@pytest.mark.parametrize(
    ("numbers", "form", "unit"),
    [
        (CORNERS, "xyxy", "pixels"), (CENTRED, "cxcywh", "pixels"),
        (CORNERS / [96, 64, 96, 64], "xyxy", "normalised"),
        (CORNERS[:, [1, 0, 3, 2]], "yxyx", "pixels"),
        (np.stack([WIDE, HIGH, WIDE, HIGH], 1), None, None),  # distances from the cells
        (RNG.normal(size=(96, 4)) * 30, None, None),
        (CORNERS * np.nan, None, None),
    ],
)  # fmt: skip
def test_boxes_read_off_a_grid(numbers: np.ndarray, form: str | None, unit: str | None) -> None:
    detector = Detector(HEAD, (Boxes("b", 0, 2),), "Sigmoid", scales=(GRID,))
    found = settled(detector, numbers[None], SIZE)
    assert (found.form, found.unit) == (form, unit)


def test_rows_that_suppression_left() -> None:
    detector = Detector(HEAD, (), "Sigmoid", scales=(GRID,), rows=ROWS)
    for numbers, form in (
        (CORNERS[:5, [1, 0, 3, 2]], "yxyx"),  # by the name that TensorFlow gives them
        (np.array([[40.0, 30, 8, 9], [70, 50, 9, 4]]), "cxcywh"),
        (np.zeros((0, 4)), None),
    ):
        assert settled(detector, numbers[None], SIZE, grid=False).form == form
    assert settled(detector, CORNERS[None], (1, 1), grid=False).form is None
