"""Concepts of many pictures: planted ones, the bank, the shell, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from look.test_concepts import SIDE, SPEC, _net
from PIL import Image

from onnxcam import Explainer
from onnxcam.cli import main
from onnxcam.errors import UsageError
from onnxcam.look.concepts import concepts
from onnxcam.look.craft import craft

pytest.importorskip("sklearn")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of which class 0 is red (and half of blue), pictures half red, half green or blue."""
    onnx.save(_net(), str(tmp_path / "m.onnx"))
    (tmp_path / "m.toml").write_text(
        'layout = "NCHW"\nchannels = "RGB"\nscale = 0.00392156862745098\n'
    )
    (tmp_path / "set").mkdir()
    for k, (name, colour) in enumerate(dict(a=(0, 200, 0), b=(0, 150, 0), c=(0, 0, 20)).items()):
        pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
        pixels[:, : SIDE // 2] = 250 - 40 * k, 0, 0
        pixels[:, SIDE // 2 :] = colour
        Image.fromarray(pixels).save(tmp_path / "set" / f"{name}.png")
    return tmp_path


def _found(folder: Path, **more: Any) -> Any:
    how = {"target": 0, "layer": "a", "preprocess": SPEC, "concepts": 3, "crop": 0.5, **more}
    return craft(folder / "m.onnx", sorted((folder / "set").iterdir()), **how)


def test_the_planted_concept_counts_most(folder: Path) -> None:
    """Red alone moves class 0: its channels are those of red and of the sum of colours."""
    told: list[tuple[int, int]] = []
    found = _found(folder, progress=lambda *done: told.append(done), each=2)
    first = found.found[0]
    red = found.bank[first.channel]
    np.testing.assert_allclose(red / red.max(), [1, 0, 0, 1], atol=0.15)
    assert first.share > 0.9 and first.error is not None and first.error < 0.1
    assert [Path(e.source).stem for e in first.pictures] == ["a", "b"], "the most red ones"
    assert first.values[0] > first.values[1] > 0
    for e in first.pictures:
        assert e.map[:, : SIDE // 2 - 1].min() > 3 * e.map[:, SIDE // 2 + 1 :].max()
    assert found.of == "concept" and len(told) == 2 * 3 and not found.failed
    assert found.as_dict()["concepts"][0]["share"] == first.share


def test_a_bank_that_was_written_explains_another_picture(folder: Path, tmp_path: Path) -> None:
    found = _found(folder)
    found.save_bank(tmp_path / "bank.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "bank.npy"), found.bank)
    explain = Explainer(
        _net(), "craft", feature_layer="a", preprocess=SPEC, device="cpu",
        parameters={"bank": str(tmp_path / "bank.npy")},
    )  # fmt: skip
    one = explain(str(folder / "set" / "c.png"), 0)
    assert one.parameters["concept_shown"] == found.found[0].channel
    with pytest.raises(UsageError, match="channels have no features"):
        channels = concepts(_net(), [folder / "set" / "a.png"], layer="a", preprocess=SPEC, most=1)
        channels.save_bank(tmp_path / "none.npy")


def test_what_cannot_be_found_is_said(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(UsageError, match="no picture of the set can be explained.*broken.png"):
        craft(_net(), [broken], layer="a", preprocess=SPEC)
    for wrong in ({"crop": 0.0}, {"concepts": 0}, {"each": 0}):
        with pytest.raises(UsageError, match="1 or more of each"):
            _found(folder, **wrong)
    some = craft(_net(), [*(folder / "set").iterdir(), broken], target=0, layer="a",
                 preprocess=SPEC, concepts=2, designs=2, most=1)  # fmt: skip
    assert "broken.png" in some.failed[0][0]


def test_the_shell(folder: Path) -> None:
    call = ["craft", str(folder / "m.onnx"), str(folder / "set"), "--target", "0",
            "--feature-layer", "a", "--concepts", "3", "--designs", "8", "--each", "2",
            "-o", str(folder / "craft.png"), "--bank", str(folder / "bank.npy")]  # fmt: skip
    result = CliRunner().invoke(main, [*call, "--json"])
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert len(said["concepts"]) == 3 and said["concepts"][0]["share"] > 0.5
    assert Image.open(folder / "craft.png").width > 300
    assert np.load(folder / "bank.npy").shape == (3, 4)
    assert "concept" in CliRunner().invoke(main, call).output
