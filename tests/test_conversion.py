"""Conversion: the file predicts as before and explains; nothing half-written is ever left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nets
import numpy as np
import onnx
import pytest
from click.testing import CliRunner

import onnxcam
from onnxcam import Explainer, methods
from onnxcam.cli import main
from onnxcam.errors import OnnxcamError, UsageError
from onnxcam.session import Session

X = np.random.default_rng(0).normal(size=(3, 2, 6, 6)).astype("f4")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(nets.cnn(softmax=True).SerializeToString())
    return path


def _run(path: Path, **feeds: np.ndarray) -> dict[str, np.ndarray]:
    session = Session(onnx.load(path), device="cpu")
    return dict(zip(session.outputs, session.run({"x": X, **feeds}), strict=True))


@pytest.mark.parametrize("method", ["gradcam", "cam", "saliency", "layercam"])
def test_the_file_predicts_and_explains(model: Path, tmp_path: Path, method: str) -> None:
    made = onnxcam.convert(model, tmp_path / "out.onnx", method=method)
    assert made.check is not None and made.check.plain == 0 and not made.check.problems
    got, plain = _run(tmp_path / "out.onnx"), _run(model)
    np.testing.assert_allclose(got["prob"], plain["prob"], rtol=1e-5)
    assert got["onnxcam.map"].shape == (3, 1, 6, 6)
    explain = Explainer(model, method, device="cpu")
    for n, found in enumerate(explain(list(X))):
        assert got["onnxcam.class"][n, 0] == found.target
        np.testing.assert_allclose(got["onnxcam.map"][n, 0], found.map, atol=1e-5)


def test_fixed_and_runtime_targets(model: Path, tmp_path: Path) -> None:
    onnxcam.convert(model, tmp_path / "fixed.onnx", target=[2, None])
    fixed = _run(tmp_path / "fixed.onnx")
    onnxcam.convert(model, tmp_path / "any.onnx", runtime_targets=True)
    free = _run(tmp_path / "any.onnx", **{"onnxcam.target": np.array([2, -1, 0])})
    assert fixed["onnxcam.map"].shape == (3, 2, 6, 6)
    assert free["onnxcam.map"].shape == (3, 3, 6, 6)
    assert (fixed["onnxcam.class"][:, 0] == 2).all()
    np.testing.assert_allclose(free["onnxcam.map"][:, :2], fixed["onnxcam.map"], atol=1e-6)
    assert _run(tmp_path / "any.onnx")["onnxcam.map"].shape == (3, 1, 6, 6)


@pytest.mark.parametrize("normalize", ["none", "max", "minmax"])
def test_normalised_and_exposed(model: Path, tmp_path: Path, normalize: str) -> None:
    place = tmp_path / "out.onnx"
    onnxcam.convert(
        model,
        place,
        normalize=normalize,
        expose=["score", "feature", "gradient"],  # type: ignore[arg-type]
    )
    got = _run(place)
    assert {"onnxcam.score", "onnxcam.feature", "onnxcam.gradient"} <= set(got)
    if normalize != "none":
        assert got["onnxcam.map"].max((2, 3)).max() == pytest.approx(1, abs=1e-5)


def test_the_provenance_is_in_the_file(model: Path, tmp_path: Path) -> None:
    onnxcam.convert(model, tmp_path / "out.onnx", preprocess="none")
    said = {p.key: p.value for p in onnx.load(tmp_path / "out.onnx").metadata_props}
    assert said["onnxcam.method"] == "gradcam" and said["onnxcam.feature_layer"] == "relu"
    assert len(said["onnxcam.source.sha256"]) == 64


def test_every_graph_method_can_be_converted(model: Path) -> None:
    for name in methods.names():
        made = onnxcam.convert(model, method=name)
        assert made.path is None and made.check is not None


def test_an_existing_file_needs_force(model: Path, tmp_path: Path) -> None:
    place = tmp_path / "out.onnx"
    place.write_text("mine")
    with pytest.raises(UsageError, match="exists.*--force"):
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


def test_an_explained_model_says_what_it_holds(model: Path, tmp_path: Path) -> None:
    onnxcam.convert(model, tmp_path / "out.onnx")
    with pytest.raises(UsageError, match="explained already.*method gradcam.*feature_layer relu"):
        onnxcam.convert(tmp_path / "out.onnx", tmp_path / "again.onnx")
    assert not (tmp_path / "again.onnx").exists()


def test_a_name_that_is_taken_is_an_error(tmp_path: Path) -> None:
    proto = nets.cnn()
    for node in proto.graph.node:
        node.output[:] = [o.replace("relu", "onnxcam.map") for o in node.output]
        node.input[:] = [i.replace("relu", "onnxcam.map") for i in node.input]
    with pytest.raises(UsageError, match=r"already has a tensor 'onnxcam\.map'"):
        onnxcam.convert(proto, tmp_path / "out.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_check_writes_nothing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxcam.verify._wanted", lambda *_: np.zeros((1, 1, 64, 64)))
    place = tmp_path / "out.onnx"
    place.write_text("old")
    with pytest.raises(OnnxcamError, match="the check failed: the map differs"):
        onnxcam.convert(model, place, force=True)
    assert place.read_text() == "old"
    assert {p.name for p in tmp_path.iterdir()} == {"m.onnx", "out.onnx"}


def test_a_kill_leaves_the_old_file(model: Path, tmp_path: Path) -> None:
    """Killed while the check runs: the old file is whole, and nothing has its name but it."""
    place = tmp_path / "out.onnx"
    place.write_text("old")
    code = (
        "import time, onnxcam, onnxcam.conversion as c\n"
        "c.verify = lambda *a, **k: (print('now', flush=True), time.sleep(60))\n"
        f"onnxcam.convert({str(model)!r}, {str(place)!r}, force=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"now"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert place.read_text() == "old"
    assert [p.name for p in tmp_path.glob("*.onnx")].count("out.onnx") == 1


def test_a_model_too_large_for_one_file(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here with the limit set low."""
    proto = nets.cnn(channels=40)
    model.write_bytes(proto.SerializeToString())
    monkeypatch.setattr("onnxcam.placing._ONE_FILE", 10)
    place = tmp_path / "out.onnx"
    onnxcam.convert(model, place)
    assert {p.name for p in tmp_path.iterdir()} == {"m.onnx", "out.onnx", "out.onnx.data"}
    x = np.ones((1, 40, 6, 6), "f4")
    want = Session(proto, device="cpu").run({"x": x})[0]
    got = Session(onnx.load(place), device="cpu").run({"x": x}, ["logits"])[0]
    np.testing.assert_allclose(got, want, rtol=1e-5)
    onnx.checker.check_model(str(place))


def test_the_command(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["convert", "m.onnx", "-o", "out.onnx", "--target", "1"])
    assert result.exit_code == 0, result.output
    assert "bit for bit" in result.output and "written: out.onnx" in result.output
    assert (_run(tmp_path / "out.onnx")["onnxcam.class"] == 1).all()
    again = CliRunner().invoke(main, ["convert", "m.onnx", "-o", "out.onnx"])
    assert again.exit_code == 2 and "exists" in again.output
    missing = CliRunner().invoke(main, ["convert", "m.onnx", "-o", "no/out.onnx"])
    assert missing.exit_code == 1 and "no such folder" in missing.output


def test_real_models_are_converted(shared_models: Path, tmp_path: Path) -> None:
    for path in sorted(shared_models.glob("*.onnx")):
        if path.stem.startswith("silero"):
            continue  # its audio input has no random sample that means anything
        started = time.monotonic()
        made = onnxcam.convert(path, tmp_path / path.name, check=os.environ.get("QUICK") is None)
        assert made.path is not None and time.monotonic() - started < 120
