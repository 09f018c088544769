"""A map lies where its cells came from: crops, pads, flips and unpadded windows in the graph.

The net behind is explained by itself, on an input that is cropped, padded, turned outside; its map
put back must be the map of the net that does so in its graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper, parser

import onnxcam
from onnxcam.analysis import record
from onnxcam.analysis.layers import catalog
from onnxcam.inputs import InputSpec
from onnxcam.model.model import load
from onnxcam.run.session import Session

Array = np.ndarray[Any, Any]
END, BEGIN = 2**31 - 1, -(2**31)
SIZE = (24, 20)


@dataclass(frozen=True)
class Move:
    """What a graph does with its input.

    Attributes:
        text: Its nodes, from x to moved.
        given: Their constants.
        done: The same of an array [H, W].
        put: What brings a map of the result back to the input's size.
        opset: Of the model.
    """

    text: str
    given: Mapping[str, Any]
    done: Callable[[Array], Array]
    put: Callable[[Array], Array]
    opset: int = 17


def _cropped(x: Array) -> Array:
    return x[4:16, 6:20]


def _back(map: Array) -> Array:
    return np.pad(map, ((4, 8), (6, 0)))


CROP = {"starts": [4, 6], "ends": [16, END], "axes": [2, 3]}
FLIP = {"starts": [-1], "ends": [BEGIN], "axes": [3], "steps": [-1]}
MOVES = {
    "crop": Move("moved = Slice(x, starts, ends, axes)", CROP, _cropped, _back),
    "crop from the end": Move(
        "moved = Slice(x, starts, ends, axes)",
        {"starts": [-20, 6], "ends": [-8, END], "axes": [-2, 3]},
        _cropped,
        _back,
    ),
    "crop by Pad": Move(
        "moved = Pad(x, pads)", {"pads": [0, 0, -4, -6, 0, 0, -8, 0]}, _cropped, _back
    ),
    "crop by Split": Move(
        "before, rows, behind = Split<axis=2>(x, parts) left, moved = Split<axis=3>(rows, halves)",
        {"parts": [4, 12, 8], "halves": [6, 14]},
        _cropped,
        _back,
    ),
    "crop by Gather": Move(
        "rows = Gather<axis=2>(x, y_places) moved = Gather<axis=3>(rows, x_places)",
        {"y_places": list(range(4, 16)), "x_places": list(range(6, 20))},
        _cropped,
        _back,
    ),
    "crop in the middle": Move(
        "moved = CenterCropPad<axes=[2, 3]>(x, sizes)",
        {"sizes": [12, 28]},
        lambda x: np.pad(x[6:18], ((0, 0), (4, 4))),
        lambda map: np.pad(map[:, 4:-4], ((6, 6), (0, 0))),
        opset=18,
    ),
    "centre crop that is computed": Move(
        "shape = Shape(x) height = Slice(shape, two, three) more = Sub(height, crop)"
        "start = Div(more, two) end = Add(start, crop) moved = Slice(x, start, end, two)",
        {"two": [2], "three": [3], "crop": [12]},
        lambda x: x[6:18],
        lambda map: np.pad(map, ((6, 6), (0, 0))),
    ),
    "crop and subsample": Move(
        "moved = Slice(x, starts, ends, axes, steps)",
        {"starts": [4], "ends": [16], "axes": [2], "steps": [1]},
        lambda x: x[4:16],
        lambda map: np.pad(map, ((4, 8), (0, 0))),
    ),
    "flip": Move(
        "moved = Slice(x, starts, ends, axes, steps)",
        FLIP,
        lambda x: x[:, ::-1],
        lambda map: map[:, ::-1],
    ),
    "flip by Gather": Move(
        "moved = Gather<axis=2>(x, places)",
        {"places": list(range(23, -1, -1))},
        lambda x: x[::-1],
        lambda map: map[::-1],
    ),
    "flip by ReverseSequence": Move(
        "turned = Transpose<perm=[2, 0, 1, 3]>(x)"
        "back = ReverseSequence<batch_axis=1, time_axis=0>(turned, lengths)"
        "moved = Transpose<perm=[1, 2, 0, 3]>(back)",
        {"lengths": [24]},
        lambda x: x[::-1],
        lambda map: map[::-1],
    ),
    "crop of a flip": Move(
        "turned = Slice(x, starts, ends, axes, steps) moved = Slice(turned, low, high, axis)",
        {**FLIP, "low": [2], "high": [14], "axis": [3]},
        lambda x: x[:, ::-1][:, 2:14],
        lambda map: np.pad(map, ((0, 0), (2, 6)))[:, ::-1],
    ),
    "quarter turn": Move(
        "turned = Transpose<perm=[0, 1, 3, 2]>(x) moved = Slice(turned, starts, ends, axes, steps)",
        FLIP,
        lambda x: x.T[:, ::-1],
        lambda map: map[:, ::-1].T,
    ),
    "pad": Move(
        "moved = Pad(x, pads)",
        {"pads": [0, 0, 4, 0, 0, 0, 4, 12]},
        lambda x: np.pad(x, ((4, 4), (0, 12))),
        lambda map: map[4:-4, :-12],
    ),
    "pad by Concat": Move(
        "moved = Concat<axis=3>(zeros, x)",
        {"zeros": np.zeros((1, 1, 24, 8), "f4")},
        lambda x: np.pad(x, ((0, 0), (8, 0))),
        lambda map: map[:, 8:],
    ),
    "halves put together": Move(
        "left, right = Split<axis=3>(x, halves) whole = Concat<axis=3>(left, right)"
        "moved = Slice(whole, starts, ends, axes)",
        {**CROP, "halves": [6, 14]},
        _cropped,
        _back,
    ),
}  # fmt: skip


# What a graph does with numbers that hold for any size is tried without a size in the file too.
COMPUTED = "centre crop that is computed"
ANY_SIZE = ["crop", "crop from the end", "crop by Pad", "flip", "crop of a flip", "quarter turn"]
SHAPES = [
    *((name, "n, 1, 24, 20") for name in MOVES),
    *((name, "n, 1, h, w") for name in [*ANY_SIZE, "pad", "crop by Gather", COMPUTED]),
]


def _model(text: str, given: Mapping[str, Any], shape: str, opset: int = 17) -> ModelProto:
    """Return a classifier of 1 channel: ``text`` from x to moved, then a net of stride 4."""
    rng = np.random.default_rng(5)
    model: ModelProto = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : {opset}]> g (float[{shape}] x) => (float[n, 3] y) {{
        {text}
        c1 = Conv<pads=[1, 1, 1, 1], strides=[2, 2]>(moved, w1)
        r1 = Relu(c1)
        c2 = Conv<pads=[1, 1, 1, 1], strides=[2, 2]>(r1, w2)
        feature = Relu(c2)
        g = GlobalAveragePool(feature)
        f = Flatten(g)
        y = MatMul(f, w3)
        }}"""
    )
    weights = {"w1": (4, 1, 3, 3), "w2": (4, 4, 3, 3), "w3": (4, 3)}
    values = {name: rng.normal(size=s).astype("f4") for name, s in weights.items()}
    for name, value in {**values, **given}.items():
        array = np.asarray(value)
        array = array if array.dtype == np.float32 else array.astype(np.int64)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    return model


