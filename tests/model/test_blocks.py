"""Files that ONNX Runtime optimised and saved: the same scores and map as the file they are of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto, numpy_helper, parser

from onnxcam import Explainer, convert
from onnxcam.graph.contrib.blocked import BLOCKED, unblocked
from onnxcam.model.model import load
from onnxcam.run.session import Session

RNG = np.random.default_rng(0)
LEVELS = {
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
HEAD = "p = GlobalAveragePool (last) f = Flatten (p) y = MatMul (f, head)"
# Nodes and the shapes of their weights; the image is [N, 3, 16, 16] in all.
NETS: dict[str, tuple[str, dict[str, tuple[int, ...]]]] = {
    "plain": (
        "a = Conv <pads=[1,1,1,1]> (x, w, b) c = Relu (a) "
        "d = Conv <pads=[1,1,1,1], strides=[2,2]> (c, w2) last = Relu (d)",
        {"w": (20, 3, 3, 3), "b": (20,), "w2": (36, 20, 3, 3), "head": (36, 5)},
    ),
    "residual": (
        "a = Conv <pads=[1,1,1,1]> (x, w) c = Relu (a) d = Conv <pads=[1,1,1,1]> (c, w2) "
        "e = Add (d, c) g = Relu (e) h = MaxPool <kernel_shape=[2,2], strides=[2,2]> (g) "
        "i = Conv (h, w3) j = Sigmoid (i) last = Mul (i, j)",
        {"w": (24, 3, 3, 3), "w2": (24, 24, 3, 3), "w3": (40, 24, 1, 1), "head": (40, 5)},
    ),
    "depthwise and squeezed": (
        "a = Conv (x, w) c = Clip (a, low, high) d = Conv <group=16, pads=[1,1,1,1]> (c, w2) "
        "e = Relu (d) g = GlobalAveragePool (e) h = Conv (g, w3, b3) i = Relu (h) "
        "j = Conv (i, w4) k = Sigmoid (j) l = Mul (e, k) m = Conv (l, w5) last = Relu (m)",
        {"w": (16, 3, 1, 1), "w2": (16, 1, 3, 3), "w3": (8, 16, 1, 1), "b3": (8,),
         "w4": (16, 8, 1, 1), "w5": (12, 16, 1, 1), "head": (12, 5)},
    ),
    "joined and enlarged": (
        "a = Conv <pads=[1,1,1,1]> (x, w) c = Relu (a) "
        "d = AveragePool <kernel_shape=[2,2], strides=[2,2]> (c) e = Conv (d, w2) g = Relu (e) "
        "h = Resize <mode=\"nearest\", coordinate_transformation_mode=\"asymmetric\", "
        "nearest_mode=\"floor\"> (g, , twice) i = Concat <axis=1> (h, c) "
        "j = Conv <pads=[1,1,1,1]> (i, w3) last = Relu (j)",
        {"w": (16, 3, 3, 3), "w2": (32, 16, 1, 1), "w3": (20, 48, 3, 3), "head": (20, 5)},
    ),
    "groups": (
        "a = Conv <pads=[1,1,1,1]> (x, w) c = Relu (a) d = Conv <group=2, pads=[1,1,1,1]> (c, w2) "
        "last = HardSwish (d)",
        {"w": (32, 3, 3, 3), "w2": (64, 16, 3, 3), "head": (64, 5)},
    ),
    "odd channels": (
        "a = Conv <pads=[1,1,1,1]> (x, w) s = PRelu (a, slope) d = Conv (s, w2, b2) "
        "last = Tanh (d)",
        {"w": (10, 3, 3, 3), "slope": (10, 1, 1), "w2": (7, 10, 2, 2), "b2": (7,), "head": (7, 5)},
    ),
    "normalised": (
        "a = Conv (x, w) n = BatchNormalization (a, g, h, m, v) c = Relu (n) "
        "d = Conv <strides=[2,2]> (c, w2) last = LeakyRelu <alpha=0.1> (d)",
        {"w": (20, 3, 3, 3), "g": (20,), "h": (20,), "m": (20,), "v": (20,),
         "w2": (24, 20, 3, 3), "head": (24, 5)},
    ),
}  # fmt: skip
CONSTANTS = {
    "low": np.array(0, "f4"),
    "high": np.array(6, "f4"),
    "twice": np.array([1, 1, 2, 2], "f4"),
}
X = RNG.normal(size=(2, 3, 16, 16)).astype("f4")


def _net(name: str, *, channels_last: bool = False) -> ModelProto:
    nodes, shapes = NETS[name]
    shape = "N,16,16,3" if channels_last else "N,3,16,16"
    if channels_last:
        nodes = "t = Transpose <perm=[0,3,1,2]> (x) " + nodes.replace("(x,", "(t,")
    text = f'<ir_version: 8, opset_import: ["": 17]> g (float[{shape}] x) => (float[N,5] y) '
    model = parser.parse_model(f"{text}{{ {nodes} {HEAD} }}")
    rng = np.random.default_rng(1)
    for key, size in shapes.items():
        value = rng.normal(size=size, scale=np.prod(size[1:]) ** -0.5 if len(size) > 1 else 1)
        value = abs(value) + 0.5 if key == "v" else value
        model.graph.initializer.append(numpy_helper.from_array(value.astype("f4"), key))
    for key, value in CONSTANTS.items():
        if key in nodes:
            model.graph.initializer.append(numpy_helper.from_array(value, key))
    if "HardSwish" in nodes or "nearest" in nodes:
        onnx.checker.check_model(model)
    return model


def _saved(model: ModelProto, level: str, path: Path) -> Path:
    options = ort.SessionOptions()
    options.graph_optimization_level, options.log_severity_level = LEVELS[level], 4
    options.optimized_model_filepath = str(path)
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return path


def _held_against(model: ModelProto, file: Path, x: Any) -> None:
    plain, optimised = Explainer(model, cache=False), Explainer(file, cache=False)
    for one in x[:, None]:
        want, got = plain(one), optimised(one)
        np.testing.assert_allclose(got.scores, want.scores, rtol=1e-5, atol=1e-5)
        assert got.raw_map.shape == want.raw_map.shape
        distance = np.linalg.norm(got.map - want.map) / np.linalg.norm(want.map)
        assert distance <= 1e-5


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", NETS)
def test_an_optimised_file_is_explained_as_the_one_it_is_of(
    name: str, level: str, tmp_path: Path
) -> None:
    model = _net(name)
    file = _saved(model, level, tmp_path / "m.onnx")
    _held_against(model, file, X)
    loaded = load(file)
    assert all(n.domain != BLOCKED for n in loaded.light.graph.node)
    (want,) = Session(onnx.load(file), device="cpu").run({"x": X})
    (got,) = Session(loaded, device="cpu").run({"x": X})
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    made = convert(file, check=True)
    assert made.check is not None and not made.check.problems


def test_a_file_in_blocks_of_a_picture_with_channels_last(tmp_path: Path) -> None:
    model = _net("residual", channels_last=True)
    file = _saved(model, "all", tmp_path / "m.onnx")
    assert any(n.domain == BLOCKED for n in onnx.load(file).graph.node)
    _held_against(model, file, X.transpose(0, 2, 3, 1))
    assert any("images in blocks" in note for note in load(file).notes)


@pytest.mark.parametrize("block", [8, 16])
@pytest.mark.parametrize(
    ("shape", "group"),
    [((32, 3, 3, 3), 1), ((32, 48, 3, 1), 1), ((32, 1, 3, 3), 32), ((64, 16, 2, 2), 2)],
)
def test_weights_come_out_of_their_blocks(shape: Any, group: int, block: int) -> None:
    weight = RNG.normal(size=shape).astype("f4")
    o, i, *kernel = shape
    where = np.empty(weight.size, "f4")
    places = iter(range(weight.size))
    deep = i % block == 0
    for outer in range(o // block):
        for inner in range(i // block if deep else i):
            for y, x in np.ndindex(*kernel):
                for step in range(block if deep else 1):
                    for last in range(block):
                        channel = inner * block + step if deep else inner
                        where[next(places)] = weight[outer * block + last, channel, y, x]
    np.testing.assert_array_equal(unblocked(where.reshape(shape), block, group), weight)


def _quantised() -> ModelProto:
    """A residual net whose tensors are all quantised, in the form of QuantizeLinear pairs."""
    rng = np.random.default_rng(3)
    weights: dict[str, np.ndarray[Any, Any]] = {
        "s": np.array(0.05, "f4"), "z": np.array(128, "u1"), "ws": np.array(0.01, "f4"),
        "wz": np.array(0, "i1"), "W": rng.normal(size=(16, 5)).astype("f4"),
        "w": rng.integers(-99, 99, (16, 3, 3, 3), "i1"),
        "v": rng.integers(-40, 40, (16, 16, 3, 3), "i1"),
    }  # fmt: skip

    def rounded(name: str) -> str:
        return f"{name}q = QuantizeLinear ({name}, s, z) {name}d = DequantizeLinear ({name}q, s, z)"

    nodes = f"""{rounded("x")} wd = DequantizeLinear (w, ws, wz) vd = DequantizeLinear (v, ws, wz)
        a = Conv <pads=[1,1,1,1]> (xd, wd) b = Relu (a) {rounded("b")}
        c = Conv <pads=[1,1,1,1]> (bd, vd) {rounded("c")}
        e = Add (bd, cd) {rounded("e")}
        g = AveragePool <kernel_shape=[2,2], strides=[2,2]> (ed) {rounded("g")}
        p = GlobalAveragePool (gd) {rounded("p")} f = Flatten (pd) y = MatMul (f, W)"""
    head = '<ir_version: 8, opset_import: ["": 17]> g (float[1,3,16,16] x) => (float[1,5] y)'
    model = parser.parse_model(f"{head} {{ {nodes} }}")
    model.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in weights.items())
    return model


def _channels_last(model: ModelProto) -> list[str]:
    said = [(n, a) for n in model.graph.node for a in n.attribute if a.name == "channels_last"]
    return [node.op_type for node, attribute in said if attribute.i]


def test_a_quantised_file_with_channels_last(tmp_path: Path) -> None:
    model = _quantised()
    file = _saved(model, "all", tmp_path / "m.onnx")
    if not _channels_last(onnx.load(file)):
        pytest.skip("this processor keeps channels first")
    want, got = Explainer(model, cache=False)(X[:1]), Explainer(file, cache=False)(X[:1])
    assert got.raw_map.shape == want.raw_map.shape == (8, 8)
    assert got.map.shape == (16, 16)
    np.testing.assert_allclose(got.scores, want.scores, rtol=1e-5)
    assert np.corrcoef(got.map.ravel(), want.map.ravel())[0, 1] > 0.999
    loaded = load(file)
    assert not _channels_last(loaded.light)
    assert any("channels last" in note for note in loaded.notes)
    made = convert(file)
    assert made.check is not None and not made.check.problems
