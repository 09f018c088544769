"""Every quirk is still one: its fault shows in the product at hand, else the quirk may go.

Here the quirks of runtimes, and the list; those of onnx are in test_quirks_onnx.py.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from support.quirk_probes import Array, far, model_of, needed, normal, run_alone, seconds, truth

import onnxcam
from onnxcam.graph import quirks

PACKAGE = Path(onnxcam.__file__).parent

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
    assert isinstance(run_alone(tmp_path, model_of(copied), feeds), dict)
    needed(quirks.CAPTURED_DEQUANTIZE, "died" in run_alone(tmp_path, model_of(text), feeds))


def test_empty_expand(tmp_path: Path) -> None:
    model = model_of("""(float[2,1,4] x) => (float[2,0,4] y) <int64[3] s = {2,0,4}> {
        h = Exp (x) e = Expand (h, s) y = Neg (e)
    }""")
    got = run_alone(tmp_path, model, {"x": normal(2, 1, 4)})
    assert isinstance(got, dict)
    needed(quirks.EMPTY_EXPAND, got["y"].shape != (2, 0, 4))


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
    feeds = {"a": normal(2, 3, 4), "b": normal(2, 3, 4)}
    assert isinstance(run_alone(tmp_path, _normed(["s", "g"], ["y"]), feeds), dict)
    got = run_alone(tmp_path, _normed(["s", "g", ""], ["y"]), feeds)
    needed(quirks.EMPTY_BIAS, isinstance(got, str) and "died" in got)


def test_norm_without_bias(tmp_path: Path) -> None:
    feeds = {"a": normal(2, 3, 4), "b": normal(2, 3, 4)}
    plain = _normed(["s", "g"], ["y"])
    assert isinstance(run_alone(tmp_path, plain, feeds, "ort-oldest"), dict)
    got = run_alone(tmp_path, _normed(["s", "g"], ["z", "m", "r"]), feeds, "ort-oldest")
    needed(quirks.NORM_WITHOUT_BIAS, isinstance(got, str) and "died" in got)


def test_bfloat16_size(tmp_path: Path) -> None:
    model = model_of("(float[2,3] x) => (int64 y) { b = Cast <to = 16> (x) y = Size (b) }")
    got = run_alone(tmp_path, model, {"x": normal(2, 3)})
    needed(quirks.BFLOAT16_SIZE, "Size" in got)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16])
def test_half_scatter(tmp_path: Path, kind: int) -> None:
    model = model_of(f"""(float[2,3] x, int64[2,3] i) => (float[2,3] y) {{
        b = Cast <to = {kind}> (x)
        s = ScatterElements <axis = 0, reduction = "add"> (b, i, b)
        y = Cast <to = 1> (s)
    }}""")
    got = run_alone(tmp_path, model, {"x": normal(2, 3), "i": np.zeros((2, 3), np.int64)})
    needed(quirks.HALF_SCATTER, "not supported" in got)


def test_half_rounding(tmp_path: Path) -> None:
    """x^2 is the larger of x and x^2 for all of these, but few are equal to it."""
    model = model_of("""(float16[64] x) => (bool[64] y) {
        s = Mul (x, x) m = Max (s, x)
        a = Cast <to = 1> (s) b = Cast <to = 1> (m) y = Equal (a, b)
    }""")
    got = run_alone(tmp_path, model, {"x": np.linspace(2, 3, 64).astype(np.float16)})
    assert isinstance(got, dict)
    needed(quirks.HALF_ROUNDING, not got["y"].all())


def test_copied_axis(tmp_path: Path) -> None:
    model = model_of("""(float[1,1,1,6] x) => (float[A,B,C,D] y) <float[4] s = {1, 1, 1, 1.1}> {
        y = Resize <mode = "linear"> (x, , s)
    }""")
    feeds = {"x": normal(1, 1, 1, 6)}
    got = run_alone(tmp_path, model, feeds)
    assert isinstance(got, dict)
    assert far(feeds["x"], truth(model, feeds)[0])
    needed(quirks.COPIED_AXIS, np.array_equal(got["y"], feeds["x"]))


def test_double_resize(tmp_path: Path) -> None:
    model = model_of("""(double[1,1,2,2] x) => (double[A,B,C,D] y) <float[4] s = {1, 1, 2, 2}> {
        y = Resize <mode = "nearest"> (x, , s)
    }""")
    got = run_alone(tmp_path, model, {"x": normal(1, 1, 2, 2).astype(np.float64)})
    needed(quirks.DOUBLE_RESIZE, "Resize" in got)


def test_signed_without_zero(tmp_path: Path) -> None:
    model = model_of("""(int8[6] q) => (float[2,3] y) <float s = {1}, int64[2] k = {2, 3}> {
        d = DequantizeLinear (q, s) y = Reshape (d, k)
    }""")
    q = np.arange(-3, 3, dtype=np.int8)
    got = run_alone(tmp_path, model, {"q": q})
    assert isinstance(got, dict)
    needed(quirks.SIGNED_WITHOUT_ZERO, far(got["y"].ravel(), q))


def test_unpooled_shape(tmp_path: Path) -> None:
    model = model_of("""(float[1,1,2,2] x) => (float[1,1,5,5] y)
      <int64[1,1,2,2] i = {5, 7, 13, 15}, int64[4] s = {1, 1, 5, 5}> {
        y = MaxUnpool <kernel_shape = [2, 2], strides = [2, 2]> (x, i, s)
    }""")
    feeds = {"x": np.arange(1, 5, dtype=np.float32).reshape(1, 1, 2, 2)}
    got = run_alone(tmp_path, model, feeds)
    assert isinstance(got, dict)
    needed(quirks.UNPOOLED_SHAPE, far(got["y"], truth(model, feeds)[0]))


def test_padded_pools(tmp_path: Path) -> None:
    """The third window would begin behind the input; torch has two as well."""
    model = model_of("""(float[1,1,3] x) => (float[A,B,C] y) {
        y = MaxPool <ceil_mode = 1, kernel_shape = [2], strides = [2], pads = [1, 1]> (x)
    }""")
    got = run_alone(tmp_path, model, {"x": normal(1, 1, 3)})
    inferred = onnx.shape_inference.infer_shapes(model).graph.output[0].type.tensor_type.shape
    assert isinstance(got, dict)
    needed(quirks.PADDED_POOLS, tuple(d.dim_value for d in inferred.dim) != got["y"].shape)


QUANTISED = """(uint8[1,2,4,4] x, float[2,2,1,1] w) => (uint8[1,2,4,4] y{more})
  <float s = {{0.1}}, uint8 z = {{128}}, int8 n = {{0}}, float t = {{0.1}}> {{
    v = QuantizeLinear (w, t, n) k = DequantizeLinear (v, t, n)
    a = DequantizeLinear (x, s, z) c = Conv (a, k) y = QuantizeLinear (c, s, z)
    {rest}
}}"""


def _fused(folder: Path, more: str, rest: str) -> bool:
    """Tell whether the convolution runs on integers, with another one behind it."""
    model = model_of(QUANTISED.format(more=more, rest=rest))
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(folder / "optimised.onnx").graph.node
    return any(node.op_type == "QLinearConv" for node in nodes)


def test_shared_reals(tmp_path: Path) -> None:
    more = ", float[1,2,4,4] o"
    assert _fused(tmp_path, "", "")
    assert _fused(tmp_path, more, "d = Conv (a, k) o = Sin (d)")  # of a copy
    needed(quirks.SHARED_REALS, not _fused(tmp_path, more, "o = Sin (c)"))


@pytest.mark.parametrize("move", ["Reshape (d, k)", "Transpose (d)", "Unsqueeze (d, i)"])
def test_moved_int8(move: str, tmp_path: Path) -> None:
    text = f"""(int8[2,3] q) => (float y)
      <float s = {{0.5}}, int8 z = {{1}}, int64[2] k = {{3, 2}}, int64[1] i = {{0}}> {{
        d = DequantizeLinear (q, s, z) y = {move}
    }}"""
    feeds = {"q": np.arange(-3, 3, dtype=np.int8).reshape(2, 3)}
    copied = model_of(text.replace("(d", "(e").replace(") y =", ") e = Sum (d) y ="), 21, 10)
    copied.graph.output[0].type.Clear()
    model = model_of(text, 21, 10)
    model.graph.output[0].type.Clear()
    assert isinstance(run_alone(tmp_path, copied, feeds), dict)
    needed(quirks.MOVED_INT8, "TypeInferenceError" in run_alone(tmp_path, model, feeds))


def test_dilated_pools(tmp_path: Path) -> None:
    model = model_of("""(float[1,1,6] x) => (float[A,B,C] y) {
        y = MaxPool <auto_pad = "SAME_UPPER", kernel_shape = [3], dilations = [2]> (x)
    }""")
    got = run_alone(tmp_path, model, {"x": normal(1, 1, 6)})
    assert isinstance(got, dict)
    needed(quirks.DILATED_POOLS, got["y"].shape != (1, 1, 6))


def test_slow_cubic() -> None:
    resize = model_of("""(float[1,4,7,7] x) => (float[A,B,C,D] y) <int64[4] s = {1, 4, 224, 224}> {
        y = Resize <mode = "cubic"> (x, , , s)
    }""")
    products = model_of("""(float[1,4,7,7] x, float[S,7] a, float[7,S] b) => (float[1,4,S,S] y) {
        h = MatMul (a, x) y = MatMul (h, b)
    }""")
    x = {"x": normal(1, 4, 7, 7)}
    matrices = {"a": normal(224, 7), "b": normal(7, 224)}
    needed(quirks.SLOW_CUBIC, seconds(resize, x) > 20 * seconds(products, x | matrices))


def test_slow_last_axis() -> None:
    model = model_of("(float[1,A,B,C] x, float[D,E,F] a) => (float[1,A,B,C] y) { y = Mul (x, a) }")
    last, first = (
        seconds(model, {"x": normal(1, *shape), "a": normal(*few)}, 10)
        for shape, few in (((400, 400, 3), (1, 1, 3)), ((3, 400, 400), (3, 1, 1)))
    )
    needed(quirks.SLOW_LAST_AXIS, last > 4 * first)


def test_slow_indices() -> None:
    text = """(float[1,32,112,112] x) => (float[A,B,C,D] y{}) {{
        y{} = MaxPool <kernel_shape = [3, 3], strides = [2, 2]> (x)
    }}"""
    values = model_of(text.format("", ""))
    both = model_of(text.format(", int64[A,B,C,D] i", ", i"))
    x = {"x": normal(1, 32, 112, 112)}
    needed(quirks.SLOW_INDICES, seconds(both, x) > 3 * seconds(values, x))


# ---- OpenVINO


def test_empty_gemm(tmp_path: Path) -> None:
    model = model_of("(float[2,2] a, float[2,2] b) => (float[2,2] y) { y = Gemm (a, b) }")
    feeds = {"a": normal(2, 2), "b": normal(2, 2)}
    assert isinstance(run_alone(tmp_path, model, feeds, "openvino"), dict)
    model.graph.node[0].input.append("")
    needed(quirks.EMPTY_GEMM, isinstance(run_alone(tmp_path, model, feeds, "openvino"), str))


def _weighted(text: str, weight: Array) -> ModelProto:
    model = model_of(text)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    return model


def test_packed_square(tmp_path: Path) -> None:
    model = _weighted("""(float[5,16] x) => (float[5,16] y) {
        h = MatMul (x, w) r = Relu (h) t = Transpose <perm = [1, 0]> (w) y = MatMul (r, t)
    }""", normal(16, 16))  # fmt: skip
    feeds = {"x": normal(5, 16)}
    got = run_alone(tmp_path, model, feeds, "openvino")
    assert isinstance(got, dict)
    needed(quirks.PACKED_SQUARE, far(got["y"], truth(model, feeds)[0]))


def test_packed_kernel(tmp_path: Path) -> None:
    model = _weighted("""(float[1,8,9,9] x) => (float[1,8,9,9] y) {
        h = Conv <strides = [2, 2]> (x, w) r = Relu (h)
        y = ConvTranspose <strides = [2, 2]> (r, w)
    }""", normal(8, 8, 3, 3))  # fmt: skip
    feeds = {"x": normal(1, 8, 9, 9)}
    got = run_alone(tmp_path, model, feeds, "openvino")
    assert isinstance(got, dict)
    needed(quirks.PACKED_KERNEL, far(got["y"], truth(model, feeds)[0]))


# ---- the list


def test_every_quirk_is_worked_around_and_has_a_test() -> None:
    sources = "".join(p.read_text() for p in PACKAGE.rglob("*.py") if p.name != "quirks.py")
    used = set(re.findall(r"\bquirks\.([A-Z_0-9]+)", sources))
    names = [quirk.name for quirk in quirks.listed()]
    assert sorted(used) == sorted(names)
    assert all(getattr(quirks, name).name == name for name in names)
    here = "".join(p.read_text() for p in Path(__file__).parent.glob("test_quirks*.py"))
    tests = set(re.findall(r"^def (test_\w+)", here, re.MULTILINE))
    assert {f"test_{name.lower()}" for name in names} <= tests
