"""The files in models/ are the ones listed, and give what models/README.md says."""

from __future__ import annotations

import hashlib
import importlib
import json
import pickle
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from PIL import Image

from onnxcam.inputs import read_toml

TOOL = Path(__file__).resolve().parents[2] / "tools" / "build_models.py"
CLASSES = {
    "squeezenet1.1": 1000,
    "mobilenetv2": 1000,
    "digit_rotation": 1,
    "japanese_vowels": 9,
}
EGYPTIAN_CAT, ESPRESSO = 285, 967


@pytest.fixture(scope="module")
def tool(request: pytest.FixtureRequest) -> Any:
    """tools/build_models.py as a module; the tools import each other by their own folder."""
    return importlib.import_module("build_models")


def _run(path: Path, tensor: np.ndarray) -> np.ndarray:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: tensor})[0]


def _picture(path: Path, sidecar: Path, **changes: Any) -> np.ndarray:
    """Follow a sidecar with Pillow and NumPy alone."""
    spec = tomllib.loads(sidecar.read_text()) | changes
    image = Image.open(path).convert("L" if spec["channels"] == "GRAY" else "RGB")
    height, width = spec["size"]
    if spec["resize"] == "shortest":
        short = spec["resize_size"] / min(image.size)
        image = image.resize([int(side * short) for side in image.size], Image.Resampling.BILINEAR)
        left, top = round((image.width - width) / 2), round((image.height - height) / 2)
        image = image.crop((left, top, left + width, top + height))
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.atleast_3d(np.asarray(image))
    if spec["channels"] == "BGR":
        pixels = pixels[..., ::-1]
    values = (pixels * spec["scale"] - np.array(spec["mean"])) / np.array(spec["std"])
    return values.transpose(2, 0, 1)[None].astype(spec["dtype"])


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _samples(zoo: Path, kind: str) -> list[tuple[np.ndarray, Any]]:
    """The ready arrays of samples/`kind`.json with their truths."""
    truths = json.loads((zoo / "samples" / f"{kind}.json").read_text())
    return [
        (np.load(zoo / "samples" / name)[None], truth)
        for name, truth in truths.items()
        if name.endswith(".npy")
    ]


