"""Files that are given, and those that they name: regular ones, in their own folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from PIL import Image
from support import nets

from onnxcam import Explainer, convert, load
from onnxcam.audit.policy import read_policy
from onnxcam.cli import main
from onnxcam.errors import ModelError, OnnxcamError, UsageError
from onnxcam.inputs import load_labels, read_toml
from onnxcam.inputs.arrays import load_array
from onnxcam.inputs.picture import open_picture

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it makes pipes and links")
READERS: dict[str, Callable[[Path], Any]] = {
    "model.onnx": load,
    "picture.png": open_picture,
    "array.npy": lambda path: load_array(path, "x"),
    "labels.txt": load_labels,
    "labels.json": load_labels,
    "model.toml": read_toml,
    "policy.toml": read_policy,
}


@pytest.mark.parametrize("name", READERS)
def test_only_regular_files_are_opened(name: str, tmp_path: Path) -> None:
    """A device first: where the rule is broken reading it ends, while a pipe never would."""
    (tmp_path / name).symlink_to("/dev/null")
    with pytest.raises(OnnxcamError, match="is a device"):
        READERS[name](tmp_path / name)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(OnnxcamError, match="is a pipe"):
        READERS[name](tmp_path / name)


def test_external_data_with_a_second_name_is_refused(tmp_path: Path) -> None:
    """The other name may be that of a file of the user's, elsewhere."""
    folder = tmp_path / "model"
    folder.mkdir()
    onnx.save_model(
        nets.cnn(channels=8), folder / "m.onnx", save_as_external_data=True, location="w.data",
        size_threshold=64,
    )  # fmt: skip
    load(folder / "m.onnx")
    (tmp_path / "private").hardlink_to(folder / "w.data")
    with pytest.raises(ModelError, match="more than one name"):
        load(folder / "m.onnx")


def _desk(folder: Path) -> Path:
    """A model with its weights beside it, a description, labels and two pictures."""
    folder.mkdir()
    onnx.save_model(
        nets.cnn(channels=3), folder / "m.onnx", save_as_external_data=True, location="w.png",
        size_threshold=16,
    )  # fmt: skip
    for name in ("x.png", "y.png"):
        Image.fromarray(np.full((6, 6, 3), 90, np.uint8)).save(folder / name)
    (folder / "m.toml").write_text('labels = "l.json"\nscale = 0.1\n')
    (folder / "l.json").write_text('["a", "b", "c"]')
    (folder / "link.png").symlink_to("x.png")
    (folder / "s.onnx").write_bytes((folder / "x.png").read_bytes())
    return folder


WRITES = {
    "explain: labels that a description names": "explain m.onnx x.png -o l.json",
    "explain: weights": "explain m.onnx x.png -o w.png",
    "explain: another picture": "explain m.onnx x.png --similar-to y.png -o y.png",
    "compare: the picture": "compare m.onnx x.png --method gradcam -o x.png",
    "compare: a link to it": "compare m.onnx x.png --method gradcam -o link.png",
    "compare: labels": "compare m.onnx x.png --method gradcam --labels l.json -o l.json",
    "concepts: a picture": "concepts m.onnx x.png y.png -o y.png",
    "diff: the picture": "diff m.onnx m.onnx x.png -o x.png",
    "convert: the sample": "convert m.onnx --sample s.onnx -o s.onnx --force",
}


@pytest.mark.parametrize("how", WRITES)
def test_nothing_that_was_read_is_written_over(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _desk(tmp_path / "desk")
    monkeypatch.chdir(folder)
    given = {p.name: p.read_bytes() for p in folder.iterdir()}
    ran = CliRunner().invoke(main, WRITES[how].split())
    assert ran.exit_code == 2 and "onnxcam: " in ran.output, ran.output
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == given


def test_two_names_of_one_file_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _desk(tmp_path / "desk")
    monkeypatch.chdir(folder)
    (folder / "d").mkdir()
    (folder / "e").symlink_to("d")
    words = "explain m.onnx x.png -o d/x.npz --save-map e/x.npz"
    ran = CliRunner().invoke(main, words.split())
    assert ran.exit_code == 2 and "both name" in ran.output


def test_weights_that_the_model_needs_outlive_a_name(tmp_path: Path) -> None:
    """Two files name one file of weights; the one that is replaced is not the one in use."""
    onnx.save_model(
        nets.cnn(), tmp_path / "b.onnx", save_as_external_data=True, location="b.onnx.data",
        size_threshold=16,
    )  # fmt: skip
    (tmp_path / "m.onnx").write_bytes((tmp_path / "b.onnx").read_bytes())
    convert(tmp_path / "m.onnx", tmp_path / "b.onnx", force=True, check=False)
    load(tmp_path / "m.onnx")
    convert(tmp_path / "m.onnx", tmp_path / "b.onnx", force=True, check=False)  # and once more
    with pytest.raises(UsageError, match="was read for this"):
        onnx.save_model(
            nets.cnn(), tmp_path / "n.onnx", save_as_external_data=True, location="w.onnx",
            size_threshold=16,
        )  # fmt: skip
        convert(tmp_path / "n.onnx", tmp_path / "w.onnx", force=True, check=False)


@pytest.mark.parametrize("where", ["absolute", "upwards", "a link"])
def test_a_description_names_labels_beside_it(where: str, tmp_path: Path) -> None:
    """What lies elsewhere would be printed, and embedded into what is written."""
    private = tmp_path / "private.txt"
    private.write_text("one\ntwo\nthree\n")
    folder = tmp_path / "model"
    folder.mkdir()
    onnx.save(nets.cnn(), folder / "m.onnx")
    Image.fromarray(np.zeros((6, 6, 3), np.uint8)).save(folder / "x.png")
    (folder / "link.txt").symlink_to(private)
    name = {"absolute": str(private), "upwards": "../private.txt", "a link": "link.txt"}[where]
    (folder / "m.toml").write_text(f'labels = "{name}"\n')
    with pytest.raises(OnnxcamError, match="outside the folder of the description"):
        read_toml(folder / "m.toml")
    with pytest.raises(OnnxcamError, match="outside the folder of the description"):
        Explainer(folder / "m.onnx", cache=False)(folder / "x.png")
    (folder / "own.txt").write_text("a\nb\nc\n")
    (folder / "m.toml").write_text('labels = "own.txt"\n')
    assert read_toml(folder / "m.toml")["labels"] == ("a", "b", "c")
