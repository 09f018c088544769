"""Nodes that run early: where an input is kept beside what it is clipped to. Maps are equal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from onnxcam import Explainer
from onnxcam.analysis.layers import catalog
from onnxcam.compose import explain_graph
from onnxcam.methods import find
from onnxcam.model.model import load
from onnxcam.run.early import best_early
from onnxcam.run.session import Session


def _net(top: float | None) -> onnx.ModelProto:
    """Return two convolutions with a ReLU, limited or not, a mean and a classifier."""
    rng = np.random.default_rng(3)
    shapes = {"v": (8, 3, 3, 3), "w": (8, 8, 3, 3), "u": (8, 5)}
    weights = [numpy_helper.from_array(rng.normal(size=s).astype("f4"), n)
               for n, s in shapes.items()]  # fmt: skip
    weights += [
        numpy_helper.from_array(np.array(v, "f4"), n) for n, v in (("low", 0), ("top", top or 0))
    ]
    node = helper.make_node
    bend = ("Relu", []) if top is None else ("Clip", ["low", "top"])
    nodes = [
        node("Conv", ["x", "v"], ["a"], pads=[1] * 4),
        node(bend[0], ["a", *bend[1]], ["b"]),
        node("Conv", ["b", "w"], ["c"], pads=[1] * 4),
        node(bend[0], ["c", *bend[1]], ["d"]),
        node("GlobalAveragePool", ["d"], ["e"]),
        node("Flatten", ["e"], ["f"]),
        node("MatMul", ["f", "u"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", 1, ["N", 3, 8, 8])
    y = helper.make_tensor_value_info("y", 1, ["N", 5])
    graph = helper.make_graph(nodes, "net", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("method", "top", "early"),
    [("lrp-epsilon", 6.0, True), ("attnlrp", 6.0, True), ("saliency", 6.0, False),
     ("lrp-epsilon", None, False), ("attnlrp", None, False)],
)  # fmt: skip
def test_what_a_limit_hides_is_taken_early(method: str, top: float | None, early: bool) -> None:
    model = load(_net(top))
    made = explain_graph(model, catalog(model), find(method))  # type: ignore[arg-type]
    assert best_early(made.model) is early


def test_a_model_without_a_limit_is_taken_late() -> None:
    assert not best_early(load(_net(None)))


@pytest.mark.parametrize("method", ["lrp-epsilon", "libragrad"])
def test_early_and_late_maps_are_the_same(method: str, tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    onnx.save(_net(2.0), file)
    x = np.random.default_rng(1).normal(size=(1, 3, 8, 8)).astype("f4")
    early = Explainer(file, method, device="cpu", upsampling="none", cache=False)(x, target=2)
    model = load(file)
    made = explain_graph(model, catalog(model), find(method))  # type: ignore[arg-type]
    feeds = {"x": x, "onnxcam.target": np.array([2])}
    (late,) = Session(made.model, device="cpu").run(feeds, ["onnxcam.map"])
    np.testing.assert_array_equal(early.map, late[0, 0])
