"""Methods that run the gradient many times, written into a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper
from support import nets

import onnxcam
from onnxcam import Explainer, methods
from onnxcam.cli import main
from onnxcam.errors import InputError, OnnxcamError, UsageError
from onnxcam.run.session import Session

X = np.random.default_rng(5).normal(size=(3, 2, 6, 6)).astype("f4")
REPEATED = (
    "integrated-gradients", "smoothgrad", "squaregrad", "vargrad", "expected-gradients",
    "smooth-gradcam++", "deeplift-shap", "layer-deeplift-shap", "layer-expected-gradients",
)  # fmt: skip


def _map(proto: Any, name: str, x: np.ndarray, **options: Any) -> np.ndarray:
    made = onnxcam.convert(proto, method=name, **{"upsampling": "none", **options})
    assert made.check is None or made.check.problems == ()
    session = Session(made.explained.model, device="cpu", threads=1)
    found: np.ndarray = session.run({made.explained.plan.catalog.input: x}, ["onnxcam.map"])[0]
    return found


def _explained(proto: Any, name: str, x: np.ndarray, target: Any, **settings: Any) -> Any:
    explain = Explainer(
        proto, name, device="cpu", threads=1, upsampling="none", parameters=settings
    )
    return explain([one[None] for one in x], target=target)


@pytest.mark.parametrize("runtime", [False, True])
@pytest.mark.parametrize("targets", [[1], [2, None, 0]])
def test_integrated_gradients_of_a_file_are_those_of_the_explainer(
    runtime: bool, targets: list[Any]
) -> None:
    settings = {"steps": 7, "baseline": 0.3}
    options = {"target": targets, "runtime_targets": runtime, "parameters": settings}
    found = _map(nets.cnn(), "integrated-gradients", X, **options)
    want = _explained(nets.cnn(), "integrated-gradients", X, targets, **settings)
    for n, row in enumerate(want):
        for k, each in enumerate(row):
            np.testing.assert_allclose(found[n, k], each.map, rtol=1e-4, atol=1e-6)


def test_a_file_for_a_batch_of_one_and_channels_last() -> None:
    settings = {"parameters": {"steps": 4}, "target": 1}
    want = _map(nets.cnn(), "integrated-gradients", X[:1], **settings)
    found = _map(nets.cnn(batch=1), "integrated-gradients", X[:1], **settings)
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-7)
    proto = nets.cnn()
    turn = helper.make_node("Transpose", ["last"], ["x"], perm=[0, 3, 1, 2])
    proto.graph.node.insert(0, turn)
    proto.graph.input[0].CopyFrom(helper.make_tensor_value_info("last", 1, ["N", 6, 6, 2]))
    last = np.ascontiguousarray(X[:1].transpose(0, 2, 3, 1))
    found = _map(proto, "integrated-gradients", last, **settings)
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-7)


def _square() -> tuple[Any, np.ndarray]:
    """y = sum_j w_j x_j^2."""
    weights = np.random.default_rng(2).normal(size=(72, 1)).astype("f4")
    weights += 0.5 * np.sign(weights)  # none is hardly there
    nodes = [
        helper.make_node("MaxPool", ["x"], ["m"], kernel_shape=[1, 1]),
        helper.make_node("Mul", ["m", "m"], ["s"]),
        helper.make_node("Flatten", ["s"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    return (
        nets.model(nodes, {"x": ["N", 2, 6, 6]}, {"y": ["N", 1]}, {"w": weights}),
        weights.reshape(2, 6, 6),
    )


def test_the_noise_of_a_file_is_normal() -> None:
    """dy/dx = 2 w (x + e): its mean is within the error, its variance 4 w^2 s^2."""
    proto, plane = _square()
    x = X + 4 * np.sign(X)
    x[:, 1] *= 0.01
    spread = 0.15 * (x.max((1, 2, 3)) - x.min((1, 2, 3)))[:, None, None]
    found = _map(proto, "smoothgrad", x, parameters={"samples": 400})[:, 0]
    error = 2 * np.abs(plane[0]) * spread / 20
    away = np.abs(found - np.abs(2 * plane[0] * x[:, 0])) / error
    assert (away <= 3).mean() > 0.97 and away.max() < 4.5 and away.mean() > 0.5
    found = _map(proto, "vargrad", x, parameters={"samples": 400})[:, 0]
    size = np.abs(plane).max(0)
    clear = size > 1.3 * np.abs(plane).min(0)
    ratio = (found / (4 * size**2 * spread**2))[:, clear]
    assert np.abs(ratio - 1).max() < 0.4 and abs(ratio.mean() - 1) < 0.03


def test_a_file_gives_the_same_map_in_every_run() -> None:
    options = {"parameters": {"samples": 5}, "target": 1}
    first, again = (_map(nets.cnn(), "smoothgrad", X, **options) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    want = _map(nets.cnn(), "smoothgrad", X[1:2], **options)  # whatever lies beside it
    np.testing.assert_allclose(first[1:2], want, rtol=1e-4)


@pytest.mark.parametrize("name", REPEATED)
def test_the_shell_converts(name: str, tmp_path: Path) -> None:
    onnx.save(nets.cnn(), str(tmp_path / "m.onnx"))
    count = ["--steps", "3"] if name == "integrated-gradients" else ["--samples", "3"]
    words = ["convert", str(tmp_path / "m.onnx"), "-o", str(tmp_path / "out.onnx")]
    result = CliRunner().invoke(main, [*words, "--method", name, *count])
    assert result.exit_code == 0, result.output
    assert any(node.op_type == "Scan" for node in onnx.load(tmp_path / "out.onnx").graph.node)


def test_what_converts_is_said() -> None:
    assert set(methods.convertible()) == {*methods.names("graph"), *REPEATED}
    for name, why in (
        ("xrai", "segmentation"), ("guided-integrated-gradients", "gradient of the last"),
        ("rise", "runs the model"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=f"{name} cannot be written.*{why}.*convert with one"):
            onnxcam.convert(nets.cnn(), method=name)


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("given", [False, True])
def test_expected_gradients_of_a_file_are_within_their_error(
    given: bool, noise: float, tmp_path: Path
) -> None:
    """Its draws are its own: the difference to the explainer's is what the error says."""
    proto, _ = _square()
    settings: dict[str, Any] = {"samples": 600, "noise": noise}
    if given:
        others = np.random.default_rng(6).normal(size=(4, 2, 6, 6)).astype("f4")
        np.save(tmp_path / "b.npy", others)
        settings["background"] = str(tmp_path / "b.npy")
    found = _map(proto, "expected-gradients", X, parameters=settings)
    want = _explained(proto, "expected-gradients", X, 0, **settings)
    for n, each in enumerate(want):
        away = np.abs(found[n, 0] - each.signed_map) / (2**0.5 * each.standard_error + 1e-9)
        assert away.max() < 5 and away.mean() < 1.4
    again = _map(proto, "expected-gradients", X[1:2], parameters=settings)
    np.testing.assert_allclose(again[0], found[1], rtol=1e-4, atol=1e-6)


