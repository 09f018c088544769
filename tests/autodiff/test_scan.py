"""Scan: axes, directions, states, and what lies around it."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
from onnx import parser
from support import reference_repairs  # noqa: F401
from support.gradcheck import check_gradient, run
from support.second_order import check_second_order

from onnxcam.autodiff import vjp_model
from onnxcam.errors import UnsupportedOp
from onnxcam.model.model import load

HEAD = '<ir_version: 10, opset_import: ["": 20]>\n'
RNG = np.random.default_rng(0)

RECURRENT = """g (float[T,2,3] x, float[3,3] w, float[2,3] h) => (float[2,3] y, float[T,2,3] z) {
    y, z = Scan <num_scan_inputs = 1, scan_input_directions = [IN], scan_output_directions = [OUT],
      body = g (float[2,3] s, float[2,3] v) => (float[2,3] r, float[2,3] o)
        { m = MatMul (s, w) a = Add (m, v) r = Sigmoid (a) o = Mul (r, s) }> (h, x)
}"""
AXES = """g (float[2,T,3] x, float[3,T] w, float[2,3] h)
    => (float[2,3] y, float[2,3,T] z, float[T,2] u) {
    y, z, u = Scan <num_scan_inputs = 2, scan_input_axes = [1, -1], scan_input_directions = [1, 0],
      scan_output_axes = [-1, 0], scan_output_directions = [0, 1],
      body = g (float[2,3] s, float[2,3] v, float[3] p)
        => (float[2,3] r, float[2,3] o, float[2] e)
        { a = Mul (s, v) r = Add (a, p) o = Mul (r, r) c = Mul (v, p)
          k = Constant <value_ints = [1]> () e = ReduceSum <keepdims = 0> (c, k) }> (h, x, w)
}"""
CASES = {
    "no state": """g (float[T,2,3] x, float[3,3] w, float[2,3] h) => (float[T,2,3] y) {
        y = Scan <num_scan_inputs = 1, body = g (float[2,3] v) => (float[2,3] o)
          { m = MatMul (v, w) p = Exp (m) o = Mul (p, h) }> (x)
    }""",
    "no slice is read": """g (float[T,2,3] x, float[3,3] w, float[2,3] h) => (float[2,3] y) {
        y = Scan <num_scan_inputs = 1, body = g (float[2,3] s, float[2,3] v) => (float[2,3] r)
          { r = MatMul (s, w) }> (h, x)
    }""",
    "linear: no tape": """g (float[T,2,3] x, float[3,3] w, float[2,3] h) => (float[2,3] y) {
        y = Scan <num_scan_inputs = 1, body = g (float[2,3] s, float[2,3] v) => (float[2,3] r)
          { r = Add (s, v) }> (h, x)
    }""",
    "inside a Loop": """g (float[T,2,3] x, float[3,3] w, float[2,3] h) => (float[2,3] y) {
        n = Constant <value = int64 {2}> ()
        y = Loop (n, "", h) <body = g (int64 i, bool go, float[2,3] q) => (bool on, float[2,3] p) {
          on = Identity (go)
          p = Scan <num_scan_inputs = 1, body = gg (float[2,3] s, float[2,3] v) => (float[2,3] r)
            { m = MatMul (s, w) a = Add (m, v) b = Mul (a, q) r = Tanh (b) }> (q, x) }>
    }""",
}


def _model(text: str) -> onnx.ModelProto:
    return onnx.shape_inference.infer_shapes(parser.parse_model(HEAD + text))


def _feeds(times: int, dtype: type = np.float32) -> dict[str, np.ndarray]:
    shapes = {"x": (times, 2, 3), "w": (3, 3), "h": (2, 3)}
    return {k: (RNG.standard_normal(s) * 0.7).astype(dtype) for k, s in shapes.items()}


@pytest.mark.parametrize(("way", "out"), itertools.product("01", "01"))
@pytest.mark.parametrize("symbolic", [False, True])
def test_directions(way, out, symbolic):
    model = _model(RECURRENT.replace("IN", way).replace("OUT", out))
    for times in (1, 4):
        check_gradient(model, _feeds(times), symbolic=symbolic)
    check_gradient(model, _feeds(4), outputs=["z"], wrt=["x"])


@pytest.mark.parametrize("symbolic", [False, True])
def test_axes(symbolic):
    feeds = {"x": (2, 4, 3), "w": (3, 4), "h": (2, 3)}
    arrays = {k: RNG.standard_normal(s).astype(np.float32) for k, s in feeds.items()}
    assert check_gradient(_model(AXES), arrays, symbolic=symbolic).compared == 42


@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_differences(name, symbolic):
    check_gradient(_model(CASES[name]), _feeds(3), symbolic=symbolic)
    check_gradient(_model(CASES[name]), _feeds(3), symbolic=symbolic, constant=["w"])


@pytest.mark.parametrize("way", "01")
def test_second_order(way):
    model = _model(RECURRENT.replace("IN", way).replace("OUT", "1"))
    check_second_order(model, _feeds(3), ["x", "w", "h"], ["y", "z"])


@pytest.mark.parametrize("dtype", ["float16", "double"])
def test_other_dtypes(dtype):
    text = RECURRENT.replace("IN", "1").replace("OUT", "0").replace("float[", f"{dtype}[")
    check_gradient(_model(text), _feeds(3, np.dtype(dtype)))


def test_scan_of_opset_8_is_refused():
    """It has a batch of its own and other directions: nothing newer is the same."""
    text = """<ir_version: 4, opset_import: ["": 8]>
        g (float[1,2] h, float[1,3,2] x) => (float[1,2] y) {
          y = Scan <num_scan_inputs = 1, body = g (float[2] s, float[2] v) => (float[2] r)
            { r = Add (s, v) }> ("", h, x)
        }"""
    model = load(parser.parse_model(text))
    assert model.opset == 8
    assert any("Scan of opset 8 has no newer form" in note for note in model.notes)
    with pytest.raises(UnsupportedOp, match=r"Scan of opset 8.*Export the model again"):
        vjp_model(model.proto, ["x"], ["y"])


def test_weights_inside_a_body_by_hand():
    """y = sum_t x_t w: dy/dw = sum_t x_t."""
    text = """g (float[T,2] x) => (float[2] y) <float[2] z = {0, 0}> {
        y = Scan <num_scan_inputs = 1, body = g (float[2] s, float[2] v) => (float[2] r)
          <float[2] w = {2, 3}> { m = Mul (v, w) r = Add (s, m) }> (z, x)
    }"""
    grad = vjp_model(parser.parse_model(HEAD + text), ["w"], ["y"])
    x = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
    got = run(grad, {"x": x, "ct::y": np.array([1, 10], np.float32)})
    assert got["grad::w"].tolist() == [9, 120]
