"""The command line as a user types it, in its own process and in-process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from support import nets

from onnxcam.cli import main
from onnxcam.errors import InputError
from onnxcam.output.explanation import Explanation


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, two pictures and names of classes; it is the current folder."""
    (tmp_path / "m.onnx").write_bytes(nets.cnn(channels=3).SerializeToString())
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 255, (9, 12, 3), dtype=np.uint8)).save(
            tmp_path / f"{name}.png"
        )
    (tmp_path / "labels.txt").write_text("cat\ndog\nbird\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(w) for w in words])


def _fine(*words: object) -> str:
    result = _run(*words)
    assert result.exit_code == 0, result.output
    return result.output


def test_help_of_every_command() -> None:
    for command in ([], ["layers"], ["inputs"], ["explain"], ["ops"]):
        assert "Usage:" in _fine(*command, "--help")


def test_layers_marks_the_default(desk: Path) -> None:
    output = _fine("layers", "m.onnx")
    assert "* " in output and "relu" in output and "spatial map of 6 x 6" in output
    assert "pool" not in [line.split()[0] for line in output.splitlines() if line.split()]
    assert "spatial extent is 1 x 1" in _fine("layers", "m.onnx", "--all")
    said = json.loads(_fine("layers", "m.onnx", "--json"))
    assert said["feature_layer"] == "relu" and said["reduction_layer"] == "logits"


def test_a_narrow_terminal_breaks_no_name_of_a_layer(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = onnx.load("m.onnx")
    name = "/features/features.18/features.18.2/conv/Clip_output_0_with_a_longer_name"
    for node in model.graph.node:
        node.input[:] = [name if i == "relu" else i for i in node.input]
        node.output[:] = [name if o == "relu" else o for o in node.output]
    onnx.save(model, "m.onnx")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    assert name in _fine("layers", "m.onnx").partition("reason")[2]


def test_tables_end_where_their_words_do(desk: Path) -> None:
    for words in (["ops"], ["methods"], ["layers", "m.onnx"]):
        assert not [line for line in _fine(*words).splitlines() if line != line.rstrip()]


def test_ops_lists_all_operators_and_those_of_a_model(desk: Path) -> None:
    lines = {line.split()[0]: line for line in _fine("ops").splitlines() if line}
    assert lines["Relu"].split() == ["Relu", "rule"]
    assert "text has no derivative" in lines["StringNormalizer"]
    assert "choose a feature layer behind it" in lines["none:"]
    output = _fine("ops", "m.onnx")
    assert "No operator on the path to the score is refused." in output
    said = {row["op"]: row for row in json.loads(_fine("ops", "m.onnx", "--json"))}
    assert said["Relu"] == {"domain": "ai.onnx", "op": "Relu", "gradient": "rule", "reason": "",
                            "nodes": 1, "on_path": 1}  # fmt: skip
    assert {row["gradient"] for row in json.loads(_fine("ops", "--json"))} >= {"zero", "none"}


def test_ops_says_what_no_gradient_passes(desk: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 20, "ai.onnx.ml" : 3]>
      g (float[n, 3] x) => (float[n, 1] y) { y = ai.onnx.ml.TreeEnsembleRegressor (x) }"""
    (desk / "trees.onnx").write_bytes(onnx.parser.parse_model(text).SerializeToString())
    output = _fine("ops", "trees.onnx")
    assert "its gradient says nothing" in output
    assert "No gradient reaches what lies before ai.onnx.ml::TreeEnsembleRegressor." in output


def test_inputs_shows_every_preset_and_saves_one(desk: Path) -> None:
    output = _fine("inputs", "m.onnx", "a.png")
    for preset in ("imagenet", "keras-tf", "keras-caffe", "unit", "raw"):
        assert preset in output
    _fine("inputs", "m.onnx", "a.png", "--save", "unit", "--labels", "labels.txt")
    assert (desk / "m.toml").is_file()
    again = _run("inputs", "m.onnx", "a.png", "--save", "raw")
    assert again.exit_code == 2 and "m.toml exists" in again.output
    assert "found" in _fine("inputs", "m.onnx", "a.png")
    assert "dog" in _fine("explain", "m.onnx", "a.png", "--target", "dog")


def test_explain_writes_a_figure(desk: Path) -> None:
    output = _fine("explain", "m.onnx", "a.png", "--preprocess", "unit")
    assert "a.gradcam.png" in output
    with Image.open(desk / "a.gradcam.png") as figure:
        assert figure.width > 100


def test_explain_many_targets_many_inputs(desk: Path) -> None:
    _fine(
        "explain", "m.onnx", "a.png", "b.png", "--preprocess", "unit", "--labels", "labels.txt",
        "--target", "dog", "--target", "0", "-o", "out", "--save-map", "maps", "--method", "cam",
    )  # fmt: skip
    names = {p.name for p in (desk / "out").iterdir()}
    assert names == {"a.cam.1.png", "a.cam.0.png", "b.cam.1.png", "b.cam.0.png"}
    with np.load(desk / "maps" / "b.cam.1.npz") as saved:
        assert saved["raw_map"].shape == (6, 6)


def test_json_is_only_json(desk: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "onnxcam.cli", "explain", "m.onnx", "a.png", "nothing.png",
         "--preprocess", "unit", "--json", "-o", "out"],
        capture_output=True, text=True, check=False, cwd=desk,
    )  # fmt: skip
    assert result.returncode == 1
    said = json.loads(result.stdout)
    assert [e["input"] for e in said["explanations"]] == ["a.png"]
    assert said["errors"][0]["input"] == "nothing.png"
    assert "nothing.png" in result.stderr and "Traceback" not in result.stderr


def test_scores_that_are_no_numbers_are_still_json(desk: Path) -> None:
    model = onnx.load("m.onnx")
    broken = onnx.numpy_helper.from_array(np.array([np.nan], np.float32), "nan")
    model.graph.initializer.append(broken)
    score = model.graph.output[0].name
    last = next(n for n in model.graph.node if score in n.output)
    last.output[:] = ["sound"]
    model.graph.node.append(onnx.helper.make_node("Add", ["sound", "nan"], [score]))
    onnx.save(model, "nan.onnx")

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    output = _run("explain", "nan.onnx", "a.png", "--preprocess", "unit", "--json").stdout
    said = json.loads(output, parse_constant=refuse)["explanations"][0]
    assert said["probability"] is None and "not finite" in " ".join(said["diagnosis"])
    output = _run("convert", "nan.onnx", "-o", "said.onnx", "--json").stdout
    check = json.loads(output, parse_constant=refuse)["check"]
    assert not check["problems"] and f"not finite ({score!r})" in check["warnings"][0]
    written = _run("convert", "nan.onnx", "-o", "printed.onnx").stdout
    assert "warning: on the sample the model's own outputs are not finite" in written
    output = _run("inputs", "nan.onnx", "a.png", "--json").stdout
    assert json.loads(output, parse_constant=refuse)["presets"][0]["probability"] is None


def test_one_unreadable_file_is_skipped(desk: Path) -> None:
    (desk / "bad.png").write_text("no picture")
    result = _run("explain", "m.onnx", "a.png", "bad.png", "b.png", "--preprocess", "unit",
                  "-o", "out")  # fmt: skip
    assert result.exit_code == 1
    assert "bad.png" in result.output
    assert {p.name for p in (desk / "out").iterdir()} == {"a.gradcam.png", "b.gradcam.png"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("layers nothing.onnx", 1, "no such file"),
        ("layers labels.txt", 1, "not an ONNX model"),
        ("ops nothing.onnx", 1, "no such file"),
        ("ops labels.txt", 1, "not an ONNX model"),
        ("ops m.onnx --reduction-layer x7", 2, "no tensor 'x7'"),
        ("ops --reduction-layer logits", 2, "Name the model too"),
        ("explain m.onnx a.png", 2, "onnxcam inputs MODEL IMAGE"),
        ("explain m.onnx a.png --preprocess imagnet", 2, "imagnet"),
        ("explain m.onnx a.png --preprocess unit --target 7", 2, "out of range"),
        ("explain m.onnx a.png --preprocess unit --target dog", 2, "no labels"),
        ("explain m.onnx a.png --preprocess unit --method limes", 2, "no method"),
        ("explain m.onnx a.png --preprocess unit --feature-layer pool", 2, "1 x 1"),
        ("explain m.onnx a.png --preprocess unit --feature-layer x7", 2, "no feature layer"),
        ("explain m.onnx a.png --preprocess unit --reduction-layer x7", 2, "no tensor 'x7'"),
        ("explain m.onnx a.png --preprocess unit -o no/such/a.png", 1, "no such folder"),
        ("explain m.onnx a.png b.png --preprocess unit -o one.npz", 2, "several explanations"),
        ("explain m.onnx labels.txt --preprocess unit", 1, "labels.txt"),
        ("explain m.onnx", 2, "Missing argument"),
        ("inputs m.onnx a.png --save imagnet", 2, "no preset"),
    ],
)
def test_bad_input_is_one_line_and_an_exit_code(
    desk: Path, words: str, code: int, said: str
) -> None:
    before = {p.name for p in desk.iterdir()}
    result = _run(*words.split())
    assert said in result.output
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    assert {p.name for p in desk.iterdir()} == before


@pytest.mark.parametrize("words", [("-o", "a.png"), ("--save-map", "x.npz"), ("-o", "./x.npz")])
def test_what_was_given_is_never_written_over(desk: Path, words: tuple[str, str]) -> None:
    np.savez(desk / "x.npz", np.zeros((1, 3, 6, 6), np.float32))
    given = words[1].replace("./", "")
    before = (desk / given).read_bytes()
    result = _run("explain", "m.onnx", given, "--preprocess", "unit", *words)
    assert result.exit_code == 2 and "is what was given to explain" in result.output
    assert (desk / given).read_bytes() == before


def test_a_picture_that_cannot_be_drawn_does_not_stop_the_others(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def figure(self: Explanation, **_: object) -> object:
        if "a.png" in str(self.source):
            raise InputError("a.png: cannot be drawn", "take another")
        return drawn(self)

    drawn = Explanation.figure
    monkeypatch.setattr(Explanation, "figure", figure)
    result = _run("explain", "m.onnx", "a.png", "b.png", "--preprocess", "unit", "-o", "out")
    assert result.exit_code == 1 and "cannot be drawn" in result.output
    assert [p.name for p in (desk / "out").iterdir()] == ["b.gradcam.png"]


def test_a_flat_picture_is_drawn(desk: Path) -> None:
    Image.new("RGB", (2000, 3), "navy").save("flat.png")
    (desk / "m.toml").write_text('resize = "shortest"\nresize_size = 6\n')
    _fine("explain", "m.onnx", "flat.png")
    assert (desk / "flat.gradcam.png").is_file()


def test_a_file_of_two_inputs_gives_two_pictures(desk: Path) -> None:
    np.save("two.npy", np.zeros((2, 3, 6, 6), np.float32))
    _fine("explain", "m.onnx", "two.npy")
    names = sorted(p.name for p in desk.glob("two-*.png"))
    assert names == ["two-1.gradcam.png", "two-2.gradcam.png"]


def test_debug_shows_the_traceback(desk: Path) -> None:
    result = _run("--debug", "layers", "nothing.onnx")
    assert result.exit_code == 1 and "Traceback" in result.output


def test_an_output_folder_that_cannot_be_written(desk: Path) -> None:
    (desk / "file").write_text("")
    result = _run("explain", "m.onnx", "a.png", "--preprocess", "unit", "-o", "file/sub")
    assert result.exit_code == 1 and "cannot be created" in result.output


def test_the_help_names_every_colour_map(desk: Path) -> None:
    from onnxcam.output.render import COLORMAPS

    words = " ".join(_fine("explain", "--help").split())
    assert all(name in words for name in COLORMAPS)
    result = _run("explain", "m.onnx", "a.png", "--preprocess", "unit", "--colormap", "viridiss")
    assert result.exit_code == 2 and "viridiss" in result.output


def test_what_is_explained_has_options(desk: Path) -> None:
    np.save(desk / "x.npy", np.random.default_rng(1).normal(size=(1, 3, 6, 6)).astype("f4"))
    np.save(desk / "y.npy", np.random.default_rng(2).normal(size=(1, 3, 6, 6)).astype("f4"))
    called = ["explain", "m.onnx", "x.npy", "--no-cache", "-o", "x.json"]
    for words, quantity in (
        (["--quantity", "log-probability", "--target", "1"], "log-probability"),
        (["--quantity", "margin", "--target", "1"], "margin over the runner-up"),
        (["--similar-to", "y.npy"], "similarity"),
    ):
        _fine(*called, *words)
        assert json.loads((desk / "x.json").read_text())["quantity"] == quantity
    for words, said in (
        (["--quantity", "finer"], "3 classes, of which 3 others"),
        (["--quantity", "yes"], "no Sigmoid"),
        (["--at", "3"], "no positions"),
        (["--at", "3", "--box", "1"], "names what is explained"),
        (["--similar-to", "y.npy", "--target", "1"], "names what is explained"),
        (["--similar-to", "z.npy"], "z.npy does not exist"),
    ):
        result = _run(*called, *words)
        assert result.exit_code in (1, 2) and said in result.output, result.output
