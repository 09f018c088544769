"""A layout that a description says is taken where the graph does not tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper, parser

import onnxcam
from onnxcam.errors import OnnxcamError
from onnxcam.inputs import InputSpec


def _mixer() -> ModelProto:
    """Return a net of products of tokens: nothing in it says what an axis of its input is."""
    rng = np.random.default_rng(2)
    model: ModelProto = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[n, 6, 8, 5] x) => (float[n, 3] y) {
        tokens = Reshape(x, shape)
        wide = MatMul(tokens, w1)
        layer = Relu(wide)
        pooled = ReduceMean<axes=[1], keepdims=0>(layer)
        y = MatMul(pooled, w2)
        }"""
    )
    values = {
        "shape": np.array([0, 48, 5]),
        "w1": rng.normal(size=(5, 7)).astype("f4"),
        "w2": rng.normal(size=(7, 3)).astype("f4"),
    }
    for name, value in values.items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    return model


X = np.random.default_rng(0).normal(size=(1, 6, 8, 5)).astype("f4")


def test_without_a_description_nothing_says_it() -> None:
    with pytest.raises(OnnxcamError):
        onnxcam.Explainer(_mixer(), cache=False)(X)


@pytest.mark.parametrize("place", ["sidecar", "metadata", "option", "file"])
def test_the_layout_of_a_description_is_taken(place: str, tmp_path: Path) -> None:
    model, path, preprocess = _mixer(), tmp_path / "model.onnx", None
    text = 'layout = "NHWC"\npictures = false\n'
    if place == "metadata":
        model.metadata_props.add(key="onnxcam.input.layout", value="NHWC")
    onnx.save(model, path)
    if place in ("sidecar", "file"):
        name = "model.toml" if place == "sidecar" else "other.toml"
        (tmp_path / name).write_text(text)
        preprocess = tmp_path / name if place == "file" else None
    given = InputSpec(layout="NHWC", pictures=False) if place == "option" else preprocess
    found = onnxcam.Explainer(path, cache=False, preprocess=given)(X, 1)
    want = onnxcam.Explainer(_mixer(), cache=False, input_format="NHWC")(X, 1)
    assert found.map.shape == (6, 8)
    np.testing.assert_array_equal(found.map, want.map)
    made = onnxcam.convert(path, preprocess=given, target=1)
    assert made.explained.letters == "HW"
