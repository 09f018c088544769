"""The default layer is what an expert would name: kinds of heads, and what cannot be read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import numpy_helper, parser
from support.curve_texts import ACTIVATIONS, CONSTANTS, NORMALISATIONS

from onnxcam import Explainer, convert
from onnxcam.analysis.layers import Catalog, catalog
from onnxcam.analysis.record import read, written
from onnxcam.cli import main
from onnxcam.errors import ModelError
from onnxcam.model.model import load

_RNG = np.random.default_rng(0)


def _model(text: str, opset: int = 20, **weights: Any) -> onnx.ModelProto:
    """Return a model from ONNX's text form, with random weights of these shapes (or arrays)."""
    proto = parser.parse_model(f'<ir_version: 9, opset_import: ["" : {opset}, "own" : 1]> {text}')
    for name, given in weights.items():
        value = given if isinstance(given, np.ndarray) else _RNG.normal(size=given).astype("f4")
        proto.graph.initializer.append(numpy_helper.from_array(value, name))
    return proto


def _catalog(text: str, **weights: Any) -> Catalog:
    return catalog(load(_model(text, **weights)))


# ---- logits are no layer

_DECODER = "c = Conv<pads = [1,1,1,1]>(x, w) decoder = Relu(c)"
_W = {"w": (8, 3, 3, 3), "v": (5, 8, 1, 1), "scale": np.array([1, 1, 2, 2], "f4")}
DENSE = {
    "a Conv": "y = Conv(decoder, v)",
    "Resize": "h = Conv(decoder, v) y = Resize<mode = \"linear\">(h, , scale)",
    "Resize, Sigmoid": "h = Conv(decoder, v) u = Resize(h, , scale) y = Sigmoid(u)",
    "Resize, Softmax": "h = Conv(decoder, v) u = Resize(h, , scale) y = Softmax<axis = 1>(u)",
    "a bias of its own": "h = Conv(decoder, v) y = Add(h, bias)",
    "a scale, Pad": "h = Conv(decoder, v) s = Mul(h, half) y = Pad(s, pads)",
    "ReLU": "h = Conv(decoder, v) y = Relu(h)",
    "SiLU": "h = Conv(decoder, v) g1 = Sigmoid(h) y = Mul(h, g1)",
    "bands": "h = Conv(decoder, v) y = MatMul(h, bank)",
    "a crop": "h = Conv(decoder, v) y = Slice(h, one, six, two)",
    "Transpose": "h = Conv(decoder, v) b = Add(h, bias) y = Transpose<perm = [0, 2, 3, 1]>(b)",
    "BatchNormalization": "h = Conv(decoder, v) y = BatchNormalization(h, g, g, g, g)",
}  # fmt: skip


@pytest.mark.parametrize("name", DENSE)
def test_logits_in_front_of_their_last_steps_are_no_layer(name: str) -> None:
    shape = {"Transpose": "N,H,W,5"}.get(name, "N,5,H,W")
    found = _catalog(
        f"g (float[N,3,8,8] x) => (float[{shape}] y) {{ {_DECODER} {DENSE[name]} }}",
        **_W, bias=(5, 1, 1), half=np.array(0.5, "f4"), pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        one=np.array([1]), six=np.array([6]), two=np.array([2]), g=np.ones(5, "f4"), bank=(8, 20),
    )  # fmt: skip
    assert found.feature is not None
    assert found.feature.name == "decoder"
    assert not found.warnings


def test_a_mask_over_the_input_is_a_layer() -> None:
    """Of speech enhancement: the score is what the mask leaves, the mask is the last layer."""
    found = _catalog(
        f"g (float[N,3,8,8] x) => (float[N,3,8,8] y) {{ {_DECODER} h = Conv(decoder, u)"
        " mask = Sigmoid(h) y = Mul(mask, x) }",
        **_W, u=(3, 8, 1, 1),
    )  # fmt: skip
    assert found.feature is not None
    assert found.feature.name == "mask"


