"""The planted Clever Hans is found, and its clean twin passes."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from onnxcam.audit import run

pytest.importorskip("sklearn")
pytest.importorskip("torch")
pytest.importorskip("pyarrow")


@pytest.mark.exhaustive
def test_a_corner_mark_is_found_and_its_twin_passes(tmp_path: Path) -> None:
    tool: Any = importlib.import_module("clever_hans")
    tool.plant(tmp_path)
    verdicts = {}
    for name in ("planted", "clean"):
        made = run(
            tmp_path / f"{name}.onnx", tmp_path / "data.npz", tmp_path / name, slices=["marked"],
            engine="here", trust=8,
        )  # fmt: skip
        verdicts[name] = made.verdict
    assert verdicts["clean"].result == "pass"
    assert verdicts["planted"].result == "fail"
    assert [(f.measure, f.group) for f in verdicts["planted"].open] == [("suspicious", "8")]
    groups = json.loads((tmp_path / "planted" / "results.json").read_text())["where"]
    eight = next(g for g in groups if g["per"] == "class" and g["group"] == "8")
    flagged = [s for s in eight["strategies"] if s["flag"]]
    marked = {g["group"]: g["count"] for g in groups}["marked=yes"]
    assert len(flagged) == 1 and "corner" in flagged[0]["flag"]
    assert abs(flagged[0]["count"] - marked) <= 2  # the strategy is the marked ones
