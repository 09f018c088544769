"""Conversion: the file predicts as before and explains; nothing half-written is ever left."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from support import nets

import onnxcam
from onnxcam import Explainer, methods
from onnxcam.cli import main
from onnxcam.errors import InputError, ModelError, OnnxcamError, UnsupportedOp, UsageError
from onnxcam.run.session import Session
from onnxcam.verify import Check

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
        normalize=normalize,  # type: ignore[arg-type]
        expose=["score", "feature", "gradient"],
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
    assert said["onnxcam.signed"] == "false" and said["onnxcam.final"] == "Softmax"
    made = onnxcam.convert(nets.cnn(), method="cam").explained.model.metadata
    assert made["onnxcam.signed"] == "true" and made["onnxcam.final"] == "none"


def test_every_graph_method_can_be_converted(model: Path) -> None:
    for name in set(methods.names("graph")) - {"legrad"}:  # of transformers: test_legrad.py
        made = onnxcam.convert(model, method=name)
        assert made.path is None and made.check is not None


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


@pytest.mark.parametrize("opset", [13, 17, 21])
def test_the_opset_can_be_chosen(model: Path, tmp_path: Path, opset: int) -> None:
    proto = nets.cnn(softmax=True)
    proto.opset_import[0].version = 13
    proto.ir_version = 7
    model.write_bytes(proto.SerializeToString())
    place = tmp_path / "out.onnx"
    onnxcam.convert(
        model, place, opset=opset, target=[0, None], normalize="minmax", expose=["score"]
    )
    made = onnx.load(place)
    assert [o.version for o in made.opset_import] == [opset]
    assert made.ir_version == {13: 7, 17: 8, 21: 10}[opset]
    onnxcam.convert(model, tmp_path / "default.onnx", target=[0, None], normalize="minmax")
    got, want = _run(place), _run(tmp_path / "default.onnx")
    np.testing.assert_allclose(got["onnxcam.map"], want["onnxcam.map"], atol=1e-6)
    np.testing.assert_array_equal(got["prob"], _run(model)["prob"])


@pytest.mark.parametrize(
    ("opset", "words"),
    [
        (8, r"cannot be brought from opset 20 to 8: No Adapter.*for Relu.*Name another opset"),
        (99, r"cannot be brought from opset 20 to 99: the newest that is known is \d+\. Name"),
    ],
)
def test_an_opset_out_of_reach_is_an_error(
    model: Path, tmp_path: Path, opset: int, words: str
) -> None:
    with pytest.raises(ModelError, match=words):
        onnxcam.convert(model, tmp_path / "out.onnx", opset=opset)
    assert not (tmp_path / "out.onnx").exists()


def test_an_opset_too_low_for_the_gradient_is_an_error(shared_models: Path, tmp_path: Path) -> None:
    for opset, words in ((7, "Less in opset 7"), (9, "ScatterElements does not exist in opset 9")):
        with pytest.raises(UnsupportedOp, match=words):
            onnxcam.convert(
                shared_models / "mnist_cntk_opset7.onnx", tmp_path / "out.onnx", opset=opset
            )
    assert not list(tmp_path.iterdir())


def test_targets_out_of_range_do_as_documented(model: Path, tmp_path: Path) -> None:
    onnxcam.convert(model, tmp_path / "any.onnx", runtime_targets=True)
    got = _run(tmp_path / "any.onnx", **{"onnxcam.target": np.array([-7])})
    plain = _run(tmp_path / "any.onnx")
    np.testing.assert_array_equal(got["onnxcam.map"], plain["onnxcam.map"])
    np.testing.assert_array_equal(got["onnxcam.class"], plain["onnxcam.class"])
    with pytest.raises(InputError, match="out of data bounds"):
        _run(tmp_path / "any.onnx", **{"onnxcam.target": np.array([3])})


def test_a_required_target_has_no_default(model: Path, tmp_path: Path) -> None:
    onnxcam.convert(model, tmp_path / "out.onnx", require_target=True, target=2)
    assert "onnxcam.target" not in {
        t.name for t in onnx.load(tmp_path / "out.onnx").graph.initializer
    }
    with pytest.raises(InputError, match=r"onnxcam\.target"):
        _run(tmp_path / "out.onnx")
    got = _run(tmp_path / "out.onnx", **{"onnxcam.target": np.array([1])})
    assert (got["onnxcam.class"] == 1).all()


def test_outputs_are_sized_in_the_words_of_the_input(tmp_path: Path) -> None:
    proto = nets.cnn(batch="batch")
    proto.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    made = onnxcam.convert(proto, runtime_targets=True)
    shapes = {p.name: p.shape for p in made.explained.model.outputs}
    assert shapes["onnxcam.map"] == ("batch", "onnxcam.K", "height", 6)
    assert shapes["onnxcam.class"] == ("batch", "onnxcam.K")


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


def test_the_command(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["convert", "m.onnx", "-o", "out.onnx", "--target", "1"])
    assert result.exit_code == 0, result.output
    assert "bit for bit" in result.output and "written: out.onnx" in result.output
    assert (_run(tmp_path / "out.onnx")["onnxcam.class"] == 1).all()
    again = CliRunner().invoke(main, ["convert", "m.onnx", "-o", "out.onnx"])
    assert again.exit_code == 2 and "exists" in again.output
    Path("photo.png").write_bytes(b"mine")
    photo = CliRunner().invoke(main, ["convert", "m.onnx", "-o", "photo.png", "--force"])
    assert photo.exit_code == 2 and "End it in .onnx" in photo.output
    assert Path("photo.png").read_bytes() == b"mine"
    missing = CliRunner().invoke(main, ["convert", "m.onnx", "-o", "no/out.onnx"])
    assert missing.exit_code == 1 and "no such folder" in missing.output


def test_the_check_runs_on_a_sample(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def spy(source: Any, *_: Any, feeds: Any, **__: Any) -> Check:
        seen.append(feeds)
        return Check(("cpu",), 0, 0, 0, "map", "", ())

    monkeypatch.setattr("onnxcam.conversion.verify", spy)
    np.save(tmp_path / "x.npy", X[:2])
    onnxcam.convert(model, sample=tmp_path / "x.npy")
    onnxcam.convert(model, sample=X[0], opset=21)
    np.testing.assert_array_equal(seen[0]["x"], X[:2])
    np.testing.assert_array_equal(seen[1]["x"], X[:1])
    with pytest.raises(InputError, match="shape"):
        onnxcam.convert(model, sample=X[:, :1])


def test_a_picture_is_a_sample(zoo: Path) -> None:
    made = onnxcam.convert(zoo / "squeezenet1.1.onnx", sample=zoo / "chelsea.png")
    assert made.check is not None and made.check.plain == 0 and 0 < made.check.map < 1e-5
    with pytest.raises(UsageError, match="takes ready arrays only"):
        onnxcam.convert(nets.cnn(channels=3), sample=zoo / "chelsea.png")


def test_the_examples_of_the_help_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    proto = nets.cnn(channels=3)
    proto.graph.input[0].name = proto.graph.node[0].input[0] = "input"
    Path("model.onnx").write_bytes(proto.SerializeToString())
    shown = CliRunner().invoke(main, ["convert", "--help"]).output
    examples = [line.split() for line in shown.partition("Examples:")[2].splitlines() if line]
    commands = [words for words in examples if words[0] == "onnxcam"]
    assert len(commands) >= 4
    for words in commands:
        proto.opset_import[0].version = 13 if "--opset" in words else 20
        Path("model.onnx").write_bytes(proto.SerializeToString())
        result = CliRunner().invoke(main, [*words[1:], "--force"])
        assert result.exit_code == 0, f"{words}: {result.output}"


def test_the_help_lists_every_option_once() -> None:
    shown = CliRunner().invoke(main, ["convert", "--help"]).output.partition("Examples:")[0]
    for option in main.commands["convert"].params:
        names = [n for n in option.opts if n.startswith("--")]
        assert all(len(re.findall(rf"^ .*{n}\b(?! is)", shown, re.M)) >= 1 for n in names), names
    headings = re.findall(r"^(\w.*):$", shown, re.M)
    assert headings == [
        "What is explained", "What the file returns", "What the file is", "Other options",
    ]  # fmt: skip
