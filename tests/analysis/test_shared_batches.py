"""A batch that other inputs, crops or copies share: its own rows are read, or it is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxcam import Explainer, ModelError, UsageError, convert
from onnxcam.analysis.layers import catalog
from onnxcam.model.model import load
from onnxcam.run.session import Session

_RNG = np.random.default_rng(3)
_NET = "c = Conv<pads = [1,1,1,1]>(b, w) r = Relu(c) p = ReduceMean<axes = [2,3], keepdims = 0>(r) "
_PAIR = (
    "b = Concat<axis = 0>(u, v) "
    + _NET
    + "f, g = Split<axis = 0>(p) m = Mul(f, g) k = MatMul(m, h) y = Relu(k)"
)
_CROPS = {
    "joined": "b = Concat<axis = 0>(s, t) ",
    "stacked": "i = Unsqueeze(s, one) j = Unsqueeze(t, one) o = Concat<axis = 1>(i, j) "
    "b = Reshape(o, merged) ",
    "mirrored": "z = Slice(x, last, before, three, back) b = Concat<axis = 0>(x, z) ",
}
_CUT = "s = Slice(x, zero, four, two) t = Slice(x, two, six, two) "
_APART = {
    "stacked": "q = MatMul(p, h) a = Reshape(q, apart) y = ReduceMean<axes = [1], keepdims = 0>(a)",
    "joined": "q = MatMul(p, h) f, g = Split<axis = 0>(q) y = Add(f, g)",
}


def _model(body: str, inputs: tuple[str, ...], batch: str) -> onnx.ModelProto:
    ports = ", ".join(f"float[{batch},2,6,6] {name}" for name in inputs)
    text = f'<ir_version: 8, opset_import: ["" : 17]> g ({ports}) => (float[{batch},3] y)'
    proto = onnx.parser.parse_model(f"{text} {{ {body} }}")
    ints = {"zero": [0], "one": [1], "two": [2], "three": [3], "four": [4], "six": [6]}
    ints |= {"last": [-1], "before": [-99], "back": [-1], "apart": [-1, 2, 3]}
    height = 6 if "last" in body else 4
    arrays = {name: np.array(value) for name, value in ints.items()}
    arrays |= {"merged": np.array([-1, 2, height, 6])}
    arrays["w"] = np.random.default_rng(0).normal(size=(4, 2, 3, 3)).astype("f4")
    arrays["h"] = np.random.default_rng(1).normal(size=(4, 3)).astype("f4")
    used = {name for node in proto.graph.node for name in node.input}
    proto.graph.initializer.extend(
        numpy_helper.from_array(a, name) for name, a in arrays.items() if name in used
    )
    return proto


def _pair(batch: str) -> onnx.ModelProto:
    return _model(_PAIR, ("u", "v"), batch)


def _layer(proto: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    shown = onnx.ModelProto()
    shown.CopyFrom(proto)
    shown.graph.output.extend(onnx.helper.make_empty_tensor_value_info(n) for n in ("r", "k"))
    found = Session(load(shown), device="cpu", threads=1).run(feeds, ["r", "k"])
    return tuple(np.asarray(a) for a in found)


@pytest.mark.parametrize("batch", ["1", "N"])
@pytest.mark.parametrize("name", ["u", "v"])
def test_of_a_pair_each_has_its_own_map(batch: str, name: str) -> None:
    proto, weights = _pair(batch), np.random.default_rng(1).normal(size=(4, 3)).astype("f4")
    feeds = {n: _RNG.normal(size=(1, 2, 6, 6)).astype("f4") for n in ("u", "v")}
    layer, scores = _layer(proto, feeds)
    cls = int(scores[0].argmax())
    mine, other = (layer[0], layer[1]) if name == "u" else (layer[1], layer[0])
    slope = weights[:, cls] * other.mean((1, 2)) / 36
    want = np.maximum((slope[:, None, None] * mine).sum(0), 0) * (scores[0, cls] > 0)
    explainer: Any = Explainer(proto, input=name, upsampling="none", cache=False, threads=1)
    rest = {n: a for n, a in feeds.items() if n != name}
    found = explainer(feeds[name], cls, extra_inputs=rest)
    np.testing.assert_allclose(found.raw_map, want, rtol=1e-3, atol=1e-6)
    assert want.max() > 0, "of zeros nothing is seen"


@pytest.mark.parametrize("name", ["u", "v"])
def test_a_file_has_the_map_of_the_input_that_is_asked_for(name: str, tmp_path: Any) -> None:
    proto, place = _pair("N"), tmp_path / "explained.onnx"
    feeds = {n: _RNG.normal(size=(2, 2, 6, 6)).astype("f4") for n in ("u", "v")}
    convert(proto, place, input=name, upsampling="none")
    (maps,) = Session(load(place), device="cpu", threads=1).run(feeds, ["onnxcam.map"])
    assert maps.shape == (2, 1, 6, 6)
    explainer: Any = Explainer(proto, input=name, upsampling="none", cache=False, threads=1)
    for n in range(2):
        rest = {k: a[n : n + 1] for k, a in feeds.items() if k != name}
        alone = explainer(feeds[name][n : n + 1], extra_inputs=rest)
        np.testing.assert_allclose(maps[n, 0], alone.raw_map, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("batch", ["1", "N"])
@pytest.mark.parametrize("kind", list(_CROPS))
def test_crops_and_copies_in_the_batch_are_no_layer(kind: str, batch: str) -> None:
    cut = "" if kind == "mirrored" else _CUT
    end = _APART["stacked" if kind == "stacked" else "joined"]
    proto = _model(cut + _CROPS[kind] + _NET + end, ("x",), batch)
    with pytest.raises(ModelError, match=r"rows for each input.*saliency"):
        Explainer(proto, cache=False, threads=1)
    found = Explainer(proto, "saliency", cache=False, threads=1)
    assert found(_RNG.normal(size=(1, 2, 6, 6)).astype("f4")).map.shape == (6, 6)


def test_an_early_layer_of_all_copies_says_so() -> None:
    body = "e = Conv<pads = [1,1,1,1]>(x, k) l = Relu(e) z = Slice(l, last, before, three, back) "
    body += "b = Concat<axis = 0>(l, z) " + _NET + _APART["joined"]
    proto = _model(body, ("x",), "N")
    kernel = _RNG.normal(size=(2, 2, 3, 3)).astype("f4")
    proto.graph.initializer.append(numpy_helper.from_array(kernel, "k"))
    found = catalog(load(proto))
    assert found.feature is not None and found.feature.name == "l"
    assert "early layer" in " ".join(found.warnings)


_HEADS = {
    "one minus": "a = Sub(c1, s) y = Concat<axis = 1>(a, s)",
    "minus plus one": "n = Neg(s) a = Add(n, c1) y = Concat<axis = 1>(a, s)",
}


@pytest.mark.parametrize("name", list(_HEADS))
def test_what_a_probability_leaves_is_the_other_class(name: str) -> None:
    body = "b = Identity(x) " + _NET + "k = MatMul(p, one_h) s = Sigmoid(k) " + _HEADS[name]
    proto = _model(body, ("x",), "N")
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 2
    weights = np.random.default_rng(1).normal(size=(4, 1)).astype("f4")
    arrays = {"one_h": weights, "c1": np.float32(1)}
    proto.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items()
    )
    x = _RNG.normal(size=(1, 2, 6, 6)).astype("f4")
    explainer: Any = Explainer(proto, "saliency", cache=False, threads=1)
    no, yes = explainer(x, [0, 1])
    assert len(no.scores) == 2 and no.scores.sum() == pytest.approx(1, abs=1e-5)
    assert np.abs(no.raw_map).max() > 0
    np.testing.assert_allclose(no.raw_map, yes.raw_map, rtol=1e-4)


def test_values_beside_a_class_are_no_classes_and_rounding_is_looked_through() -> None:
    body = "b = Identity(x) " + _NET + "k = MatMul(p, h) "
    joined = body + "u, v = Split<axis = 1>(k, parts) s = Sigmoid(v) y = Concat<axis = 1>(u, s)"
    proto = _model(joined, ("x",), "N")
    proto.graph.initializer.append(numpy_helper.from_array(np.array([2, 1]), "parts"))
    x = _RNG.normal(size=(1, 2, 6, 6)).astype("f4")
    explainer: Any = Explainer(proto, "saliency", cache=False, threads=1)
    with pytest.raises(UsageError, match="not all classes"):
        explainer(x)
    plain: Any = Explainer(_model(body + "y = Identity(k)", ("x",), "N"), "saliency", cache=False)
    np.testing.assert_allclose(explainer(x, 1).raw_map, plain(x, 1).raw_map, rtol=1e-4)
    rounded = _model(body + "y = Round(k)", ("x",), "N")
    again: Any = Explainer(rounded, "saliency", cache=False)
    np.testing.assert_allclose(again(x, 2).raw_map, plain(x, 2).raw_map, rtol=1e-4)


@pytest.mark.parametrize("kind", ["joined", "mirrored"])
@pytest.mark.parametrize("batch", ["1", "N"])
def test_rows_of_crops_or_copies_are_of_the_one_input(kind: str, batch: str) -> None:
    """They are added up, and said: the hint to explain at the input ended in a refusal."""
    body = (_CUT if kind == "joined" else "") + _CROPS[kind] + _NET + "y = MatMul(p, h)"
    proto = _model(body, ("x",), batch)
    proto.graph.output[0].type.tensor_type.shape.dim[0].Clear()
    x, session = _RNG.normal(size=(1, 2, 6, 6)).astype("f4"), Session(load(proto), device="cpu")

    def summed(x: np.ndarray) -> np.ndarray:
        return np.asarray(session.run({"x": x.astype("f4")})[0]).sum(0)

    found: Any = Explainer(proto, "saliency", cache=False, threads=1)(x, 1)
    np.testing.assert_allclose(found.scores, summed(x), rtol=1e-5)
    assert any("crops or copies of the input" in said for said in found.diagnosis)
    want = np.zeros(x.shape)
    for place in np.ndindex(x.shape):  # by finite differences
        step = np.zeros(x.shape)
        step[place] = 1e-2
        want[place] = (summed(x + step)[1] - summed(x - step)[1]) / 2e-2
    off = np.abs(found.map - np.abs(want[0]).max(0))
    assert np.median(off) < 1e-3 * found.map.max()  # a few units switch within the step
    few = {"masks": 4, "score": "score"}
    hidden: Any = Explainer(proto, "rise", parameters=few, cache=False, threads=1)(x, 1)
    assert np.isfinite(hidden.map).all()


@pytest.mark.parametrize("batch", ["1", "N"])
@pytest.mark.parametrize("pool", ["Mean", "Max"])
def test_of_tiles_that_are_pooled_the_layer_before_is_shown(batch: str, pool: str) -> None:
    """The last layer has a position for each tile, and their scores: nothing of where in it."""
    body = (
        "t = Reshape(x, cut) u = Transpose<perm = [0, 2, 4, 1, 3, 5]>(t) b = Reshape(u, merged) "
        + _NET
        + f"q = MatMul(p, h) a = Reshape(q, apart) y = Reduce{pool}<axes = [1], keepdims = 0>(a)"
    )
    proto = _model(body, ("x",), batch)
    arrays = {"cut": [-1, 2, 2, 3, 2, 3], "merged": [-1, 2, 3, 3], "apart": [-1, 4, 3]}
    for tensor in [*proto.graph.initializer]:
        if tensor.name in arrays:
            proto.graph.initializer.remove(tensor)
    proto.graph.initializer.extend(
        numpy_helper.from_array(np.array(a), name) for name, a in arrays.items()
    )
    found = catalog(load(proto))
    assert found.feature is not None and found.feature.name == "r"
    x = _RNG.normal(size=(1, 2, 6, 6)).astype("f4")
    one: Any = Explainer(proto, upsampling="none", cache=False, threads=1)(x, 1)
    assert one.raw_map.shape == (6, 6)
