"""Layers before a normalisation over space: Grad-CAM's weights there are rounding noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from onnxcam import Explainer
from onnxcam.analysis.layers import catalog
from onnxcam.model.model import load

_RNG = np.random.default_rng(0)
# The parts of a global skip, and so the scores already, begin with the normalisation.
_TAIL = "a = PRelu(n, slope) t = Conv<pads = [1,1,1,1]>(a, v) y = Add(t, a)"
_MODEL = "g (float[N,3,8,8] x) => (float[N,5,8,8] y) {{ c = Conv<pads = [1,1,1,1]>(x, w) {} {} }}"
NORMS = {
    "InstanceNormalization": "n = InstanceNormalization(c, g, b)",
    "reshaped": "f = Reshape(c, flat) m = InstanceNormalization(f, g, b) n = Reshape(m, whole)",
    "one group a channel": "n = GroupNormalization<num_groups = 5>(c, g, b)",
    "LayerNormalization": "n = LayerNormalization<axis = 2>(c, plane)",
    "MeanVarianceNormalization": "n = MeanVarianceNormalization<axes = [2, 3]>(c)",
    "behind a BatchNormalization": (
        "d = BatchNormalization(c, g, b, b, g) n = InstanceNormalization(d, g, b)"
    ),
    "spelled out": (
        "mean = ReduceMean<keepdims = 1>(c, axes) n0 = Sub(c, mean) q = Mul(n0, n0) "
        "var = ReduceMean<keepdims = 1>(q, axes) s = Sqrt(var) n = Div(n0, s)"
    ),
}
OTHERS = {
    "a group of all channels": "n = GroupNormalization<num_groups = 1>(c, g, b)",
    "over the channels": "n = LayerNormalization<axis = 1>(c, volume)",
    "BatchNormalization": "n = BatchNormalization(c, g, b, b, g)",
    "its means are used too": "i = InstanceNormalization(c, g, b) n = Add(i, c)",
}


def _model(norm: str, tail: str = _TAIL) -> onnx.ModelProto:
    header = '<ir_version: 10, opset_import: ["" : 21]> '
    proto = parser.parse_model(header + _MODEL.format(norm, tail))
    values: dict[str, Any] = {
        "w": _RNG.normal(size=(5, 3, 3, 3)), "v": _RNG.normal(size=(5, 5, 3, 3)),
        "slope": np.full((5, 1, 1), 0.25), "g": np.ones(5), "b": np.zeros(5),
        "plane": np.ones((8, 8)), "volume": np.ones((5, 8, 8)),
    }  # fmt: skip
    arrays = {name: value.astype("f4") for name, value in values.items()}
    arrays |= {"flat": np.array([0, 5, -1]), "whole": np.array([0, 5, 8, 8])}
    arrays["axes"] = np.array([2, 3])
    text = f"{norm} {tail}".replace("(", " ").replace(",", " ").replace(")", " ").split()
    for name, array in arrays.items():
        if name in (*text, "w"):
            proto.graph.initializer.append(numpy_helper.from_array(array, name))
    return proto


def _explained(proto: onnx.ModelProto, layer: str | None = None, **options: Any) -> Any:
    explainer = Explainer(proto, feature_layer=layer, device="cpu", cache=False, **options)
    return explainer(np.random.default_rng(1).normal(size=(1, 3, 8, 8)).astype("f4"), target=1)


@pytest.mark.parametrize("name", NORMS)
def test_the_default_lies_behind_a_normalisation_over_space(name: str) -> None:
    feature = catalog(load(_model(NORMS[name]))).feature
    assert feature is not None
    assert feature.name in (("n0", "a") if name == "spelled out" else ("a",))
    assert not any("rounding" in said for said in _explained(_model(NORMS[name])).diagnosis)


@pytest.mark.parametrize("name", OTHERS)
def test_before_other_normalisations_nothing_is_wrong(name: str) -> None:
    """The mean gradient of a single channel is not zero there."""
    assert "mean gradients" not in catalog(load(_model(OTHERS[name]))).feature_reason
    assert not any("rounding" in said for said in _explained(_model(OTHERS[name]), "c").diagnosis)


@pytest.mark.parametrize("name", NORMS)
def test_a_layer_before_one_that_is_named_is_diagnosed(name: str) -> None:
    proto = _model(NORMS[name])
    assert "rounding noise" in _explained(proto, "c").diagnosis[0]
    for method in ("hirescam", "layercam", "gradcam++"):  # they average no gradient
        said = _explained(proto, "c", method=method).diagnosis
        assert not any("rounding" in words for words in said)


def test_each_of_several_targets_is_diagnosed() -> None:
    proto = _model(NORMS["InstanceNormalization"])
    explainer = Explainer(proto, feature_layer="c", device="cpu", cache=False)
    x = np.random.default_rng(1).normal(size=(2, 3, 8, 8)).astype("f4")
    for row in explainer(list(x[:, None]), target=[0, 1, 2]):
        assert all("rounding noise" in found.diagnosis[0] for found in row)


def test_it_the_features_of_a_classifier_are_not_centred() -> None:
    """A weighted mean of the normalised features, so that their gradient is not zero."""
    tail = "k = Flatten(n) y = MatMul(k, dense)"
    proto = _model("n = InstanceNormalization(c, g, b)", tail)
    dense = _RNG.normal(size=(5 * 64, 5)).astype("f4")
    proto.graph.initializer.append(numpy_helper.from_array(dense, "dense"))
    del proto.graph.output[0].type.tensor_type.shape.dim[2:]
    found = _explained(proto)
    assert found.feature_layer == "n" and not found.diagnosis
    assert "rounding noise" in _explained(proto, "c").diagnosis[0]
