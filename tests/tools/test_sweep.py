"""The page of the sweep: what does not beat chance stands out, and it is up to date."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from sweep.page import write
from sweep.subjects import Boxed

ROOT = Path(__file__).resolve().parents[2]


def _row(pointing: float, energy: float, deletion: float, insertion: float) -> dict[str, float]:
    return {
        "pictures": 3, "seconds": 1, "pointing-game": pointing, "energy": energy,
        "deletion": deletion, "insertion": insertion,
    }  # fmt: skip


def test_a_broken_method_stands_out(tmp_path: Path) -> None:
    rows = {
        "centre": _row(0.5, 0.4, 0.2, 0.3), "random": _row(0.1, 0.2, 0.1, 0.1),
        "edges": _row(0.3, 0.2, 0.1, 0.1), "sound": _row(0.9, 0.6, 0.05, 0.5),
        "coarse": _row(0.9, 0.6, 0.2, 0.5), "broken": _row(0.1, 0.1, 0.2, 0.05),
        "odd": {"error": "UsageError: no convolution"},
    }  # fmt: skip
    results = tmp_path / "s.json"
    results.write_text(json.dumps({"net": {"methods": rows}}))
    assert write(results, tmp_path / "s.md", check=True) == 1
    assert write(results, tmp_path / "s.md", check=False) == 0
    page = (tmp_path / "s.md").read_text()
    assert write(results, tmp_path / "s.md", check=True) == 0
    assert "**`broken`**" in page and "**`sound`**" not in page and "**`coarse`**" not in page
    assert "0.200 -" in page and "*random*" in page
    assert "- `odd`: UsageError: no convolution" in page


def test_the_page_is_up_to_date() -> None:
    assert write(ROOT / "docs" / "sweep.json", ROOT / "docs" / "sweep.md", check=True) == 0


def test_boxes_lie_in_what_the_model_sees() -> None:
    """A box of the picture's left half, of which the model sees the middle."""
    boxed = Boxed("x", None, (0,), ((0.0, 0.0, 50.0, 80.0),))
    mask = boxed.mask((8, 8), (20.0, 0.0, 100.0, 80.0))
    want = np.zeros((8, 8), bool)
    want[:, :3] = True
    np.testing.assert_array_equal(mask, want)
    np.testing.assert_array_equal(boxed.mask((80, 100), None)[:, :50], True)