def test_a_background_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", np.ones((2, 3, 6, 6), "f4"))
    for name, match in (("b.npy", "holds no inputs like"), ("none.npy", "cannot be read")):
        with pytest.raises(InputError, match=match):
            settings = {"background": str(tmp_path / name)}
            onnxcam.convert(nets.cnn(), method="expected-gradients", parameters=settings)


def test_smooth_gradcam_plus_plus_of_a_file() -> None:
    """y = sum_k v_k sum_p a_kp^2 behind a = relu(conv x): by the moments of its linear gradient."""
    rng = np.random.default_rng(3)
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"]),
        helper.make_node("Softplus", ["c"], ["a"]),
        helper.make_node("Mul", ["a", "a"], ["s"]),
        helper.make_node("ReduceMean", ["s"], ["p"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["p", "v"], ["y"]),
    ]
    weights = {"k": rng.normal(size=(3, 2, 1, 1)).astype("f4"),
               "v": rng.normal(size=(3, 2)).astype("f4")}  # fmt: skip
    proto = nets.model(nodes, {"x": ["N", 2, 6, 6]}, {"y": ["N", 2]}, weights, opset=13)
    settings = {"samples": 800, "noise": 0.2}
    options = {"feature_layer": "a", "parameters": settings, "target": [0, 1]}
    found = _map(proto, "smooth-gradcam++", X, **options)
    explain = Explainer(proto, "smooth-gradcam++", device="cpu", threads=1, upsampling="none",
                        parameters=settings, feature_layer="a")  # fmt: skip
    for n, row in enumerate(explain([one[None] for one in X], target=[0, 1])):
        for k, each in enumerate(row):
            away = np.linalg.norm(found[n, k] - each.raw_map)
            assert away <= 0.02 * np.linalg.norm(each.raw_map)


def test_what_is_run_but_once_is_refused() -> None:
    """A loop before the scores is not written a second time."""
    proto = nets.cnn()
    body = helper.make_graph(
        [helper.make_node("Add", ["s", "s"], ["t"]), helper.make_node("Identity", ["c"], ["d"])],
        "body",
        [
            helper.make_tensor_value_info("i", 7, []),
            helper.make_tensor_value_info("c", 9, []),
            helper.make_tensor_value_info("s", 1, ["N", 3]),
        ],
        [
            helper.make_tensor_value_info("d", 9, []),
            helper.make_tensor_value_info("t", 1, ["N", 3]),
        ],
    )
    count = helper.make_tensor("n", 7, [], [2])
    proto.graph.initializer.append(count)
    proto.graph.node.append(helper.make_node("Loop", ["n", "", "logits"], ["y"], body=body))
    proto.graph.output[0].name = "y"
    with pytest.raises(OnnxcamError, match="cannot be written a second time"):
        onnxcam.convert(proto, method="integrated-gradients", reduction_layer="y")