@pytest.mark.parametrize("rest", ["", "bands"])
def test_a_complex_mask_over_the_input_is_a_layer(rest: str) -> None:
    """Of speech enhancement by frequencies: the product of two complex numbers is written out."""
    mask = "mask = Identity(m)"
    if rest:  # low frequencies as they are, high ones in bands
        mask = (
            "low = Slice(m, zero, three, last) high = Slice(m, three, eight, last)"
            " wide = MatMul(high, bank) mask = Concat<axis = 3>(low, wide)"
        )
    found = _catalog(
        f"g (float[1,2,1,13] x) => (float[1,2,1,13] y) {{ c = Conv<pads = [0,1,0,1]>(x, k)"
        f" h = Relu(c) j = Conv(h, u) {'d = Slice(j, zero, eight, last)' if rest else ''}"
        f" m = Tanh({'d' if rest else 'j'}) {mask}"
        " xr = Gather<axis = 1>(x, re) xi = Gather<axis = 1>(x, im)"
        " mr = Gather<axis = 1>(mask, re) mi = Gather<axis = 1>(mask, im)"
        " p = Mul(xr, mr) q = Mul(xi, mi) real = Sub(p, q)"
        " r = Mul(xr, mi) s = Mul(xi, mr) imag = Add(r, s)"
        " a = Unsqueeze(real, one) b = Unsqueeze(imag, one) y = Concat<axis = 1>(a, b) }",
        k=(8, 2, 1, 3), u=(2, 8, 1, 1), re=np.array(0), im=np.array(1), one=np.array([1]),
        zero=np.array([0]), three=np.array([3]), eight=np.array([8]), last=np.array([3]),
        bank=(5, 10),
    )  # fmt: skip
    assert found.feature is not None
    assert found.feature.name in ("mask", "m") if not rest else found.feature.name == "mask"


def test_logits_can_still_be_named() -> None:
    text = f"g (float[N,3,8,8] x) => (float[N,5,H,W] y) {{ {_DECODER} {DENSE['Resize']} }}"
    assert Explainer(_model(text, **_W), feature_layer="h", cache=False).feature.name == "h"


def test_heads_of_several_scales_are_no_layer() -> None:
    found = _catalog(
        "g (float[1,3,8,8] x) => (float[1,5,20] y) {"
        "c = Conv<pads = [1,1,1,1]>(x, w) trunk = Relu(c)"
        "d = Conv<strides = [2,2]>(trunk, s) small = Relu(d)"
        "a = Conv(trunk, v) b = Conv(small, v) p = Reshape(a, flat) q = Reshape(b, flat)"
        "j = Concat<axis = 2>(p, q) y = Sigmoid(j) }",
        **_W, s=(8, 8, 1, 1), flat=np.array([1, 5, -1]),
    )  # fmt: skip
    assert found.feature is not None
    assert found.feature.name == "trunk"


@pytest.mark.parametrize("skip", ["x", "stem", "bent"])
@pytest.mark.parametrize("sum_", ["Add(h, {})", "Sub({}, h)"])
def test_the_input_of_a_global_skip_is_no_layer(skip: str, sum_: str) -> None:
    found = _catalog(
        "g (float[N,3,8,8] x) => (float[N,3,8,8] y) {"
        "f = Conv(x, w) first = Relu(f) stem = Conv(first, u) bent = Tanh(stem)"
        "a = Conv(bent, w) mid = Relu(a) b = Conv(mid, z) last = Relu(b) h = Conv(last, u)"
        f"y = {sum_.format(skip)} }}",
        w=(8, 3, 1, 1), u=(3, 8, 1, 1), z=(8, 8, 1, 1),
    )  # fmt: skip
    assert found.feature is not None
    assert found.feature.name == "last"


def test_probabilities_that_are_averaged_are_no_layer() -> None:
    for pool in ("p = ReduceMean(s, axes)", "p = GlobalAveragePool(s)"):
        found = _catalog(
            f"g (float[N,3,8,8] x) => (float[N,5,1,1] y) {{ {_DECODER} h = Conv(decoder, v)"
            f" s = Sigmoid(h) {pool} y = Identity(p) }}",
            **_W, axes=np.array([2, 3]),
        )  # fmt: skip
        assert found.feature is not None
        assert found.feature.name == "decoder"


