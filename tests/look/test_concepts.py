"""Channels with the pictures that excite them most: by hand, the sheet, the shell."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper
from PIL import Image
from support import nets

from onnxcam.cli import main
from onnxcam.errors import UsageError
from onnxcam.inputs import InputSpec
from onnxcam.look.concepts import concepts

SIDE = 8
COLOURS = np.array([[200, 30, 10], [20, 180, 40], [10, 60, 240], [90, 90, 90]], np.uint8)


def _net() -> onnx.ModelProto:
    """Channels of the layer are red, green, blue and their sum; a class is w times their means."""
    weights = {
        "k": np.concatenate([np.eye(3), np.ones((1, 3))]).reshape(4, 3, 1, 1).astype("f4"),
        "w": np.array([[1, -1], [0, 2], [0.5, 0], [0, 0]], "f4"),
    }
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"]),
        helper.make_node("Relu", ["c"], ["a"]),
        helper.make_node("GlobalAveragePool", ["a"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    return nets.model(nodes, {"x": ["N", 3, SIDE, SIDE]}, {"y": ["N", 2]}, weights)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model, and pictures of a colour each."""
    onnx.save(_net(), str(tmp_path / "m.onnx"))
    (tmp_path / "m.toml").write_text(
        'layout = "NCHW"\nchannels = "RGB"\nscale = 0.00392156862745098\n'
    )
    (tmp_path / "set").mkdir()
    for name, colour in zip("abcd", COLOURS, strict=True):
        square = np.broadcast_to(colour, (SIDE, SIDE, 3))
        Image.fromarray(np.ascontiguousarray(square)).save(tmp_path / "set" / f"{name}.png")
    return tmp_path


SPEC = InputSpec(layout="NCHW", channels="RGB", scale=1 / 255)


def _names(found: object) -> list[list[str]]:
    return [[Path(e.source).stem for e in each.pictures] for each in found.found]  # type: ignore[attr-defined]


def test_pictures_by_activation(folder: Path) -> None:
    pictures = sorted((folder / "set").glob("*.png"))
    found = concepts(folder / "m.onnx", pictures, channels=[0, 1, 2, 3], each=2, layer="a",
                     preprocess=SPEC)  # fmt: skip
    assert _names(found) == [["a", "d"], ["b", "d"], ["c", "d"], ["c", "d"]]
    assert found.found[0].values == pytest.approx([200 / 255, 90 / 255], rel=1e-3)
    assert found.found[3].values[0] == pytest.approx(310 / 255, rel=1e-3)
    assert found.found[0].pictures[0].parameters["channel"] == 0


def test_channels_and_pictures_by_relevance(folder: Path) -> None:
    """Of the picture's top class: of the green one 2 g against r + b / 2."""
    pictures = sorted((folder / "set").glob("*.png"))
    found = concepts(folder / "m.onnx", pictures, explained=pictures[1], most=2, each=3,
                     by="relevance", layer="a", preprocess=SPEC)  # fmt: skip
    assert found.found[0].channel == 1
    assert found.found[0].share == pytest.approx(2 * 180 / 255, rel=1e-3)
    assert _names(found)[0][0] == "b"
    sheet = np.asarray(found.sheet(size=60))
    assert sheet.ndim == 3 and sheet.shape[2] == 3
    json.dumps(found.as_dict())


def test_what_cannot_be_read_is_told_and_the_rest_goes_on(folder: Path) -> None:
    (folder / "set" / "e.png").write_bytes(b"no picture")
    pictures = sorted((folder / "set").glob("*.png"))
    found = concepts(folder / "m.onnx", pictures, most=1, each=9, layer="a", preprocess=SPEC)
    assert len(found.found[0].pictures) == 4 and found.failed[0][0].endswith("e.png")
    with pytest.raises(UsageError, match="there is no channel 4"):
        concepts(folder / "m.onnx", pictures, channels=[4], layer="a", preprocess=SPEC)
    with pytest.raises(UsageError, match="no picture of the set"):
        concepts(folder / "m.onnx", pictures[-1:], layer="a", preprocess=SPEC)


def test_the_shell_writes_a_sheet(folder: Path) -> None:
    words = ["concepts", str(folder / "m.onnx"), str(folder / "set"), "--feature-layer", "a"]
    words += ["-o", str(folder / "sheet.png"), "--most", "2", "--each", "2", "--json"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    said = json.loads(result.output)
    assert len(said["channels"]) == 2 and Image.open(folder / "sheet.png").width > 100
