"""Which preset is right, from pictures whose content is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from onnx import helper
from PIL import Image
from support import nets

from onnxcam.cli import main
from onnxcam.errors import UsageError
from onnxcam.look.ranking import rank_presets


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of dark, bright and dim, and pictures of the last two in folders.

    Its scores are 1 - 4x, 4x - 2 and 0.3, x the mean red: a red of 60 is dim and one of 200 bright
    only where pixels come from 0 to 1.
    """
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["logits"]),
    ]
    weights = {
        "w": np.array([[-4, 4, 0], [0, 0, 0], [0, 0, 0]], np.float32),
        "b": np.array([1, -2, 0.3], np.float32),
    }
    proto = nets.model(nodes, {"x": ["N", 3, 8, 8]}, {"logits": ["N", 3]}, weights)
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    (tmp_path / "labels.txt").write_text("dark\nbright\ndim\n")
    for name, red in (("bright", 200), ("dim", 60)):
        place = tmp_path / "photos" / name / "a.png"
        place.parent.mkdir(parents=True)
        Image.new("RGB", (8, 8), (red, 0, 0)).save(place)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _said(*words: str) -> str:
    result = CliRunner().invoke(main, ["inputs", "m.onnx", *words, "--labels", "labels.txt"])
    assert result.exit_code == 0, result.output
    return result.output


def test_folders_say_what_is_in_their_pictures(desk: Path) -> None:
    output = _said("photos")
    assert "unit" in output and "2 of 2" in output
    record = json.loads(_said("photos", "--json"))
    assert record["best"] == ["unit"]
    assert (
        record["verdict"].startswith("unit (") and "wins: 2 of 2 right; next" in record["verdict"]
    )


def test_ties_are_named(desk: Path) -> None:
    output = _said("photos/bright/a.png", "--truth", "bright")
    assert "a tie of" in output and " and " in output and "give more pictures" in output


def test_a_winner_may_be_saved(desk: Path) -> None:
    assert "written: m.toml" in _said("photos", "--save", "unit")
    assert (desk / "m.toml").is_file()


def test_what_nobody_says_is_asked_for(desk: Path) -> None:
    words = ["inputs", "m.onnx", "photos/dim/a.png", "photos/bright/a.png"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2 and "--truth LABEL" in result.output
    with pytest.raises(UsageError, match="1 true labels for 2 pictures"):
        rank_presets("m.onnx", ["photos/dim/a.png"] * 2, [0])


def test_no_preset_may_be_right(desk: Path) -> None:
    Image.new("RGB", (8, 8), (0, 0, 0)).save("black.png")
    found = rank_presets("m.onnx", ["black.png"], ["bright"], labels=Path("labels.txt"))
    assert found.verdict == "none: no preset names what is in any of 1 pictures"


def test_presets_that_do_the_same_are_no_tie(desk: Path) -> None:
    _said("photos", "--save", "unit")  # what is found is the preset unit now
    verdict = json.loads(_said("photos", "--json"))["verdict"]
    assert verdict.startswith("found (the same as unit) (") and "wins: 2 of 2 right" in verdict
