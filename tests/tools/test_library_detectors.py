"""The table of library code's detectors: its page, and what it compares with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from survey import detector_page  # noqa: E402
from survey.boxes import Found  # noqa: E402
from survey.tape import record  # noqa: E402
from tables.store import Rows  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "library_detectors.py"
ROWS: list[dict[str, Any]] = json.loads((ROOT / "docs" / "library-detectors.json").read_text())[
    "rows"
]


def test_the_page_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, TOOL, "page", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_no_file_is_wrong_and_none_is_off() -> None:
    made = [r for r in ROWS if r["verdict"] == "right"]
    assert made and not [r for r in ROWS if r["verdict"] == "WRONG"]
    for row in made:
        bound = max(1e-3, 2 * (row["kink"] or 0))
        assert max(row["map"], row["gradcam"]) <= bound, row


def test_what_a_network_detaches_is_told_from_what_is_wrong() -> None:
    """RT-DETR: attached it is what the file computes, and the network's own map another."""
    rows = {r["name"]: r for r in ROWS if r["name"] in ("RTDetr", "RTDetrV2")}
    assert set(rows) == {"RTDetr", "RTDetrV2"}
    for row in rows.values():
        assert row["detached"] and row["map"] < 1e-5 and row["own"] > 0.1


def test_attached_gradients_are_the_derivative() -> None:
    class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            y = x * x
            return (y * y.detach()).sum()

    x = torch.arange(1.0, 4.0, dtype=torch.float64)
    for attached, want in ((False, 2 * x**3), (True, 4 * x**3)):
        tape = record(Net(), x, attached)
        tape.back(tape.output)
        assert torch.allclose(tape.x.grad, want)
        assert tape.detached == 1


def test_rows_become_a_page(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    results = Rows(path, ("library", "name", "exporter"), [])
    results.add(Found("timm", "a", "script", map=1e-7, gradcam=2e-7, own=0.5).as_dict())
    results.add(Found("timm", "b", "script", verdict="not made", note="a | b").as_dict())
    text = detector_page.text_of(json.loads(path.read_text()))
    assert "1 files of 1 networks: 1 right" in text and r"a \| b" in text
    assert "| 1e-07 | 2e-07 | 0.5 |" in text


def test_the_tool_says_how_it_is_used() -> None:
    done = subprocess.run(
        [sys.executable, TOOL, "--help"], capture_output=True, text=True, check=True
    )
    assert "library_detectors.py" in done.stdout