# ---- activations and normalisations by what they compute


@pytest.mark.parametrize("name", [n for n in ACTIVATIONS if n != "Max of one"])
def test_an_activation_is_found_before_a_pool(name: str) -> None:
    found = _catalog(
        f"g (float[1,8,6,6] i) => (float[1,8] z) <{CONSTANTS}> {{ x = Conv(i, w) "
        f"{ACTIVATIONS[name]} pooled = MaxPool<kernel_shape = [2,2], strides = [2,2]>(y)"
        "mean = GlobalAveragePool(pooled) flat = Flatten(mean) z = Gemm(flat, fc) }",
        w=(8, 8, 1, 1), fc=(8, 8),
    )  # fmt: skip
    assert found.feature is not None
    assert found.feature.name == ("r" if name == "through a cast" else "y")


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_a_normalisation_is_found_before_a_product(name: str) -> None:
    if name == "... over the channels":
        pytest.skip("of a convolutional network, where no product of tokens follows")
    text = NORMALISATIONS[name]
    found = _catalog(
        f"g (int64[N,5] ids) => (float[N,5,3] z) <{CONSTANTS}> {{ e = Gather(table, ids) "
        f"x = MatMul(e, w) {text} h1 = MatMul(y, w) h2 = MatMul(h1, w) z = MatMul(h2, head) }}",
        table=(9, 6), w=(6, 6), head=(6, 3),
    )  # fmt: skip
    assert found.feature is not None
    assert (found.feature.name, found.feature_reason[-13:]) == ("y", "normalisation")


# ---- what cannot be read, and what no position reaches

_STRANGE = (
    "g (float[1,3,8,8] x) => (float[1,4] y) { c = Conv(x, w) early = Relu(c)"
    "o = own.Twist(early) late = Relu(o) {more} m = ReduceMean<keepdims = 0>(late, axes)"
    "y = MatMul(m, fc) }"
)


def test_later_layers_that_cannot_be_read_are_counted_and_named() -> None:
    text = _STRANGE.replace("{more}", "")
    found = _catalog(text, w=(8, 3, 1, 1), axes=np.array([2, 3]), fc=(8, 4))
    assert found.feature is not None
    assert found.feature.name == "early"
    assert "the last layer that can be read" in found.feature_reason
    (said,) = found.warnings
    assert "later layers could not be read" in said
    assert "'o' (Twist)" in said


def _body_of_sequence() -> onnx.ModelProto:
    """Return a model with a step behind its layer whose axes nobody knows, which can be run."""
    return _model(
        "g (float[1,3,8,8] x) => (float[1,4] y) { c = Conv(x, w) early = Relu(c)"
        "k = ConstantOfShape(shape) e = Expand(early, shape) n = NonZero(k)"
        "o = Reshape(e, wild) late = Relu(o) q = MatMul(late, mix) r = Tanh(q)"
        "m = ReduceMean<keepdims = 0>(r, axes) y = MatMul(m, fc) }",
        w=(8, 3, 1, 1), shape=np.array([1, 8, 8, 8]), wild=np.array([1, 16, 32]),
        mix=(32, 32), axes=np.array([1]), fc=(32, 4),
    )  # fmt: skip


def test_a_warning_is_said_wherever_a_map_is(tmp_path: Path) -> None:
    """In the diagnosis, the figure, the conversion and the table of layers."""
    proto = _body_of_sequence()
    found = Explainer(proto, cache=False)(_RNG.normal(size=(1, 3, 8, 8)).astype("f4"), 1)
    (warning,) = catalog(load(proto)).warnings
    assert warning in found.diagnosis
    quiet = replace(found, diagnosis=())
    assert found.figure().size[1] > quiet.figure().size[1]
    assert convert(proto, check=False).warnings == (warning,)
    named = Explainer(proto, feature_layer="c", cache=False)
    assert warning not in named(np.ones((1, 3, 8, 8), "f4"), 1).diagnosis
    onnx.save(proto, str(tmp_path / "m.onnx"))
    shown = CliRunner().invoke(main, ["layers", str(tmp_path / "m.onnx")])
    assert warning in shown.output


