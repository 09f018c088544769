"""Files that return gradients of the score: literal values, saliency, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import numpy_helper
from support import nets

import onnxcam
from onnxcam.cli import main
from onnxcam.errors import OnnxcamError, UsageError
from onnxcam.run.session import Session

X = np.random.default_rng(0).normal(size=(3, 2, 6, 6)).astype("f4")
WEIGHTS = {t.name: numpy_helper.to_array(t) for t in nets.cnn().graph.initializer}


def _run(made: Any, *, outputs: list[str], **feeds: Any) -> list[np.ndarray]:
    model = made.explained.model
    return Session(model, device="cpu", threads=1).run({"x": X, **feeds}, outputs)


@pytest.mark.parametrize("target", [None, 1])
def test_gradients_of_a_linear_head_by_hand(target: int | None) -> None:
    """Logits = pool fc^T + fcb: d/d relu = fc[c] / 36; d/d fc[c] = the pools of c's inputs."""
    made = onnxcam.convert(
        nets.cnn(softmax=True), method="gradient", wrt=["relu", "fc", "logits"], target=target
    )
    assert made.check is not None and made.check.map < 1e-6 and made.check.plain == 0
    relu, fc, logits, classes, prob = _run(
        made, outputs=["grad::relu", "grad::fc", "grad::logits", "onnxcam.class", "prob"]
    )
    chosen = prob.argmax(1) if target is None else np.full(3, target)
    np.testing.assert_array_equal(classes, chosen[:, None])
    np.testing.assert_array_equal(logits, np.eye(3)[chosen])
    want = np.broadcast_to(WEIGHTS["fc"][chosen][:, :, None, None] / 36, (3, 4, 6, 6))
    np.testing.assert_allclose(relu, want, rtol=1e-5)
    (pool,) = Session(_exposed("flat"), device="cpu").run({"x": X}, ["flat"])
    np.testing.assert_allclose(fc, np.eye(3)[chosen].T @ pool, rtol=1e-4, atol=1e-6)


def _exposed(name: str) -> onnx.ModelProto:
    proto = nets.cnn(softmax=True)
    proto.graph.output.append(onnx.helper.make_tensor_value_info(name, 1, None))
    return proto


def test_the_gradient_at_the_input_is_that_of_saliency() -> None:
    made = onnxcam.convert(nets.cnn(), method="gradient", wrt=["x"])
    saliency = onnxcam.convert(nets.cnn(), method="saliency")
    (gradient,) = _run(made, outputs=["grad::x"])
    (map_,) = _run(saliency, outputs=["onnxcam.map"])
    assert gradient.shape == X.shape
    np.testing.assert_allclose(np.abs(gradient).max(1), map_[:, 0], rtol=1e-5)


def test_scores_at_many_positions_are_summed(zoo: Path, shared_models: Path) -> None:
    made = onnxcam.convert(shared_models / "pnet.onnx", method="gradient", wrt=["input_1"])
    assert made.check is not None and made.check.map < 1e-5
    rotation = onnxcam.convert(zoo / "digit_rotation.onnx", method="gradient", wrt=["image"])
    assert rotation.check is not None and rotation.check.map < 1e-5


def test_the_file_says_what_it_holds(tmp_path: Path) -> None:
    place = tmp_path / "g.onnx"
    made = onnxcam.convert(
        nets.cnn(), place, method="gradient", wrt=["x", "relu", "x"], require_target=True
    )
    said = {p.key: p.value for p in onnx.load(place).metadata_props}
    assert said["onnxcam.method"] == "gradient" and said["onnxcam.gradient"] == "exact"
    assert json.loads(said["onnxcam.wrt"]) == ["x", "relu"]
    assert said["onnxcam.reduction_layer"] == "logits"
    assert [i.name for i in onnx.load(place).graph.input] == ["x", "onnxcam.target"]
    got = _run(made, outputs=["onnxcam.class"], **{"onnxcam.target": np.array([2])})[0]
    assert (got == 2).all()
    with pytest.raises(UsageError, match=r'explained already \(method gradient, wrt \["x", "relu'):
        onnxcam.convert(place)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "gradient"}, "of which tensors.*`wrt`"),
        ({"wrt": ["x"]}, "`wrt` is for gradients"),
        ({"method": "gradient", "wrt": ["y"]}, "no tensor 'y'"),
        ({"method": "gradient", "wrt": ["prob"]}, "'logits' does not depend on 'prob'"),
        ({"method": "gradient", "wrt": ["x"], "overlay": True}, "`overlay` is for maps"),
        ({"method": "gradient", "wrt": ["x"], "normalize": "max"}, "`normalize` is for maps"),
        ({"method": "gradient", "wrt": ["x"], "fp16_safe": True}, "`fp16_safe` is for maps"),
        ({"method": "gradient", "wrt": ["x"], "feature_layer": "relu"}, "`feature_layer` is for"),
        ({"method": "gradient", "wrt": ["x"], "target": [0, 1]}, "takes one target"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        onnxcam.convert(nets.cnn(softmax=True), **options)


def test_a_wrong_gradient_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxcam.verify.derived", lambda *_: [np.zeros((1, 2, 6, 6))])
    with pytest.raises(OnnxcamError, match="gradient differs by .* from `vjp_model`'s"):
        onnxcam.convert(nets.cnn(), tmp_path / "g.onnx", method="gradient", wrt=["x"])
    assert list(tmp_path.iterdir()) == []


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.onnx").write_bytes(nets.cnn().SerializeToString())
    words = "convert m.onnx -o g.onnx --method gradient --wrt x --wrt relu --target 1".split()
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert "gradient of logits with respect to x, relu" in result.output
    assert "gradient within" in result.output and "of `vjp_model`'s" in result.output
    outputs = [o.name for o in onnx.load("g.onnx").graph.output]
    assert outputs == ["logits", "grad::x", "grad::relu", "onnxcam.class"]
