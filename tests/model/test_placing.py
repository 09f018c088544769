"""Files take their place whole or not at all, and never the model's."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from support import nets

import onnxcam
from onnxcam.errors import OnnxcamError, UsageError
from onnxcam.run.session import Session


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(nets.cnn(softmax=True).SerializeToString())
    return path


def test_an_existing_file_needs_force(model: Path, tmp_path: Path) -> None:
    place = tmp_path / "out.onnx"
    place.write_text("mine")
    with pytest.raises(UsageError, match="exists.*force=True"):
        onnxcam.convert(model, place)
    assert place.read_text() == "mine"
    onnxcam.convert(model, place, force=True)
    onnx.checker.check_model(place)


@pytest.mark.parametrize("force", [False, True])
def test_the_model_itself_is_never_overwritten(model: Path, force: bool) -> None:
    before = model.read_bytes()
    with pytest.raises(UsageError, match="is the model itself"):
        onnxcam.convert(model, model, force=force)
    assert model.read_bytes() == before


@pytest.mark.parametrize("kind", ["symbolic", "hard"])
def test_a_link_to_the_model_is_the_model(model: Path, tmp_path: Path, kind: str) -> None:
    link = tmp_path / "link.onnx"
    (link.symlink_to if kind == "symbolic" else link.hardlink_to)(model)
    before = model.read_bytes()
    for output, source in ((link, model), (model, link)):
        with pytest.raises(UsageError, match="is the model itself"):
            onnxcam.convert(source, output, force=True)
    assert model.read_bytes() == before


def test_a_link_to_nowhere_needs_force_too(model: Path, tmp_path: Path) -> None:
    (tmp_path / "out.onnx").symlink_to(tmp_path / "gone.onnx")
    with pytest.raises(UsageError, match="exists"):
        onnxcam.convert(model, tmp_path / "out.onnx")


@pytest.mark.parametrize(
    ("moment", "name"),
    [
        ("c.verify = lambda *a, **k: wait()", "while the check runs"),
        ("p.write = lambda m, w, file: (file.write(b'half'), file.flush(), wait())", "half-way"),
    ],
)
def test_a_kill_leaves_the_old_file(model: Path, tmp_path: Path, moment: str, name: str) -> None:
    """The old file is whole, and nothing else has a name of its own."""
    place = tmp_path / "out.onnx"
    place.write_text("old")
    code = (
        "import time, onnxcam, onnxcam.conversion as c, onnxcam.model.saving as p\n"
        "def wait(): print('now', flush=True); time.sleep(60)\n"
        f"{moment}\n"
        f"onnxcam.convert({str(model)!r}, {str(place)!r}, force=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"now", name
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert place.read_text() == "old"
    assert {p.name for p in tmp_path.iterdir() if not p.name.startswith(".")} == {
        "m.onnx", "out.onnx",
    }  # fmt: skip


@pytest.fixture
def large(model: Path, monkeypatch: pytest.MonkeyPatch) -> onnx.ModelProto:
    """A model too large for one file: here with the limit set low."""
    proto = nets.cnn(channels=40)
    model.write_bytes(proto.SerializeToString())
    monkeypatch.setattr("onnxcam.model.saving._ONE_FILE", 10)
    return proto


def _names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


def _check_large(place: Path, proto: onnx.ModelProto) -> None:
    x = np.ones((1, 40, 6, 6), "f4")
    want = Session(proto, device="cpu").run({"x": x})[0]
    got = Session(onnx.load(place), device="cpu").run({"x": x}, ["logits"])[0]
    np.testing.assert_allclose(got, want, rtol=1e-5)
    onnx.checker.check_model(str(place))


def test_a_model_too_large_for_one_file(
    model: Path, tmp_path: Path, large: onnx.ModelProto
) -> None:
    place = tmp_path / "out.onnx"
    onnxcam.convert(model, place)
    assert _names(tmp_path) == {"m.onnx", "out.onnx", "out.onnx.data"}
    _check_large(place, large)
    onnxcam.convert(model, place, force=True, method="saliency")
    (data,) = _names(tmp_path) - {"m.onnx", "out.onnx"}
    assert re.fullmatch(r"out\.onnx\.[0-9a-f]{8}\.data", data), "the old one's stayed to the end"
    _check_large(place, large)


def test_weights_that_others_use_are_not_replaced(
    model: Path, tmp_path: Path, large: onnx.ModelProto
) -> None:
    """Here the model's own lie where the new one's would."""
    copy = onnx.ModelProto.FromString(large.SerializeToString())
    onnx.save_model(
        copy, model, save_as_external_data=True, location="out.onnx.data", size_threshold=0
    )
    before = (tmp_path / "out.onnx.data").read_bytes()
    onnxcam.convert(model, tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx.data").read_bytes() == before
    _check_large(tmp_path / "out.onnx", large)


def test_a_failure_at_the_last_step_leaves_the_old_large_model(
    model: Path, tmp_path: Path, large: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "out.onnx"
    onnxcam.convert(model, place)
    before = _names(tmp_path)

    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("onnxcam.files.os.replace", fail)
    other = nets.cnn(channels=40, classes=5)
    with pytest.raises(OnnxcamError, match="cannot be written"):
        onnxcam.convert(other, place, force=True)
    assert _names(tmp_path) == before
    _check_large(place, large)
