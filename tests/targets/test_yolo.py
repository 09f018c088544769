"""Detectors as Ultralytics exports them: small twins of both families of heads."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper
from support import nets

from onnxcam import Explainer, convert
from onnxcam.analysis.layers import catalog
from onnxcam.errors import UsageError
from onnxcam.model.model import load
from onnxcam.targets import Box, Detection, Target

Node = helper.make_node
NAMES = ["person", "bicycle", "car"]
X = np.random.default_rng(0).normal(size=(4, 1, 3, 8, 8)).astype("f4") * 0.3
TRUNK = [
    Node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]), Node("Relu", ["c"], ["relu"]),
    Node("MaxPool", ["relu"], ["small"], kernel_shape=[2, 2], strides=[2, 2]),
]  # fmt: skip
SCALES = (("relu", 8), ("small", 4))


def _named(proto: onnx.ModelProto) -> onnx.ModelProto:
    entry = proto.metadata_props.add()
    entry.key, entry.value = "names", str(dict(enumerate(NAMES)))
    return proto


def _anchors() -> onnx.ModelProto:
    """YOLOv3 to v7: one Sigmoid over box, objectness and classes of each of 3 anchors."""
    rng, nodes, joined = np.random.default_rng(1), list(TRUNK), []
    weights: dict[str, Any] = {
        "w": rng.normal(size=(4, 3, 3, 3)).astype("f4") * 0.3,
        "two": np.float32(2), "parts": np.array([2, 2, 4]),
    }  # fmt: skip
    for i, (layer, side) in enumerate(SCALES):
        weights |= {
            f"d{i}": rng.normal(size=(24, 4, 1, 1)).astype("f4"),
            f"s{i}": np.array([-1, 3, 8, side, side]), f"o{i}": np.array([-1, 3 * side * side, 8]),
            f"grid{i}": rng.normal(size=(1, 3, side, side, 2)).astype("f4"),
        }  # fmt: skip
        nodes += [
            Node("Conv", [layer, f"d{i}"], [f"z{i}"]),
            Node("Reshape", [f"z{i}", f"s{i}"], [f"r{i}"]),
            Node("Transpose", [f"r{i}"], [f"t{i}"], perm=[0, 1, 3, 4, 2]),
            Node("Sigmoid", [f"t{i}"], [f"p{i}"]),
            Node("Split", [f"p{i}", "parts"], [f"xy{i}", f"wh{i}", f"conf{i}"], axis=4),
            Node("Add", [f"xy{i}", f"grid{i}"], [f"at{i}"]),
            Node("Pow", [f"wh{i}", "two"], [f"size{i}"]),
            Node("Concat", [f"at{i}", f"size{i}", f"conf{i}"], [f"j{i}"], axis=4),
            Node("Reshape", [f"j{i}", f"o{i}"], [f"q{i}"]),
        ]
        joined.append(f"q{i}")
    nodes.append(Node("Concat", joined, ["y"], axis=1))
    return _named(nets.model(nodes, {"x": ["N", 3, 8, 8]}, {"y": ["N", 240, 8]}, weights))


def _free() -> onnx.ModelProto:
    """YOLOv8 and later: distances by a Softmax and a sum, classes by a Sigmoid, joined."""
    rng, nodes, joined = np.random.default_rng(2), list(TRUNK), []
    weights: dict[str, Any] = {
        "w": rng.normal(size=(4, 3, 3, 3)).astype("f4") * 0.3,
        "parts": np.array([16, 3]), "bins": np.array([1, 4, 4, 80]),
        "mean": np.arange(4, dtype="f4").reshape(1, 4, 1, 1), "four": np.array([1, 4, 80]),
        "stride": rng.uniform(8, 16, size=(1, 80)).astype("f4"),
    }  # fmt: skip
    for i, (layer, _) in enumerate(SCALES):
        weights |= {
            f"b{i}": rng.normal(size=(16, 4, 1, 1)).astype("f4"),
            f"k{i}": rng.normal(size=(3, 4, 1, 1)).astype("f4"), f"o{i}": np.array([1, 19, -1]),
        }  # fmt: skip
        nodes += [
            Node("Conv", [layer, f"b{i}"], [f"zb{i}"]), Node("Conv", [layer, f"k{i}"], [f"zk{i}"]),
            Node("Concat", [f"zb{i}", f"zk{i}"], [f"j{i}"], axis=1),
            Node("Reshape", [f"j{i}", f"o{i}"], [f"q{i}"]),
        ]  # fmt: skip
        joined.append(f"q{i}")
    nodes += [
        Node("Concat", joined, ["all"], axis=2),
        Node("Split", ["all", "parts"], ["box", "cls"], axis=1),
        Node("Reshape", ["box", "bins"], ["br"]),
        Node("Transpose", ["br"], ["bt"], perm=[0, 2, 1, 3]),
        Node("Softmax", ["bt"], ["bs"], axis=1), Node("Conv", ["bs", "mean"], ["bd"]),
        Node("Reshape", ["bd", "four"], ["ltrb"]), Node("Mul", ["ltrb", "stride"], ["boxes"]),
        Node("Sigmoid", ["cls"], ["pc"]), Node("Concat", ["boxes", "pc"], ["y"], axis=1),
    ]  # fmt: skip
    return _named(nets.model(nodes, {"x": [1, 3, 8, 8]}, {"y": [1, 7, 80]}, weights))


def _answer(proto: onnx.ModelProto, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the classes [C, A], and with the objectness where there is one."""
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    y = np.asarray(session.run(["y"], {"x": x})[0])[0]
    return (y.T[5:], y.T[5:] * y.T[4]) if y.shape == (240, 8) else (y[4:], y[4:])


