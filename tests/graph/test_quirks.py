"""Every quirk is still one: its fault shows in the product at hand, else the quirk may go."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnx.version_converter
import pytest
from bench import runtimes
from onnx import ModelProto, TensorProto, helper, numpy_helper, parser
from onnx.reference import ReferenceEvaluator

import onnxcam
from onnxcam.errors import UsageError
from onnxcam.graph import quirks
from onnxcam.run.session import Session

PACKAGE = Path(onnxcam.__file__).parent
RNG = np.random.default_rng(0)
Arrays = Mapping[str, np.ndarray[Any, Any]]


def _model(text: str, opset: int = 20, ir: int = 9) -> ModelProto:
    return parser.parse_model(f'<ir_version: {ir}, opset_import: ["": {opset}]>\ng {text}')


def _normal(*shape: int) -> np.ndarray[Any, Any]:
    return RNG.standard_normal(shape).astype(np.float32)


def _run(
    folder: Path, model: ModelProto, feeds: Arrays, runtime: str = "onnxruntime"
) -> dict[str, np.ndarray[Any, Any]] | str:
    """Run a model in a process of its own; returns its outputs, or what went wrong."""
    try:
        runtimes.interpreter(runtime)
    except UsageError as error:
        if os.environ.get("ONNXCAM_REQUIRE_RUNTIMES"):
            raise
        pytest.skip(str(error))
    onnx.save(model, folder / "model.onnx")
    np.savez(folder / "feeds.npz", **feeds)  # type: ignore[arg-type]
    job = {"model": str(folder / "model.onnx"), "feeds": str(folder / "feeds.npz"),
           "result": str(folder / "result.npz")}  # fmt: skip
    try:
        (answer,) = runtimes.run(runtime, [job])
    except RuntimeError as error:
        return f"died: {error}"
    return str(answer["error"]) or dict(np.load(job["result"]))


def _needed(quirk: quirks.Quirk, shows: object) -> None:
    assert shows, f"{quirk.product} no longer needs {quirk.name}: the quirk may go ({quirk.fault})"


def _truth(model: ModelProto, feeds: Arrays) -> list[Any]:
    return list(ReferenceEvaluator(model).run(None, dict(feeds)))


def _far(a: Any, b: Any) -> bool:
    return a.shape != b.shape or not np.allclose(a, b, rtol=1e-3, atol=1e-3)


def _seconds(model: ModelProto, feeds: Arrays, runs: int = 5) -> float:
    session = Session(model, device="cpu", threads=1)
    times = []
    for _ in range(runs):
        before = process_time()
        session.run(feeds)
        times.append(process_time() - before)
    return min(times)


# ---- ONNX Runtime


def test_captured_dequantize(tmp_path: Path) -> None:
    text = """(uint8[2,3] q, bool c) => (float[3,2] y)
      <float s = {1}, uint8 z = {3}, int64[2] k = {3, 2}> {
        d = DequantizeLinear (q, s, z)
        r = Reshape (d, k)
        y = If (c) <then_branch = a () => (float[3,2] t) { t = Relu (r) },
                    else_branch = b () => (float[3,2] e) { e = Neg (r) }>
      }"""
    feeds = {"q": np.arange(6, dtype=np.uint8).reshape(2, 3), "c": np.array(True)}
    copied = text.replace("r = Reshape (d, k)", "v = Reshape (d, k) r = Sum (v)")
    assert isinstance(_run(tmp_path, _model(copied), feeds), dict)
    _needed(quirks.CAPTURED_DEQUANTIZE, "died" in _run(tmp_path, _model(text), feeds))


def test_empty_expand(tmp_path: Path) -> None:
    model = _model("""(float[2,1,4] x) => (float[2,0,4] y) <int64[3] s = {2,0,4}> {
        h = Exp (x) e = Expand (h, s) y = Neg (e)
    }""")
    got = _run(tmp_path, model, {"x": _normal(2, 1, 4)})
    assert isinstance(got, dict)
    _needed(quirks.EMPTY_EXPAND, got["y"].shape != (2, 0, 4))


def _normed(inputs: list[str], outputs: list[str]) -> ModelProto:
    """Return y = norm(relu(a) + b), or its product with 1 / deviation."""
    nodes = [
        helper.make_node("Relu", ["a"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["s"]),
        helper.make_node("LayerNormalization", inputs, outputs, axis=-1),
    ]
    if len(outputs) == 3:
        nodes.append(helper.make_node("Mul", [outputs[0], outputs[2]], ["y"]))
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 3, 4]) for n in "aby"]
    scale = numpy_helper.from_array(np.ones(4, np.float32), "g")
    graph = helper.make_graph(nodes, "g", infos[:2], infos[2:], [scale])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def test_empty_bias(tmp_path: Path) -> None:
    feeds = {"a": _normal(2, 3, 4), "b": _normal(2, 3, 4)}
    assert isinstance(_run(tmp_path, _normed(["s", "g"], ["y"]), feeds), dict)
    got = _run(tmp_path, _normed(["s", "g", ""], ["y"]), feeds)
    _needed(quirks.EMPTY_BIAS, isinstance(got, str) and "died" in got)


def test_norm_without_bias(tmp_path: Path) -> None:
    feeds = {"a": _normal(2, 3, 4), "b": _normal(2, 3, 4)}
    got = _run(tmp_path, _normed(["s", "g"], ["z", "m", "r"]), feeds, "ort-oldest")
    _needed(quirks.NORM_WITHOUT_BIAS, isinstance(got, str) and "died" in got)


def test_bfloat16_size(tmp_path: Path) -> None:
    model = _model("(float[2,3] x) => (int64 y) { b = Cast <to = 16> (x) y = Size (b) }")
    got = _run(tmp_path, model, {"x": _normal(2, 3)})
    _needed(quirks.BFLOAT16_SIZE, "Size" in got)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16])
def test_half_scatter(tmp_path: Path, kind: int) -> None:
    model = _model(f"""(float[2,3] x, int64[2,3] i) => (float[2,3] y) {{
        b = Cast <to = {kind}> (x)
        s = ScatterElements <axis = 0, reduction = "add"> (b, i, b)
        y = Cast <to = 1> (s)
    }}""")
    got = _run(tmp_path, model, {"x": _normal(2, 3), "i": np.zeros((2, 3), np.int64)})
    _needed(quirks.HALF_SCATTER, "not supported" in got)


def test_half_rounding(tmp_path: Path) -> None:
    """x^2 is the larger of x and x^2 for all of these, but few are equal to it."""
    model = _model("""(float16[64] x) => (bool[64] y) {
        s = Mul (x, x) m = Max (s, x)
        a = Cast <to = 1> (s) b = Cast <to = 1> (m) y = Equal (a, b)
    }""")
    got = _run(tmp_path, model, {"x": np.linspace(2, 3, 64).astype(np.float16)})
    assert isinstance(got, dict)
    _needed(quirks.HALF_ROUNDING, not got["y"].all())


def test_copied_axis(tmp_path: Path) -> None:
    model = _model("""(float[1,1,1,6] x) => (float[A,B,C,D] y) <float[4] s = {1, 1, 1, 1.1}> {
        y = Resize <mode = "linear"> (x, , s)
    }""")
    feeds = {"x": _normal(1, 1, 1, 6)}
    got = _run(tmp_path, model, feeds)
    assert isinstance(got, dict)
    assert _far(feeds["x"], _truth(model, feeds)[0])
    _needed(quirks.COPIED_AXIS, np.array_equal(got["y"], feeds["x"]))


def test_double_resize(tmp_path: Path) -> None:
    model = _model("""(double[1,1,2,2] x) => (double[A,B,C,D] y) <float[4] s = {1, 1, 2, 2}> {
        y = Resize <mode = "nearest"> (x, , s)
    }""")
    got = _run(tmp_path, model, {"x": _normal(1, 1, 2, 2).astype(np.float64)})
    _needed(quirks.DOUBLE_RESIZE, "Resize" in got)


def test_signed_without_zero(tmp_path: Path) -> None:
    model = _model("""(int8[6] q) => (float[2,3] y) <float s = {1}, int64[2] k = {2, 3}> {
        d = DequantizeLinear (q, s) y = Reshape (d, k)
    }""")
    q = np.arange(-3, 3, dtype=np.int8)
    got = _run(tmp_path, model, {"q": q})
    assert isinstance(got, dict)
    _needed(quirks.SIGNED_WITHOUT_ZERO, _far(got["y"].ravel(), q))


def test_unpooled_shape(tmp_path: Path) -> None:
    model = _model("""(float[1,1,2,2] x) => (float[1,1,5,5] y)
      <int64[1,1,2,2] i = {5, 7, 13, 15}, int64[4] s = {1, 1, 5, 5}> {
        y = MaxUnpool <kernel_shape = [2, 2], strides = [2, 2]> (x, i, s)
    }""")
    feeds = {"x": np.arange(1, 5, dtype=np.float32).reshape(1, 1, 2, 2)}
    got = _run(tmp_path, model, feeds)
    assert isinstance(got, dict)
    _needed(quirks.UNPOOLED_SHAPE, _far(got["y"], _truth(model, feeds)[0]))


def test_padded_pools(tmp_path: Path) -> None:
    """The third window would begin behind the input; torch has two as well."""
    model = _model("""(float[1,1,3] x) => (float[A,B,C] y) {
        y = MaxPool <ceil_mode = 1, kernel_shape = [2], strides = [2], pads = [1, 1]> (x)
    }""")
    got = _run(tmp_path, model, {"x": _normal(1, 1, 3)})
    inferred = onnx.shape_inference.infer_shapes(model).graph.output[0].type.tensor_type.shape
    shape = () if isinstance(got, str) else got["y"].shape
    _needed(quirks.PADDED_POOLS, tuple(d.dim_value for d in inferred.dim) != shape)


def test_slow_cubic() -> None:
    resize = _model("""(float[1,4,7,7] x) => (float[A,B,C,D] y) <int64[4] s = {1, 4, 224, 224}> {
        y = Resize <mode = "cubic"> (x, , , s)
    }""")
    products = _model("""(float[1,4,7,7] x, float[224,7] a, float[7,224] b) => (float[A,B,C,D] y) {
        h = MatMul (a, x) y = MatMul (h, b)
    }""")
    x = {"x": _normal(1, 4, 7, 7)}
    matrices = {"a": _normal(224, 7), "b": _normal(7, 224)}
    _needed(quirks.SLOW_CUBIC, _seconds(resize, x) > 20 * _seconds(products, x | matrices))


def test_slow_last_axis() -> None:
    model = _model("(float[1,A,B,C] x, float[D,E,F] a) => (float[1,A,B,C] y) { y = Mul (x, a) }")
    last, first = (
        _seconds(model, {"x": _normal(1, *shape), "a": _normal(*few)}, 10)
        for shape, few in (((400, 400, 3), (1, 1, 3)), ((3, 400, 400), (3, 1, 1)))
    )
    _needed(quirks.SLOW_LAST_AXIS, last > 4 * first)


def test_slow_indices() -> None:
    text = """(float[1,32,112,112] x) => (float[A,B,C,D] y{}) {{
        y{} = MaxPool <kernel_shape = [3, 3], strides = [2, 2]> (x)
    }}"""
    values = _model(text.format("", ""))
    both = _model(text.format(", int64[A,B,C,D] i", ", i"))
    x = {"x": _normal(1, 32, 112, 112)}
    _needed(quirks.SLOW_INDICES, _seconds(both, x) > 3 * _seconds(values, x))


# ---- onnx


def _inferred(model: ModelProto, name: str) -> list[int | str] | None:
    """Return a shape as onnx infers it, None where it knows no rank."""
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    found = [v.type.tensor_type for v in (*graph.value_info, *graph.output) if v.name == name]
    if not found or not found[0].HasField("shape"):
        return None
    return [d.dim_value if d.HasField("dim_value") else d.dim_param for d in found[0].shape.dim]


def test_stft_sides() -> None:
    model = _model("""(float[2,11,1] x) => (float[2,A,B,2] y)
      <int64 s = {3}, float[4] w = {1, 2, 2, 1}> { t = STFT (x, s, w) y = Exp (t) }""")
    _needed(quirks.STFT_SIDES, _inferred(model, "t") != [2, 3, 3, 2])


def test_attention_size() -> None:
    model = _model("""(float[B,S,H] q, float[B,T,H] k, float[B,T,H] v) => (float[B,S,G] z) {
        y = Attention <q_num_heads = 2, kv_num_heads = 2> (q, k, v) z = Exp (y)
    }""", opset=23, ir=10)  # fmt: skip
    _needed(quirks.ATTENTION_SIZE, 0 in (_inferred(model, "y") or []))


def test_open_shapes() -> None:
    model = _model("""(float[2,4,3] x) => (float[A,B,C] z) <float[4] s = {1, 2, 3, 4}> {
        g = GroupNormalization <num_groups = 2> (x, s, s)
        m = MeanVarianceNormalization <axes = [2]> (x) z = Add (g, m)
    }""", opset=21, ir=10)  # fmt: skip
    found = [_inferred(model, name) for name in "gm"]
    _needed(quirks.OPEN_SHAPES, None in found)


def test_open_ranks() -> None:
    text = "(float[6] x, int64[2] s) => (float[A,B] z) { y = Reshape (x, s) z = Exp (y) }"
    _needed(quirks.OPEN_RANKS, _inferred(_model(text, opset=13), "y") is None)


def _converted(text: str, opset: int, ir: int) -> ModelProto:
    return onnx.version_converter.convert_version(_model(text, opset, ir), 20)


def test_converted_names() -> None:
    upsample = """(float[1,1,2,2] x) => (float[1,1,4,4] z) <float[4] s = {1, 1, 2, 2}> {
        y = Upsample <mode = "nearest"> (x, s) z = Relu (y)
    }"""
    outputs = [name for n in _converted(upsample, 9, 4).graph.node for name in n.output]
    _needed(quirks.CONVERTED_NAMES, "y" not in outputs)


def test_added_names() -> None:
    branch = '{0} () => (float[4] {0}) {{ {0} = Pad <mode = "edge", pads = [0, 1]> (x) }}'
    text = f"""(float[3] x, bool c) => (float[4] y) {{
        y = If (c) <then_branch = {branch.format("a")}, else_branch = {branch.format("b")}>
    }}"""
    (node,) = _converted(text, 10, 6).graph.node
    made = [n.output[0] for a in node.attribute for n in a.g.node]
    made += [t.name for a in node.attribute for t in a.g.initializer]
    assert len(made) > 2, "what is added has a name"
    _needed(quirks.ADDED_NAMES, len(set(made)) < len(made))


def test_stray_attributes() -> None:
    text = """(float[3] x) => (float[4] y) {
        y = Pad <mode = "edge", pads = [1, 0], value = 0.4> (x)
    }"""
    names = {a.name for n in _converted(text, 7, 6).graph.node for a in n.attribute}
    _needed(quirks.STRAY_ATTRIBUTES, "value" in names)


def test_listed_weights() -> None:
    text = "(float[3] x) => (float[3] y) <float[3] w = {1, 2, 3}> { y = Add (x, w) }"
    try:
        _converted(text, 8, 3)
        refused = False
    except (RuntimeError, onnx.version_converter.ConvertError, IndexError):
        refused = True
    _needed(quirks.LISTED_WEIGHTS, refused)


def test_converted_scan() -> None:
    text = """(float[2,3] s, float[2,5,3] x) => (float[2,3] a, float[2,5,3] y) {
        a, y = Scan <num_scan_inputs = 1,
          body = b (float[3] c, float[3] d) => (float[3] e, float[3] f) {
            e = Add (c, d) f = Identity (e)
          }> (, s, x)
    }"""
    try:
        graph = _converted(text, 8, 4).graph
    except (RuntimeError, onnx.version_converter.ConvertError):  # rightly: there is no way
        ranks = [2, 3]
    else:
        ranks = [len(v.type.tensor_type.shape.dim) for v in graph.output]
    _needed(quirks.CONVERTED_SCAN, ranks != [2, 3])


def test_evaluated_depth() -> None:
    model = _model("""(int64[2] i) => (float[2,3] y) <int64[1] d = {3}, float[2] v = {0, 1}> {
        y = OneHot (i, d, v)
    }""")
    try:
        (y,) = _truth(model, {"i": np.array([0, 2])})
        right = y.shape == (2, 3)
    except (TypeError, ValueError):
        right = False
    _needed(quirks.EVALUATED_DEPTH, not right)


def test_evaluated_division() -> None:
    """It shows in one version alone, which is not the one at hand but one that may be."""
    model = _model("(int64[1] a, int64[1] b) => (int64[1] y) { y = Div (a, b) }")
    (y,) = _truth(model, {"a": np.array([-3]), "b": np.array([2])})
    needs = " ".join(metadata.requires("onnxcam") or ())
    lowest = re.search(r"\bonnx>=(\d+)\.(\d+)", needs)
    assert lowest is not None, needs
    old = tuple(map(int, lowest.groups())) <= (1, 20)
    _needed(quirks.EVALUATED_DIVISION, old or y.tolist() != [-1])


def test_inlined_omissions() -> None:
    model = _model("(float[2,3] x) => (float[2,3] y) <float m = {1}> { y = Clip (x, , m) }")
    try:
        onnx.inliner.inline_selected_functions(model, [("", "Clip")], False, True)
        fails = False
    except RuntimeError:
        fails = True
    _needed(quirks.INLINED_OMISSIONS, fails)


# ---- OpenVINO


def test_empty_gemm(tmp_path: Path) -> None:
    nodes = [helper.make_node("Gemm", ["a", "b", ""], ["y"])]
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 2]) for n in "aby"]
    graph = helper.make_graph(nodes, "g", infos[:2], infos[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    feeds = {"a": _normal(2, 2), "b": _normal(2, 2)}
    _needed(quirks.EMPTY_GEMM, isinstance(_run(tmp_path, model, feeds, "openvino"), str))


def _weighted(text: str, weight: np.ndarray[Any, Any]) -> ModelProto:
    model = _model(text)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    return model


def test_packed_square(tmp_path: Path) -> None:
    model = _weighted("""(float[5,16] x) => (float[5,16] y) {
        h = MatMul (x, w) r = Relu (h) t = Transpose <perm = [1, 0]> (w) y = MatMul (r, t)
    }""", _normal(16, 16))  # fmt: skip
    feeds = {"x": _normal(5, 16)}
    got = _run(tmp_path, model, feeds, "openvino")
    assert isinstance(got, dict)
    _needed(quirks.PACKED_SQUARE, _far(got["y"], _truth(model, feeds)[0]))


def test_packed_kernel(tmp_path: Path) -> None:
    model = _weighted("""(float[1,8,9,9] x) => (float[1,8,9,9] y) {
        h = Conv <strides = [2, 2]> (x, w) r = Relu (h)
        y = ConvTranspose <strides = [2, 2]> (r, w)
    }""", _normal(8, 8, 3, 3))  # fmt: skip
    feeds = {"x": _normal(1, 8, 9, 9)}
    got = _run(tmp_path, model, feeds, "openvino")
    assert isinstance(got, dict)
    _needed(quirks.PACKED_KERNEL, _far(got["y"], _truth(model, feeds)[0]))


# ---- the list


def test_every_quirk_is_worked_around_and_has_a_test() -> None:
    sources = "".join(p.read_text() for p in PACKAGE.rglob("*.py") if p.name != "quirks.py")
    used = set(re.findall(r"\bquirks\.([A-Z_0-9]+)", sources))
    names = [quirk.name for quirk in quirks.listed()]
    assert sorted(used) == sorted(names)
    assert all(getattr(quirks, name).name == name for name in names)
    tests = {name for name in globals() if name.startswith("test_")}
    assert {f"test_{name.lower()}" for name in names} <= tests
