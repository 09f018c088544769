"""The root of a sum of squares at 0: a norm, whose gradient is 0 there, and not NaN."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import parser

from onnxcam import Explainer, vjp_model
from onnxcam.run.session import Session

BODIES = {
    "products": "q = Mul(x, x) s = ReduceSum(q, last) y = Sqrt(s)",
    "powers": "q = Pow(x, two) s = ReduceMean(q, last) y = Sqrt(s)",
    "a spectrum": "a, b = Split<axis=1, num_outputs=2>(x) p = Pow(a, two) q = Mul(b, b) "
    "s = Add(p, q) r = Sqrt(s) y = ReduceSum(r, last)",
    "a sum of squares": "s = ReduceSumSquare(x, last) u = Reshape(s, flat) y = Sqrt(u)",
    "the operator": "y = ReduceL2(x, last)",
}


def _gradient(body: str, x: np.ndarray) -> np.ndarray:
    text = f"""<ir_version: 9, opset_import: ["" : 20]> g (float[N,4] x) => (float[N,1] y)
    <float[1] two = {{2}}, int64[1] last = {{1}}, int64[2] flat = {{-1, 1}}> {{ {body} }}"""
    model = vjp_model(parser.parse_model(text), ["x"], ["y"])
    feeds = {"x": x, "ct::y": np.ones((len(x), 1), "f4")}
    return Session(model, device="cpu").run(feeds, ["grad::x"])[0]


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_norm_has_no_slope_at_its_minimum(body: str) -> None:
    x = np.array([[0, 0, 0, 0], [3, 0, 4, 0]], "f4")
    found = _gradient(body, x)
    np.testing.assert_array_equal(found[0], 0)
    mean = 2 if "ReduceMean" in body else 1
    want = {"a spectrum": x[1] / [5, 1, 5, 1]}
    for name, row in BODIES.items():
        if row == body:
            np.testing.assert_allclose(found[1], want.get(name, x[1] / 5 / mean), rtol=1e-6)


@pytest.mark.parametrize("body", ["y = Sqrt(s)", "t = Add(s, two) u = Sub(t, two) y = Sqrt(u)"])
def test_a_root_of_anything_else_is_as_steep_as_it_is(body: str) -> None:
    """The derivative of a root at 0 is infinite: a 0 there would be wrong."""
    found = _gradient(f"s = ReduceSum(x, last) {body}", np.zeros((1, 4), "f4"))
    assert np.isinf(found).all()


@pytest.mark.parametrize(
    "name", ["guided-integrated-gradients", "integrated-gradients", "saliency"]
)
def test_a_spectrum_of_silence_is_explained(name: str) -> None:
    """The path of guided integrated gradients begins at silence, where the gradient was NaN."""
    text = """<ir_version: 9, opset_import: ["" : 20]> g (float[N,1,12] x) => (float[N,2] y)
    <float[1] two = {2}, float[8,1,4] w = {0}, float[36,2] v = {0}, int64[1] half = {1}> {
      c = Conv <strides=[1]> (x, w)
      a, b = Split <axis=1, num_outputs=2> (c)
      p = Pow (a, two) q = Pow (b, two) s = Add (p, q) r = Sqrt (s)
      f = Flatten (r) y = MatMul (f, v)
    }"""
    proto, rng = parser.parse_model(text), np.random.default_rng(4)
    for tensor in proto.graph.initializer:
        if tensor.name in "wv":
            shape = tuple(tensor.dims)
            tensor.ClearField("float_data")
            tensor.raw_data = rng.normal(size=shape).astype("f4").tobytes()
    x = rng.normal(size=(1, 1, 12)).astype("f4")
    explain = Explainer(proto, name, device="cpu", upsampling="none")
    for given in (x, 0 * x):
        found = explain(given, target=0)
        assert np.isfinite(found.signed_map).all()
    assert explain(x, target=0).map.any()