def _maps(model: ModelProto, x: Array, upsampling: Any = "bicubic") -> Array:
    explainer = onnxcam.Explainer(model, upsampling=upsampling, cache=False, threads=1)
    return explainer(x[None, None], 1).map


@pytest.mark.parametrize("upsampling", ["bicubic", "nearest"])
@pytest.mark.parametrize(("name", "shape"), SHAPES)
def test_a_map_is_put_back(name: str, shape: str, upsampling: Any) -> None:
    move = MOVES[name]
    x = np.random.default_rng(3).normal(size=SIZE).astype("f4")
    model = _model(move.text, move.given, shape, move.opset)
    got = _maps(model, x, upsampling)
    core = _model("moved = Identity(x)", {}, "n, 1, h, w")
    want = move.put(_maps(core, np.ascontiguousarray(move.done(x)), upsampling))
    assert want.any(), "the oracle says nothing"
    np.testing.assert_allclose(got, want, atol=2e-6 * np.abs(want).max())
    converted = onnxcam.convert(model, upsampling=upsampling, target=1)
    feeds = {"x": x[None, None]}
    (inside,) = Session(converted.explained.model).run(feeds, ["onnxcam.map"])
    np.testing.assert_allclose(inside[0, 0], want, atol=2e-5 * np.abs(want).max())