def test_the_readme_lists_every_file_with_its_hash(zoo: Path) -> None:
    listed = re.findall(
        r"^\| `(\S+)` \| (\d+) \| `(\w{64})` \|$", (zoo / "README.md").read_text(), re.MULTILINE
    )
    files = {name: (zoo / name).read_bytes() for name, _, _ in listed}
    assert [(name, int(size), digest) for name, size, digest in listed] == [
        (name, len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items()
    ]
    written_by_hand = {".toml", ".md"}
    there = {path for path in zoo.rglob("*") if path.is_file()}
    there = {path for path in there if path.suffix not in written_by_hand}
    assert {path.relative_to(zoo).as_posix() for path in there} == set(files)


def test_check_accepts_the_files(zoo: Path) -> None:
    command = [sys.executable, str(TOOL), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "every file is as models/README.md lists it" in done.stdout


def test_check_names_what_is_wrong(zoo: Path, tmp_path: Path) -> None:
    copy = tmp_path / "models"
    shutil.copytree(zoo, copy)
    (copy / "rocket.jpg").unlink()
    (copy / "samples" / "digit_3.npy").write_bytes(b"broken")
    (copy / "stray.onnx").write_bytes(b"")
    command = [sys.executable, str(TOOL), "--check", "--out", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    said = done.stdout.splitlines()
    assert said[0] == "rocket.jpg: missing"
    assert said[1].startswith(
        f"samples/digit_3.npy: sha256 is {hashlib.sha256(b'broken').hexdigest()}"
    )
    assert said[2:] == ["stray.onnx: not listed in models/README.md"]


@pytest.mark.parametrize("name", CLASSES)
def test_the_models_are_valid_and_their_sidecars_fit(name: str, zoo: Path) -> None:
    model = onnx.load(zoo / f"{name}.onnx")
    onnx.checker.check_model(model, full_check=True)
    (entry,), (exit_,) = model.graph.input, model.graph.output
    shapes = [
        [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in (entry, exit_)
    ]
    assert [shape[0] for shape in shapes] == ["N", "N"]
    assert shapes[1] == ["N", CLASSES[name]]
    said = read_toml(zoo / f"{name}.toml")
    assert len(said["labels"]) == CLASSES[name]
    assert len(said["layout"]) == len(shapes[0])
    assert said.get("size", ()) == tuple(shapes[0][2:] if "H" in said["layout"] else ())


@pytest.mark.parametrize("name", CLASSES)
def test_a_batch_gives_what_its_members_give(name: str, zoo: Path) -> None:
    """The batch axis is really free: no shape in the graph was frozen at export."""
    model = onnx.load(zoo / f"{name}.onnx", load_external_data=False)
    dims = model.graph.input[0].type.tensor_type.shape.dim
    shape = [dim.dim_value or 3 for dim in dims]
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    one_by_one = np.concatenate([_run(zoo / f"{name}.onnx", row[None]) for row in x])
    np.testing.assert_allclose(_run(zoo / f"{name}.onnx", x), one_by_one, rtol=1e-4, atol=1e-5)
    assert np.ptp(one_by_one, axis=0).max() > 0


def test_squeezenet_sees_the_egyptian_cat(zoo: Path) -> None:
    prob = _run(
        zoo / "squeezenet1.1.onnx", _picture(zoo / "chelsea.png", zoo / "squeezenet1.1.toml")
    )[0]
    assert prob.sum() == pytest.approx(1, abs=1e-5)
    assert int(prob.argmax()) == EGYPTIAN_CAT
    assert prob[EGYPTIAN_CAT] == pytest.approx(0.6435, abs=2e-3)


@pytest.mark.parametrize(("resize", "expected"), [("shortest", 0.7166), ("stretch", 0.7451)])
def test_mobilenet_sees_the_egyptian_cat(resize: str, expected: float, zoo: Path) -> None:
    x = _picture(zoo / "chelsea.png", zoo / "mobilenetv2.toml", resize=resize)
    prob = _softmax(_run(zoo / "mobilenetv2.onnx", x))[0]
    assert int(prob.argmax()) == EGYPTIAN_CAT
    assert prob[EGYPTIAN_CAT] == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("name", ["squeezenet1.1", "mobilenetv2"])
def test_both_see_an_espresso(name: str, zoo: Path) -> None:
    scores = _run(zoo / f"{name}.onnx", _picture(zoo / "coffee.png", zoo / f"{name}.toml"))
    assert int(scores[0].argmax()) == ESPRESSO


def test_the_class_names_are_in_imagenet_order(zoo: Path) -> None:
    names = (zoo / "imagenet_labels.txt").read_text().splitlines()
    wanted = {0: "tench", EGYPTIAN_CAT: "Egyptian cat", 282: "tiger cat", 812: "space shuttle"}
    wanted |= {ESPRESSO: "espresso", 999: "toilet tissue"}
    assert {number: names[number] for number in wanted} == wanted


def test_digit_rotation_finds_the_angles(zoo: Path) -> None:
    samples = _samples(zoo, "digits")
    found = [_run(zoo / "digit_rotation.onnx", x)[0, 0] for x, _ in samples]
    errors = np.array(found) - [truth["angle"] for _, truth in samples]
    assert len(errors) == 10
    assert np.abs(errors).max() < 6
    assert np.sqrt(np.mean(errors**2)) < 4


def test_digit_rotation_is_counter_clockwise(zoo: Path) -> None:
    """Turning an upright digit by Pillow, whose sign is also counter-clockwise, moves it along."""
    upright = Image.open(zoo / "samples" / "digit_2.png")  # truth -1.8 degrees
    turned = np.stack([upright.rotate(a, Image.Resampling.BILINEAR) for a in (-30, 0, 30)])
    x = (turned[:, None] / 255).astype(np.float32)
    low, middle, high = _run(zoo / "digit_rotation.onnx", x)[:, 0]
    assert low - middle == pytest.approx(-30, abs=12)
    assert high - middle == pytest.approx(30, abs=12)


def test_digit_pictures_and_arrays_are_the_same(zoo: Path) -> None:
    sidecar = zoo / "digit_rotation.toml"
    for digit in range(10):
        picture = _picture(zoo / "samples" / f"digit_{digit}.png", sidecar)
        array = np.load(zoo / "samples" / f"digit_{digit}.npy")
        np.testing.assert_allclose(picture[0], array, rtol=1e-6)


def test_japanese_vowels_finds_the_speakers(zoo: Path) -> None:
    samples = _samples(zoo, "vowels")
    probs = np.array([_run(zoo / "japanese_vowels.onnx", x)[0] for x, _ in samples])
    right = probs.argmax(1) == [truth["class"] for _, truth in samples]
    np.testing.assert_allclose(probs.sum(1), 1, atol=1e-5)
    assert len({x.shape[2] for x, _ in samples}) > 5, "the utterances should differ in length"
    assert (len(right), int(right.sum())) == (18, 16)


def test_japanese_vowels_is_causal(zoo: Path) -> None:
    """What comes later changes no earlier frame of the last feature map."""
    model = onnx.load(zoo / "japanese_vowels.onnx")
    model.graph.output.insert(0, onnx.helper.make_empty_tensor_value_info("block2/relu"))
    session = ort.InferenceSession(model.SerializeToString())
    x = _samples(zoo, "vowels")[0][0]
    short, whole = (session.run(["block2/relu"], {"cepstrum": v})[0] for v in (x[:, :, :9], x))
    np.testing.assert_allclose(whole[:, :, :9], short, atol=1e-5)
    assert not np.allclose(whole[:, :, 8], whole[:, :, 9])


def test_relist_replaces_a_row_and_keeps_the_rest(tool: Any, tmp_path: Path) -> None:
    (tmp_path / "b.npy").write_bytes(b"new")
    head = "# Text\n\n| file | bytes | sha256 |\n| --- | ---: | --- |\n"
    rows = [f"| `{name}.npy` | 1 | `{digit * 64}` |\n" for name, digit in (("a", "1"), ("b", "2"))]
    new = f"| `b.npy` | 3 | `{hashlib.sha256(b'new').hexdigest()}` |\n"
    assert tool.relist(head + "".join(rows) + "\nend\n", tmp_path, ["b.npy"]) == (
        head + rows[0] + new + "\nend\n"
    )
    with pytest.raises(tool.BuildError, match="no table"):
        tool.relist("# Text\n", tmp_path, ["b.npy"])


def test_another_download_than_the_pinned_one_is_refused(tool: Any, tmp_path: Path) -> None:
    sources = importlib.import_module("zoo.sources")
    (tmp_path / sources.AEON.filename).write_bytes(b"something else")
    with pytest.raises(tool.BuildError, match=f"not {sources.AEON.sha256}"):
        sources.read(sources.AEON, "aeon/__init__.py", tmp_path)


def test_the_weights_pickle_may_hold_arrays_only(
    tool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    squeezenet = importlib.import_module("zoo.squeezenet")
    call = pickle.dumps(print, protocol=2)
    monkeypatch.setattr(squeezenet, "read", lambda *_: call)
    with pytest.raises(tool.BuildError, match=r"asks for __builtin__\.print"):
        squeezenet.build(Path())
