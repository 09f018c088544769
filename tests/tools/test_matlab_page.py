"""The page for who comes from MATLAB says what its code does, and its pictures are of that."""

from __future__ import annotations

import os
from pathlib import Path

import make_matlab
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_and_its_pictures_are_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    results = [make_matlab.ran(example) for example in make_matlab.EXAMPLES]
    assert (ROOT / "docs" / "matlab.md").read_text() == make_matlab.page(results)
    for example, found in zip(make_matlab.EXAMPLES, results, strict=True):
        place = ROOT / "docs" / f"matlab-{example.name}.png"
        kept = np.asarray(Image.open(place).convert("RGB")).astype(int)
        new = np.asarray(make_matlab.drawn(example, found)).astype(int)
        assert new.shape == kept.shape
        assert np.abs(new - kept).mean() < 2, os.fspath(place)