@pytest.mark.parametrize("make", [_anchors, _free])
def test_the_classes_are_read_with_their_names(make: Any) -> None:
    found = catalog(load(make())).reduction
    assert found.classes == 3 and found.positions and not found.mixed
    explain = Explainer(make(), device="cpu", threads=1, cache=False)
    assert explain.labels == tuple(NAMES)
    for x in X:
        one = explain(x)
        assert one.target == _answer(make(), x)[1].max(1).argmax()
        assert one.label == NAMES[one.target] and one.probability is None


@pytest.mark.parametrize("make", [_anchors, _free])
def test_the_best_detection_and_a_box(make: Any) -> None:
    proto = make()
    explain = Explainer(proto, device="cpu", threads=1, cache=False)
    for x in X:
        p, sure = _answer(proto, x)
        for target, cls, place in (
            (Detection("car"), 2, int(sure[2].argmax())),
            (Detection(), int(sure.max(1).argmax()), int(sure[sure.max(1).argmax()].argmax())),
            (Box(11), int(p[:, 11].argmax()), 11),
        ):
            found = explain(x, target=target)
            logit = np.log(p[cls, place] / (1 - p[cls, place]))
            want = logit if make is _free else p[cls, place]
            assert found.score == pytest.approx(want, rel=1e-3, abs=1e-4)
            assert found.target == (-1 if isinstance(target, Box) else cls)


@pytest.mark.parametrize("make", [_anchors, _free])
@pytest.mark.parametrize("target", [None, Detection(), Box(3)])
def test_they_are_written_into_files(make: Any, target: Target | None) -> None:
    made = convert(make(), target=target)
    assert made.check is not None and made.check.problems == ()
    assert "bicycle" in made.explained.model.metadata["onnxcam.input.labels"]


def test_gradients_of_a_class_behind_other_rows() -> None:
    made = convert(_anchors(), target="car", method="gradient", wrt=["x"])
    assert made.check is not None and made.check.problems == ()


def test_rows_of_which_nobody_knows_the_classes_are_refused() -> None:
    """Heads that are none of the known: the highest row would be a coordinate."""
    proto = _anchors()
    for node in proto.graph.node:
        if node.op_type == "Concat" and node.output[0] != "y":
            node.input[:] = [node.input[2], node.input[0], node.input[1]]
    explain = Explainer(proto, device="cpu", threads=1, cache=False)
    for target in (None, Detection(), Box(3)):
        with pytest.raises(UsageError, match="not all classes"):
            explain(X[0], target=target)
    assert explain(X[0], target=6).target == 6
