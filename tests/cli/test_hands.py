"""What people type and what comes back: figures of several maps, folders, pipes, completion."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from support import nets

from onnxcam.cli import main

RNG = np.random.default_rng(0)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and class folders of pictures; it is the current folder."""
    (tmp_path / "m.onnx").write_bytes(nets.cnn(channels=3).SerializeToString())
    for name in ("cats/a", "cats/b", "dogs/a"):
        place = tmp_path / "photos" / f"{name}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG.integers(0, 255, (18, 24, 3), dtype=np.uint8)).save(place)
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    (tmp_path / "labels.txt").write_text("cat\ndog\nbird\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(*words: object, data: bytes | None = None) -> Result:
    return CliRunner().invoke(main, [str(w) for w in words], input=data)


def _explained(*words: object, data: bytes | None = None) -> Result:
    result = _run("explain", "m.onnx", *words, "--preprocess", "unit", data=data)
    assert result.exit_code == 0, result.output
    return result


def test_a_folder_keeps_its_tree(desk: Path) -> None:
    _explained("photos", "-o", "out")
    made = sorted(str(p.relative_to(desk / "out")) for p in (desk / "out").rglob("*.png"))
    assert made == [os.path.join(*n.split("/")) for n in (
        "cats/a.gradcam.png", "cats/b.gradcam.png", "dogs/a.gradcam.png",
    )]  # fmt: skip


def test_a_pattern_is_taken_where_the_shell_left_it(desk: Path) -> None:
    output = _explained("photos/*/a.png", "-o", "out").output
    assert output.count("->") == 2
    result = _run("explain", "m.onnx", "photos/*/z.png", "--preprocess", "unit")
    assert result.exit_code == 2 and "no such file" in result.output
    (desk / "empty").mkdir()
    assert "no picture and no array" in _run("explain", "m.onnx", "empty").output


def test_a_picture_comes_from_a_pipe_and_goes_into_one(desk: Path) -> None:
    data = (desk / "photos/cats/a.png").read_bytes()
    result = _explained("-", "-o", "-", "--only", "overlay", data=data)
    with Image.open(io.BytesIO(result.stdout_bytes)) as image:
        assert image.size == (24, 18)
    assert "->" in result.stderr and "->" not in result.stdout_bytes.decode("latin-1")
    buffer = io.BytesIO()
    np.save(buffer, RNG.standard_normal((3, 6, 6)).astype("f4"))
    assert "class" in _explained("-", "-o", "x.json", data=buffer.getvalue()).output
    assert json.loads((desk / "x.json").read_text())["source"] == "-"
    assert _run("explain", "m.onnx", "-", data=b"").exit_code == 1
    assert not list(Path(os.environ.get("TMPDIR", "/tmp")).glob("onnxcam-*/stdin.png"))


def test_several_maps_of_one_picture_are_one_figure(desk: Path) -> None:
    words = ("photos/cats/a.png", "--method", "gradcam", "--method", "saliency", "--labels",
             "labels.txt", "--target", "cat", "--target", "dog", "--target", "2")  # fmt: skip
    output = _explained(*words, "-o", "all.png").output
    assert "6 maps -> all.png" in output
    with Image.open(desk / "all.png") as image:
        assert image.width > 500 and image.height > 500
    _explained(*words, "-o", "all.json")
    assert len(json.loads((desk / "all.json").read_text())) == 6
    assert _run("explain", "m.onnx", *words, "-o", "all.npz").exit_code == 2


def test_panels_share_a_scale_or_not_and_go_to_a_folder_each(desk: Path) -> None:
    words = ("photos", "--target", "0", "--target", "1", "--panel", "one", "-o", "out")
    _explained(*words, "--format", "webp")
    assert len(list((desk / "out").rglob("*.panel.webp"))) == 3


def test_many_pictures_make_a_contact_sheet(desk: Path) -> None:
    assert "3 maps -> sheet.jpg" in _explained("photos", "-o", "sheet.jpg").output
    with Image.open(desk / "sheet.jpg") as image:
        assert image.format == "JPEG"


@pytest.mark.parametrize("style", ["overlay", "Relief", "heat", "side", "contour"])
def test_every_style_is_drawn(desk: Path, style: str) -> None:
    _explained("photos/cats/a.png", "--style", style, "-o", "a.png")
    _explained("photos/cats/a.png", "--only", style, "--scale", "2", "-o", "b.png")
    with Image.open(desk / "b.png") as image:
        assert image.size == (48, 36)


def test_names_are_taken_in_any_case_and_guessed(desk: Path) -> None:
    _explained("photos/cats/a.png", "--method", "GradCAM", "--colormap", "Viridis", "-o", "a.png")
    assert "did you mean 'gradcam'" in _run("explain", "m.onnx", "x", "--method", "gradkam").output
    assert "Did you mean 'explain'" in _run("explian").output
    assert _run("Methods").exit_code == 0


def test_quiet_says_nothing_and_verbose_says_more(desk: Path) -> None:
    words = ("explain", "m.onnx", "photos/cats/a.png", "--preprocess", "unit", "-o", "a.png")
    assert _run("-q", *words).output == ""
    assert "->" in _run(*words).output
    assert "onnxcam.run" in _run("-v", *words, "--no-cache").stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    result = _run("completion", shell)
    assert result.exit_code == 0 and "_ONNXCAM_COMPLETE" in result.output


@pytest.mark.parametrize(
    ("typed", "word"),
    [
        ("--method GU", "guided-backprop"),
        ("--colormap vi", "viridis"),
        ("--feature-layer re", "relu"),
        ("--labels labels.txt --target d", "dog"),
        ("--preprocess im", "imagenet"),
        ("--style con", "contour"),
    ],
)
def test_words_complete(desk: Path, typed: str, word: str) -> None:
    words = f"onnxcam explain m.onnx {typed}"
    environment = {
        **os.environ, "_ONNXCAM_COMPLETE": "bash_complete", "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "onnxcam"], env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert f"plain,{word}" in done.stdout.splitlines()


def test_the_demo_explains_with_what_is_installed(desk: Path) -> None:
    result = _run("demo", "-o", "demo.png")
    assert result.exit_code == 0, result.output
    assert "Egyptian cat" in result.output
    with Image.open(desk / "demo.png") as image:
        assert image.width > 500


def test_maps_of_several_models_are_one_figure(desk: Path) -> None:
    (desk / "twin.onnx").write_bytes(nets.cnn(channels=3, classes=4).SerializeToString())
    words = ("photos/cats/a.png", "photos/cats/b.png", "--beside", "twin.onnx")
    output = _explained(*words, "-o", "both.png").output
    assert "4 maps -> both.png" in output
    lines = [line for line in output.splitlines() if line.startswith("photos/")]
    assert [(line.split(":")[0][-5:], line.rsplit(", ", 1)[1]) for line in lines] == [
        ("a.png", "m"), ("a.png", "twin"), ("b.png", "m"), ("b.png", "twin"),
    ]  # fmt: skip
    _explained(*words, "-o", "both.json")
    found = json.loads((desk / "both.json").read_text())
    assert len({each["model_sha256"] for each in found}) == 2
    for place in ((), ("-o", "out")):
        result = _run("explain", "m.onnx", *words, "--preprocess", "unit", *place)
        assert result.exit_code == 2 and "several models go into one figure" in result.output
    shutil.copy("m.onnx", "kept.png")  # a model that is given is never written over
    result = _run(
        "explain", "m.onnx", "photos/cats/a.png", "--beside", "kept.png", "-o", "kept.png"
    )
    assert result.exit_code == 2 and "is what was given" in result.output
