"""What an explanation says of its gradient: exact, or straight through a rounding."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import ModelProto, helper, numpy_helper
from support import nets

import onnxcam
from onnxcam import Explainer
from onnxcam.cli import main

SAID = {"conv": "exact", "relu": "exact", "pool": "straight-through (QuantizeLinear)"}


def _rounded(name: str) -> ModelProto:
    """Return a small classifier of which one tensor is rounded to uint8."""
    model = nets.cnn()
    graph = model.graph
    place = next(i for i, n in enumerate(graph.node) if name in n.output)
    parameters = ["scale", "zero"]
    pair = [
        helper.make_node("QuantizeLinear", [name, *parameters], ["q"]),
        helper.make_node("DequantizeLinear", ["q", *parameters], ["rounded"]),
    ]
    for node in graph.node:
        node.input[:] = ["rounded" if i == name else i for i in node.input]
    for i, node in enumerate(pair):
        graph.node.insert(place + 1 + i, node)
    values = np.array(0.05, "f4"), np.array(90, np.uint8)
    graph.initializer.extend(map(numpy_helper.from_array, values, parameters))
    return model


@pytest.mark.parametrize("name", SAID)
def test_only_a_rounding_behind_the_feature_layer_counts(name: str) -> None:
    model = _rounded(name)
    made = onnxcam.convert(model, feature_layer="relu" if name == "pool" else "rounded")
    found = Explainer(model, feature_layer=made.explained.feature.name, device="cpu", threads=1)
    explanation = found(np.random.default_rng(0).normal(size=(1, 2, 6, 6)).astype("f4"))
    said = {p.key: p.value for p in made.proto.metadata_props}["onnxcam.gradient"]
    assert said == made.explained.gradient == found.gradient == SAID[name]
    assert explanation.gradient == explanation.as_dict()["gradient"] == SAID[name]
    assert made.as_dict()["metadata"]["onnxcam.gradient"] == SAID[name]


def test_the_commands_say_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.onnx").write_bytes(_rounded("pool").SerializeToString())
    np.save("x.npy", np.random.default_rng(0).normal(size=(1, 2, 6, 6)).astype("f4"))
    runner = CliRunner()
    for line in ("convert m.onnx -o out.onnx", "explain m.onnx x.npy -o x.json"):
        done = runner.invoke(main, line.split())
        assert "gradcam at relu, gradient straight-through (QuantizeLinear)" in done.output
        assert done.exit_code == 0
    assert json.loads(Path("x.json").read_text())["gradient"] == SAID["pool"]
    said = {p.key: p.value for p in onnx.load("out.onnx").metadata_props}
    assert said["onnxcam.gradient"] == SAID["pool"]
