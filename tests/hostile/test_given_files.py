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
from PIL import Image
from support import nets

from onnxcam import Explainer, load
from onnxcam.audit.policy import read_policy
from onnxcam.errors import ModelError, OnnxcamError
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
