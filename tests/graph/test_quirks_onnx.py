"""Quirks of onnx: its shape inference, converter, evaluator and inliner; see test_quirks.py."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import onnx
import onnx.inliner
import onnx.version_converter
from onnx import ModelProto
from support.quirk_probes import model_of, needed, truth

from onnxcam.graph import quirks


def _inferred(model: ModelProto, name: str) -> list[int | str] | None:
    """Return a shape as onnx infers it, None where it knows no rank."""
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    found = [v.type.tensor_type for v in (*graph.value_info, *graph.output) if v.name == name]
    if not found or not found[0].HasField("shape"):
        return None
    return [d.dim_value if d.HasField("dim_value") else d.dim_param for d in found[0].shape.dim]


def test_stft_sides() -> None:
    model = model_of("""(float[2,11,1] x) => (float[2,A,B,2] y)
      <int64 s = {3}, float[4] w = {1, 2, 2, 1}> { t = STFT (x, s, w) y = Exp (t) }""")
    needed(quirks.STFT_SIDES, _inferred(model, "t") != [2, 3, 3, 2])


def test_attention_size() -> None:
    model = model_of("""(float[B,S,H] q, float[B,T,H] k, float[B,T,H] v) => (float[B,S,G] z) {
        y = Attention <q_num_heads = 2, kv_num_heads = 2> (q, k, v) z = Exp (y)
    }""", opset=23, ir=10)  # fmt: skip
    needed(quirks.ATTENTION_SIZE, 0 in (_inferred(model, "y") or []))


def test_large_slopes() -> None:
    model = model_of("""(float[2,1] x) => (float[A,B] y) <float[2,3] s = {1, 2, 3, 4, 5, 6}> {
        p = PRelu (x, s) y = Exp (p)
    }""")
    needed(quirks.LARGE_SLOPES, _inferred(model, "p") != [2, 3])


def test_shrinking_conv_transpose() -> None:
    model = model_of("""(float[1,1,5] x) => (float[1,1,3] z) <float[1,1,2] w = {1, 2}> {
        y = ConvTranspose <output_shape = [3]> (x, w) z = Exp (y)
    }""")
    needed(quirks.SHRINKING_CONV_TRANSPOSE, _inferred(model, "y") != [1, 1, 3])


def test_open_shapes() -> None:
    model = model_of("""(float[2,4,3] x) => (float[A,B,C] z) <float[4] s = {1, 2, 3, 4}> {
        g = GroupNormalization <num_groups = 2> (x, s, s)
        m = MeanVarianceNormalization <axes = [2]> (x) z = Add (g, m)
    }""", opset=21, ir=10)  # fmt: skip
    found = [_inferred(model, name) for name in "gm"]
    needed(quirks.OPEN_SHAPES, None in found)


def test_open_ranks() -> None:
    text = "(float[6] x, int64[2] s) => (float[A,B] z) { y = Reshape (x, s) z = Exp (y) }"
    needed(quirks.OPEN_RANKS, _inferred(model_of(text, opset=13), "y") is None)


def _converted(text: str, opset: int, ir: int) -> ModelProto:
    return onnx.version_converter.convert_version(model_of(text, opset, ir), 20)


def test_converted_names() -> None:
    upsample = """(float[1,1,2,2] x) => (float[1,1,4,4] z) <float[4] s = {1, 1, 2, 2}> {
        y = Upsample <mode = "nearest"> (x, s) z = Relu (y)
    }"""
    outputs = [name for n in _converted(upsample, 9, 4).graph.node for name in n.output]
    needed(quirks.CONVERTED_NAMES, "y" not in outputs)


def test_added_names() -> None:
    branch = '{0} () => (float[4] {0}) {{ {0} = Pad <mode = "edge", pads = [0, 1]> (x) }}'
    text = f"""(float[3] x, bool c) => (float[4] y) {{
        y = If (c) <then_branch = {branch.format("a")}, else_branch = {branch.format("b")}>
    }}"""
    (node,) = _converted(text, 10, 6).graph.node
    made = [n.output[0] for a in node.attribute for n in a.g.node]
    made += [t.name for a in node.attribute for t in a.g.initializer]
    assert len(made) > 2, "what is added has a name"
    needed(quirks.ADDED_NAMES, len(set(made)) < len(made))


def test_listed_weights() -> None:
    text = "(float[3] x) => (float[3] y) <float[3] w = {1, 2, 3}> { y = Add (x, w) }"
    try:
        _converted(text, 8, 3)
        refused = False
    except (RuntimeError, onnx.version_converter.ConvertError, IndexError):
        refused = True
    needed(quirks.LISTED_WEIGHTS, refused)


def test_evaluated_depth() -> None:
    model = model_of("""(int64[2] i) => (float[2,3] y) <int64[1] d = {3}, float[2] v = {0, 1}> {
        y = OneHot (i, d, v)
    }""")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # all that NumPy below 2.4 does
            (y,) = truth(model, {"i": np.array([0, 2])})
        right = y.shape == (2, 3)
    except (TypeError, ValueError, DeprecationWarning):
        right = False
    needed(quirks.EVALUATED_DEPTH, not right)


def test_inlined_omissions() -> None:
    model = model_of("(float[2,3] x) => (float[2,3] y) <float m = {1}> { y = Clip (x, , m) }")
    try:
        onnx.inliner.inline_selected_functions(model, [("", "Clip")], False, True)
        fails = False
    except RuntimeError:
        fails = True
    needed(quirks.INLINED_OMISSIONS, fails)


def test_negative_slice() -> None:
    """Apart from this process, which it would end."""
    code = """if True:
        import onnx
        onnx.shape_inference.infer_shapes(onnx.parser.parse_model('''
            <ir_version: 8, opset_import: ["": 17]>
            g (float[1,1,3] x) => (float[A,B,C] y)
              <float[1,1,9] w, int64[1] s = {1}, int64[1] e = {2}, int64[1] a = {2}> {
                c = Conv (x, w) y = Slice (c, s, e, a)
            }'''))"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    needed(quirks.NEGATIVE_SLICE, ended.returncode < 0)