def _area(text: str, given: Mapping[str, Any], shape: str = "1, 1, 64, 48") -> Any:
    """Return where the cells of ``moved`` or of a layer behind it lie."""
    layers = catalog(load(_model(text, given, shape, 18)))
    return next(c.area for c in layers.candidates if c.name == "feature")


W33 = np.ones((1, 1, 3, 3), "f4")
EVEN = {
    "nothing": ("moved = Identity(x)", {}),
    "SAME": ("moved = Conv<auto_pad=\"SAME_LOWER\", strides=[2, 2]>(x, k)", {"k": W33}),
    "Pad before a stride, as Keras writes it": (
        "wide = Pad(x, pads) moved = Conv<strides=[2, 2]>(wide, k)",
        {"pads": [0, 0, 0, 0, 0, 0, 1, 1], "k": W33},
    ),
    "causal by Pad": (
        "wide = Pad(x, pads) moved = Conv<dilations=[8, 8]>(wide, k)",
        {"pads": [0, 0, 16, 16, 0, 0, 0, 0], "k": W33},
    ),
    "causal by crop": (
        "wide = Conv<pads=[16, 16, 16, 16], dilations=[8, 8]>(x, k)"
        "moved = Slice(wide, starts, ends, axes)",
        {"k": W33, "starts": [0, 0], "ends": [-16, -16], "axes": [2, 3]},
    ),
    "deconvolution and crop": (
        "few = MaxPool<kernel_shape=[2, 2], strides=[2, 2]>(x)"
        "wide = ConvTranspose<strides=[2, 2]>(few, k) moved = Slice(wide, starts, ends, axes)",
        {"k": W33, "starts": [0, 0], "ends": [-1, -1], "axes": [2, 3]},
    ),
    "pads that are taken off again": (
        "wide = Pad(x, pads) turned = Relu(wide) moved = Slice(turned, starts, ends, axes)",
        {"pads": [0, 0, 0, 0, 0, 0, 6, 8], "starts": [0, 0], "ends": [64, 48], "axes": [2, 3]},
    ),
    "flipped twice": (
        "one = Slice(x, starts, ends, axes, steps) moved = Slice(one, starts, ends, axes, steps)",
        FLIP,
    ),
    "pixels into channels by slices": (
        "a = Slice(x, zero, ends, axes, steps) b = Slice(x, one, ends, axes, steps)"
        "both = Concat<axis=1>(a, b) moved = Conv(both, k)",
        {"zero": [0], "one": [1], "ends": [END], "axes": [2], "steps": [2],
         "k": np.ones((1, 2, 1, 1), "f4")},
    ),
    "a shortcut past a warp": (
        "warped = GridSample(x, grid) moved = Add(x, warped)",
        {"grid": np.zeros((1, 64, 48, 2), "f4")},
    ),
    "decoder": (
        "few = Conv<pads=[1, 1, 1, 1], strides=[2, 2]>(x, k)"
        "less = Conv<pads=[1, 1, 1, 1], strides=[2, 2]>(few, k)"
        "wide = Resize<mode=\"linear\", coordinate_transformation_mode=\"align_corners\">"
        "(less, , scales) both = Concat<axis=1>(few, wide) moved = Conv(both, q)",
        {"k": W33, "scales": np.array([1, 1, 2, 2], "f4"), "q": np.ones((1, 2, 1, 1), "f4")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", ["1, 1, 64, 48", "n, 1, h, w"], ids=["fixed", "dynamic"])
@pytest.mark.parametrize("name", EVEN)
def test_cells_stay_even_shares(name: str, shape: str) -> None:
    if "h" in shape and name in ("pads that are taken off again", "a shortcut past a warp"):
        pytest.skip("its numbers are of one size")
    assert _area(*EVEN[name], shape) is None


UNSURE = {
    "a crop that is computed": (
        "flat = ReduceMax<keepdims=0>(x) one = Cast<to=7>(flat) start = Unsqueeze(one, zero)"
        "end = Add(start, many) moved = Slice(x, start, end, axes)",
        {"zero": [0], "many": [32], "axes": [2]},
    ),
    "a warp": (
        "pooled = GlobalAveragePool(x) theta = Mul(pooled, grid) moved = GridSample(x, theta)",
        {"grid": np.zeros((1, 64, 48, 2), "f4")},
    ),
    "a picture and its mirror image": (
        "turned = Slice(x, starts, ends, axes, steps) moved = Add(x, turned)",
        FLIP,
    ),
    "an order of its own": (
        "moved = Gather<axis=2>(x, places)",
        {"places": [*range(32, 64), *range(32)]},
    ),
    "a crop to a multiple": (
        "shape = Shape(x) height = Slice(shape, two, three) left = Mod(height, seven)"
        "end = Sub(height, left) moved = Slice(x, zero, end, two)",
        {"zero": [0], "two": [2], "three": [3], "seven": [7]},
    ),
    "tiles": ("moved = Tile(x, repeats)", {"repeats": [1, 1, 2, 1]}),
}


@pytest.mark.parametrize("name", UNSURE)
def test_a_place_that_cannot_be_told_is_said(name: str) -> None:
    shape = "n, 1, h, w" if "multiple" in name else "1, 1, 64, 48"
    area = _area(*UNSURE[name], shape)
    assert area is not None
    assert area.doubt
    assert not area.reaches


def test_the_figure_and_the_conversion_warn() -> None:
    model = _model(*UNSURE["a picture and its mirror image"], "1, 1, 24, 20")
    x = np.random.default_rng(0).normal(size=(1, 1, 24, 20)).astype("f4")
    found = onnxcam.Explainer(model, cache=False)(x)
    assert any("cannot be told: Add" in text for text in found.diagnosis)
    assert any("cannot be told: Add" in text for text in onnxcam.convert(model).warnings)


def test_windows_without_padding_lie_at_their_centres() -> None:
    """Three 7 x 7 windows of stride 2 lose 10 of 24 cells' worth at each side."""
    text = (
        "a = Conv<strides=[2, 2]>(x, k) b = Conv<strides=[2, 2]>(a, k)"
        "moved = MaxPool<kernel_shape=[7, 7], strides=[1, 1]>(b)"
    )
    area = _area(text, {"k": np.ones((1, 1, 7, 7), "f4")}, "1, 1, 64, 64")
    # In samples: centre of the first 3, 3 + 2 * 3, 9 + 4 * 3 = 21; then two padded strides, 16.
    rows = area.spans((64, 64))[0]
    assert (rows.first, rows.begin, rows.end) == (21.5 - 2, 0, 64)


def test_the_overlay_is_bare_outside_a_crop() -> None:
    model = _model(MOVES["crop"].text, CROP, "n, 1, 24, 20")
    x = np.random.default_rng(3).uniform(size=(1, 1, 24, 20)).astype("f4")
    spec = InputSpec(layout="NCHW", channels="GRAY", scale=1 / 255, size=SIZE)
    made = onnxcam.convert(model, overlay=True, preprocess=spec, target=1)
    (drawn,) = Session(made.explained.model).run({"x": x}, ["onnxcam.overlay"])
    plain = drawn[0, 0].astype(int)
    coloured = (plain.max(-1) - plain.min(-1)) > 24
    # The lowest colour of the scale lies over all that the map does not reach.
    assert (plain[:4] - plain[:4, :, :1] == (plain[0, 0] - plain[0, 0, :1])).mean() > 0.2
    assert coloured[4:16, 6:].any()


def test_what_is_said_of_the_place() -> None:
    model = _model(MOVES["crop"].text, CROP, "n, 1, 24, 20")
    x = np.random.default_rng(3).normal(size=(1, 1, 24, 20)).astype("f4")
    found = onnxcam.Explainer(model, cache=False)(x)
    assert found.laid == "rows 4 to 16 of 24, columns 6 to 20 of 20"
    assert found.as_dict()["map"]["laid"] == found.laid


def test_a_second_start_knows_it() -> None:
    model = load(_model(MOVES["quarter turn"].text, FLIP, "n, 1, h, w"))
    written = record.written(model, None)
    again = load(_model(MOVES["quarter turn"].text, FLIP, "n, 1, h, w"))
    assert record.read(again, None, written)
    assert catalog(again) == catalog(model)
