"""Files that change while they are used: copied before, or noticed; hashes cover all of them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from support import nets

import onnxcam
from onnxcam.errors import ModelError
from onnxcam.model import mapping
from onnxcam.model.model import load


def saved(path: Path, *, external: bool, factor: float = 1.0) -> list[Path]:
    """Save a network of which every weight is large, or small, enough to lie apart; its files."""
    model = nets.cnn(channels=64)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor) * np.float32(factor)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, path, save_as_external_data=external, location="weights.bin", size_threshold=0)
    return [path, *([path.with_name("weights.bin")] if external else [])]


def spoil(path: Path) -> None:
    """Write other bytes over the end of a file."""
    with path.open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(b"\x7f" * 8)
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))


def picture() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, 64, 6, 6)).astype(np.float32)


@pytest.mark.parametrize("external", [False, True])
def test_a_small_file_is_copied(external: bool, tmp_path: Path) -> None:
    files = saved(tmp_path / "model.onnx", external=external)
    explainer = onnxcam.Explainer(tmp_path / "model.onnx", device="cpu", cache=False)
    sha = load(tmp_path / "model.onnx").sha256
    before = explainer(picture())
    for file in files:
        spoil(file)
    after = explainer(picture())
    assert (after.map == before.map).all()
    assert after.model_sha256 == sha
    for file in files:
        os.truncate(file, 10)  # mapped, this would end the process
    assert (explainer(picture()).map == before.map).all()


@pytest.mark.parametrize("external", [False, True])
def test_a_large_file_that_is_written_to_is_noticed(
    external: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapping, "PRIVATE", 0)
    files = saved(tmp_path / "model.onnx", external=external)
    explainer = onnxcam.Explainer(tmp_path / "model.onnx", device="cpu", cache=False)
    explainer(picture())
    model = load(tmp_path / "model.onnx")
    spoil(files[-1])
    for work in (lambda: explainer(picture()), model.check_unchanged):
        with pytest.raises(ModelError, match="was written to while it was used"):
            work()
    with pytest.raises(ModelError, match="was written to"):
        onnxcam.convert(model, tmp_path / "out.onnx", check=False)
    assert not (tmp_path / "out.onnx").exists()


def test_a_file_that_takes_its_place_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapping, "PRIVATE", 0)
    saved(tmp_path / "model.onnx", external=False)
    explainer = onnxcam.Explainer(tmp_path / "model.onnx", device="cpu", cache=False)
    before = explainer(picture())
    saved(tmp_path / "new.onnx", external=False, factor=2)
    (tmp_path / "new.onnx").replace(tmp_path / "model.onnx")
    assert (explainer(picture()).map == before.map).all()
    (tmp_path / "model.onnx").unlink()
    assert (explainer(picture()).map == before.map).all()


@pytest.mark.parametrize("threshold", [0, 2000])
def test_the_hash_covers_every_file(threshold: int, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    for factor in (1.0, 2.0):
        folder = tmp_path / str(factor)
        folder.mkdir()
        saved(folder / "model.onnx", external=True, factor=factor)
    a, b = (load(tmp_path / f / "model.onnx") for f in ("1.0", "2.0"))
    assert a.files["model.onnx"] == b.files["model.onnx"]
    assert a.files["weights.bin"] != b.files["weights.bin"]
    assert a.sha256 != b.sha256
    saved(path, external=False)
    assert load(path).files == {"model.onnx": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert load(path.read_bytes()).files == {}


def test_weights_that_are_all_small_are_covered(tmp_path: Path) -> None:
    hashes = set()
    for factor in (1.0, 2.0):
        onnx.save(
            _scaled(nets.cnn(), factor),
            tmp_path / "model.onnx",
            save_as_external_data=True,
            location=f"w{factor}.bin",
            size_threshold=0,
        )
        (tmp_path / f"w{factor}.bin").rename(tmp_path / "w.bin")
        model = onnx.load(tmp_path / "model.onnx", load_external_data=False)
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = "w.bin"
        (tmp_path / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
        hashes.add(load(tmp_path / "model.onnx").sha256)
    assert len(hashes) == 2


def _scaled(model: onnx.ModelProto, factor: float) -> onnx.ModelProto:
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor) * np.float32(factor)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model


def test_a_converted_model_lists_what_was_read(tmp_path: Path) -> None:
    files = saved(tmp_path / "model.onnx", external=True)
    (tmp_path / "names.txt").write_text("a\nb\nc\n", "utf-8")
    (tmp_path / "model.toml").write_text('pictures = false\nlabels = "names.txt"\n', "utf-8")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "names.txt").write_text("d\ne\nf\n", "utf-8")
    files += [tmp_path / "names.txt", tmp_path / "model.toml"]
    found = onnxcam.convert(tmp_path / "model.onnx", labels=tmp_path / "deep" / "names.txt")
    said = json.loads(found.explained.model.metadata["onnxcam.source.files"])
    for file in files:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        assert digest in said.values(), file
    assert hashlib.sha256(b"d\ne\nf\n").hexdigest() in said.values()
    assert said["model.onnx"] == hashlib.sha256(files[0].read_bytes()).hexdigest()