def test_nothing_is_said_where_all_is_read() -> None:
    found = _catalog(
        f"g (float[N,3,8,8] x) => (float[N,5,H,W] y) {{ {_DECODER} y = Conv(decoder, v) }}", **_W
    )
    assert not found.warnings
    assert found.feature_reason.startswith("the last layer before the score")


def test_warnings_are_kept_with_what_is_known() -> None:
    text = _STRANGE.replace("{more}", "")
    proto = _model(text, w=(8, 3, 1, 1), axes=np.array([2, 3]), fc=(8, 4))
    first, second = load(proto), load(proto)
    assert read(second, None, written(first, None))
    assert catalog(second).warnings == catalog(first).warnings != ()


PICKS = {
    "Gather": "logits = Gather<axis = 1>(all, five)",
    "Gather, computed": "n = ReduceMax<keepdims = 0>(ids) logits = Gather<axis = 1>(all, n)",
    "Slice": "s = Slice(all, fives, ends, ones) logits = Squeeze(s, ones)",
    "GatherND": "logits = GatherND(all, pair)",
    "GatherND, per input": "logits = GatherND<batch_dims = 1>(all, fives2)",
    "GatherElements": "s = GatherElements<axis = 1>(all, row) logits = Squeeze(s, ones)",
}


@pytest.mark.parametrize("name", PICKS)
def test_one_row_of_many_is_no_layer(name: str) -> None:
    """Where tokens never meet, the row that is picked is all that matters: that is said."""
    proto = _model(
        "g (int64[1,6] ids) => (float[1,3] logits) { e = Gather(table, ids)"
        f"m = MatMul(e, w) r = Relu(m) all = MatMul(r, head) {PICKS[name]} }}",
        table=(9, 4), w=(4, 8), head=(8, 3), five=np.array(5), fives=np.array([5]),
        ends=np.array([6]), ones=np.array([1]), pair=np.array([[0, 5]]),
        fives2=np.array([[5]]), row=np.full((1, 1, 3), 5),
    )  # fmt: skip
    with pytest.raises(ModelError, match="position .* reaches the score"):
        Explainer(proto, cache=False)


@pytest.mark.parametrize("name", PICKS)
def test_the_layer_before_tokens_meet_is_the_default(name: str) -> None:
    proto = _model(
        "g (int64[1,6] ids) => (float[1,3] logits) { e = Gather(table, ids)"
        "m = MatMul(e, w) before = Relu(m) t = Transpose<perm = [0, 2, 1]>(before)"
        "k = MatMul(before, t) p = Softmax(k) met = MatMul(p, before)"
        "sum = Add(met, before) late = Relu(sum)"
        f"all = MatMul(late, head) {PICKS[name]} }}",
        table=(9, 4), w=(4, 8), head=(8, 3), five=np.array(5), fives=np.array([5]),
        ends=np.array([6]), ones=np.array([1]), pair=np.array([[0, 5]]),
        fives2=np.array([[5]]), row=np.full((1, 1, 3), 5),
    )  # fmt: skip
    found = catalog(load(proto))
    assert found.feature is not None
    assert found.feature.name == "before"
    assert "every position reaches the score" in found.feature_reason


def test_a_map_of_one_position_says_so() -> None:
    explainer = Explainer(
        _model(
            "g (float[N,1,T] x) => (float[N,4] y) { c = Conv<strides = [8]>(x, w) a = Relu(c)"
            "p = GlobalAveragePool(a) f = Flatten(p) y = Gemm(f, fc) }",
            w=(6, 1, 8), fc=(6, 4),
        ),
        cache=False,
    )  # fmt: skip
    short, long = (explainer(_RNG.normal(size=(1, 1, t)).astype("f4"), 1) for t in (8, 64))
    assert any("single position" in said for said in short.diagnosis)
    assert not any("single position" in said for said in long.diagnosis)
