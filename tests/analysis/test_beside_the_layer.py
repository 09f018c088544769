"""What the default layer does not see of the score is said: networks side by side, spectrograms."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from onnxcam import Explainer, convert
from onnxcam.analysis.layers import catalog
from onnxcam.analysis.record import read, written
from onnxcam.model.model import load

_RNG = np.random.default_rng(0)
_ONE = "c{0} = Conv<pads = [1,1,1,1]>({1}, w{0}) r{0} = Relu(c{0})"
_MEAN = "p{0} = GlobalAveragePool(r{0}) f{0} = Flatten(p{0}) s{0} = Gemm(f{0}, v{0})"
_A, _B = _ONE.format("1", "x"), _ONE.format("2", "x")
_HEADS = f"{_MEAN.format('1')} {_MEAN.format('2')}"
BESIDE = {
    "an ensemble": f"{_A} {_B} {_HEADS} y = Add(s1, s2)",
    "the better of two": f"{_A} {_B} {_HEADS} y = Max(s1, s2)",
    "two streams": f"{_A} {_B} {_HEADS} j = Concat<axis = 1>(s1, s2) y = Gemm(j, v3)",
    "a mirrored copy": (
        f"{_A} f = Slice(x, last, first, width, back) {_ONE.format('2', 'f')} {_HEADS} "
        "y = Add(s1, s2)"
    ),
}  # fmt: skip
THROUGH = {
    "a stem before them": (
        f"{_ONE.format('0', 'x')} {_ONE.format('1', 'r0')} {_ONE.format('2', 'r0')} {_HEADS} "
        "y = Add(s1, s2)"
    ),
    "features joined": f"{_A} {_B} r3 = Concat<axis = 1>(r1, r2) p = GlobalAveragePool(r3) "
    "f = Flatten(p) y = Gemm(f, v3)",
    "a residual sum": f"{_A} {_ONE.format('4', 'r1')} r3 = Add(r1, r4) p = GlobalAveragePool(r3) "
    "f = Flatten(p) y = Gemm(f, v1)",
    "two pools of one": f"{_A} {_MEAN.format('1')} m = GlobalMaxPool(r1) g = Flatten(m) "
    "t = Gemm(g, v2) y = Add(s1, t)",
    "a gate": f"{_A} {_MEAN.format('1')} h = Sigmoid(s1) i = Unsqueeze(h, ends) r3 = Mul(r1, i) "
    "p = GlobalAveragePool(r3) f = Flatten(p) y = Gemm(f, v1)",
}


def _model(body: str) -> onnx.ModelProto:
    text = f"net (float[N, 3, 8, 8] x) => (float[N, C] y) {{ {body} }}"
    proto = parser.parse_model(f'<ir_version: 9, opset_import: ["" : 20]> {text}')
    sizes = {"w0": (3, 3, 3, 3), "w1": (4, 3, 3, 3), "w2": (4, 3, 3, 3), "w4": (4, 4, 3, 3)}
    sizes |= {"v1": (4, 4), "v2": (4, 4), "v3": (8, 4)}
    arrays = {name: _RNG.normal(size=size).astype("f4") for name, size in sizes.items()}
    places = {"last": [-1], "first": [-9], "width": [3], "back": [-1], "ends": [2, 3]}
    arrays |= {name: np.array(value) for name, value in places.items()}
    used = {name for node in proto.graph.node for name in node.input}
    proto.graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in arrays.items() if name in used
    )
    return proto


@pytest.mark.parametrize("name", BESIDE)
def test_what_passes_the_layer_by_is_said(name: str) -> None:
    proto = _model(BESIDE[name])
    x = _RNG.normal(size=(1, 3, 8, 8)).astype("f4")
    [found] = Explainer(proto)(x, target=[0])
    assert found.feature_layer == "r2"
    assert any("passes this layer by" in said and "'r1'" in said for said in found.diagnosis)
    assert any("passes this layer by" in said for said in convert(proto).warnings)


def test_both_layers_fused_have_all_of_it() -> None:
    proto = _model(BESIDE["an ensemble"])
    x = _RNG.normal(size=(1, 3, 8, 8)).astype("f4")
    both = Explainer(proto, feature_layer=["r1", "r2"], fuse="sum")(x, target=[0])[0]
    assert not any("passes" in said for said in both.diagnosis)


@pytest.mark.parametrize("name", THROUGH)
def test_nothing_is_said_where_all_passes_through(name: str) -> None:
    found = catalog(load(_model(THROUGH[name])))
    assert found.feature is not None
    assert not found.beside


def test_what_passes_by_is_kept_with_what_is_known() -> None:
    model, again = load(_model(BESIDE["an ensemble"])), load(_model(BESIDE["an ensemble"]))
    assert read(again, None, written(model, None))
    assert catalog(again).beside == catalog(model).beside != ""


@pytest.mark.parametrize("then", ["", "r1 = Relu(r0)"])
def test_a_layer_before_a_spectrogram_says_so(then: str) -> None:
    """The bands of a filter bank become a direction of their own: the signal has only one."""
    last = "r1" if then else "r0"
    text = (
        "net (float[N, 400] x) => (float[N, 4] y) { a = Unsqueeze(x, one) b = Conv<strides = [8]>"
        "(a, bank) e = Mul(b, b) i = Unsqueeze(e, one) c = Conv<pads = [1,1,1,1]>(i, w) "
        f"r0 = Relu(c) {then} p = GlobalAveragePool({last}) f = Flatten(p) y = Gemm(f, v) }}"
    )
    proto = parser.parse_model(f'<ir_version: 9, opset_import: ["" : 20]> {text}')
    sizes = {"bank": (16, 1, 16), "w": (4, 1, 3, 3), "v": (4, 4)}
    proto.graph.initializer.extend(
        numpy_helper.from_array(_RNG.normal(size=size).astype("f4"), name)
        for name, size in sizes.items()
    )
    proto.graph.initializer.append(numpy_helper.from_array(np.array([1]), "one"))
    found = catalog(load(proto))
    assert found.feature is not None and found.feature.name == "e"
    assert any("more directions" in said and repr(last) in said for said in found.warnings)
    [shown] = Explainer(proto)(_RNG.normal(size=(1, 400)).astype("f4"), target=[0])
    assert any("more directions" in said for said in shown.diagnosis)


def test_a_lone_score_is_an_output_and_no_class() -> None:
    text = (
        "net (float[N, 3, 8, 8] x) => (float[N, 1] y) { c = Conv<pads = [1,1,1,1]>(x, w1) "
        "r = Relu(c) p = GlobalAveragePool(r) f = Flatten(p) y = Gemm(f, v) }"
    )
    proto = parser.parse_model(f'<ir_version: 9, opset_import: ["" : 20]> {text}')
    for name, size in {"w1": (4, 3, 3, 3), "v": (4, 1)}.items():
        proto.graph.initializer.append(
            numpy_helper.from_array(_RNG.normal(size=size).astype("f4"), name)
        )
    x = _RNG.normal(size=(1, 3, 8, 8)).astype("f4")
    assert Explainer(proto)(x, target=[0])[0].title.startswith("output ")
