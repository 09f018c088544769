"""The page of the sweep: what does not beat chance stands out, and it is up to date."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from sweep.page import write
from sweep.store import Store
from sweep.subjects import Boxed

ROOT = Path(__file__).resolve().parents[2]


def _row(*numbers: float, count: int = 3) -> dict[str, list[float]]:
    return {f"picture {k}": [*numbers, 1.0] for k in range(count)}


def test_a_broken_method_stands_out(tmp_path: Path) -> None:
    rows: dict[str, Any] = {
        "centre": _row(0.5, 0.4, 0.2, 0.3), "random": _row(0.1, 0.2, 0.1, 0.1),
        "edges": _row(0.3, 0.2, 0.1, 0.1), "sound": _row(0.9, 0.6, 0.05, 0.5),
        "coarse": _row(0.9, 0.6, 0.2, 0.5), "broken": _row(0.1, 0.1, 0.2, 0.05),
        "odd": {"error": "UsageError: no convolution"}, "begun": {},
    }  # fmt: skip
    results = tmp_path / "s.json"
    results.write_text(json.dumps({"net": rows}))
    assert write(results, tmp_path / "s.md", check=True) == 1
    assert write(results, tmp_path / "s.md", check=False) == 0
    page = (tmp_path / "s.md").read_text()
    assert write(results, tmp_path / "s.md", check=True) == 0
    assert "**`broken`**" in page and "**`sound`**" not in page and "**`coarse`**" not in page
    assert "0.200 ± 0.00 -" in page and "*random*" in page and "begun" not in page
    assert "| `sound` | 3 |" in page and "| 4/4 4/4 4/4 | 1.00 |" in page
    assert "- `odd`: UsageError: no convolution" in page


def test_methods_are_held_against_a_baseline_on_the_same_pictures(tmp_path: Path) -> None:
    """Of the first picture alone the method is worse, though its mean is the better one."""
    rows = {name: _row(0.2, 0.2, 0.2, 0.2) for name in ("centre", "edges", "random")}
    rows["random"]["picture 0"] = [0.9, 0.9, 0.0, 0.9, 1.0]
    rows["hard"] = _row(0.5, 0.5, 0.1, 0.5, count=1)
    results = tmp_path / "s.json"
    results.write_text(json.dumps({"net": rows}))
    write(results, tmp_path / "s.md", check=False)
    assert "| 4/4 0/4 4/4 |" in (tmp_path / "s.md").read_text()


def test_a_run_goes_on_where_it_ended(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.json")
    store.row("net", "rise")["one"] = [1.0, 0.5, 0.1, None, 0.2]
    store.row("net", "aise")["error"] = "no"
    store.save()
    again = Store(tmp_path / "s.json")
    assert again.kept == store.kept and again.row("net", "rise")["one"][3] is None
    again.save()
    assert Store(tmp_path / "s.json").kept == store.kept


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
