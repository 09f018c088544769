"""Loop: trip counts and conditions, states that stay and that change, what lies around it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import parser
from onnx.reference import ReferenceEvaluator
from support import reference_repairs  # noqa: F401
from support.gradcheck import check_gradient, run
from support.second_order import check_second_order

from onnxcam.autodiff import vjp_model
from onnxcam.errors import UnsupportedOp

HEAD = '<ir_version: 10, opset_import: ["": 20]>\n'
RNG = np.random.default_rng(0)
H, W, B = (RNG.standard_normal(s) * 0.7 for s in ((2, 3), (3, 3), (2, 3)))
INPUTS = "int64 n, float[2,3] h, float[3,3] w, float[2,3] b"

CASES = {
    "states and slices": """=> (float[2,3] y, float[T,2,3] z) {
        t = Constant <value = bool {1}> ()
        y, z = Loop (n, t, h) <body = g (int64 i, bool go, float[2,3] s)
          => (bool on, float[2,3] r, float[2,3] v)
          { on = Identity (go) m = MatMul (s, w) q = Add (m, b) r = Sigmoid (q) v = Mul (r, s) }>
    }""",
    "the condition ends it": """=> (float[2,3] y) {
        t = Constant <value = bool {1}> ()
        y = Loop (n, t, h) <body = g (int64 i, bool go, float[2,3] s) => (bool on, float[2,3] r)
          { k = Constant <value = int64 {1}> () on = Less (i, k)
            m = MatMul (s, w) q = Tanh (m) r = Mul (q, b) }>
    }""",
    "no trip count": """=> (float[2,3] y) {
        t = Constant <value = bool {1}> ()
        y = Loop ("", t, h) <body = g (int64 i, bool go, float[2,3] s) => (bool on, float[2,3] r)
          { on = Less (i, n) m = MatMul (s, w) q = Tanh (m) r = Mul (q, b) }>
    }""",
    "no condition": """=> (float[2,3] y) {
        y = Loop (n, "", h) <body = g (int64 i, bool go, float[2,3] s) => (bool on, float[2,3] r)
          { on = Identity (go) m = MatMul (s, w) r = Mul (m, b) }>
    }""",
    "the state grows": """=> (float[K,3] y) {
        t = Constant <value = bool {1}> ()
        y = Loop (n, t, h) <body = g (int64 i, bool go, float[K,3] s) => (bool on, float[L,3] r)
          { on = Identity (go) m = MatMul (s, w) q = Sigmoid (m) r = Concat <axis=0> (q, b) }>
    }""",
    "only a grown state is used": """=> (float[2,3] y) {
        t = Constant <value = bool {1}> ()
        u, y = Loop (n, t, h, h) <body = g (int64 i, bool go, float[K,3] s, float[2,3] p)
          => (bool on, float[L,3] r, float[2,3] o)
          { on = Identity (go) m = MatMul (s, w) q = Sigmoid (m) r = Concat <axis=0> (q, b)
            k = Constant <value_ints = [0]> () e = ReduceSum <keepdims=1> (r, k) o = Mul (e, p) }>
    }""",
    "exchanged states": """=> (float[2,3] y, float[2,3] z) {
        t = Constant <value = bool {1}> ()
        y, z = Loop (n, t, h, b) <body = g (int64 i, bool go, float[2,3] s, float[2,3] p)
          => (bool on, float[2,3] r, float[2,3] o)
          { on = Identity (go) r = Identity (p) q = MatMul (s, w) o = Tanh (q) }>
    }""",
    "an unchanged state": """=> (float[2,3] y, float[2,3] z) {
        t = Constant <value = bool {1}> ()
        y, z = Loop (n, t, h, b) <body = g (int64 i, bool go, float[2,3] s, float[2,3] p)
          => (bool on, float[2,3] r, float[2,3] o)
          { on = Identity (go) q = MatMul (s, w) r = Mul (q, p) o = Identity (p) }>
    }""",
    "the iteration number is data": """=> (float[2,3] y, float[T,2,3] z) {
        t = Constant <value = bool {1}> ()
        y, z = Loop (n, t, h) <body = g (int64 i, bool go, float[2,3] s)
          => (bool on, float[2,3] r, float[2,3] v)
          { on = Identity (go) f = CastLike (i, s) k = Constant <value = float {0.5}> ()
            a = Add (f, k) g0 = CastLike (go, s) c = Mul (a, g0) m = MatMul (s, w)
            r = Mul (m, c) v = Mul (b, c) }>
    }""",
    "reads slices of an outer tensor": """=> (float[2,3] y) {
        t = Constant <value = bool {1}> ()
        hh = Mul (h, h) z = Constant <value_ints = [0]> () x = Unsqueeze (hh, z)
        p = Constant <value_ints = [4, 1, 1]> () xs = Tile (x, p)
        y = Loop (n, t, h) <body = g (int64 i, bool go, float[2,3] s) => (bool on, float[2,3] r)
          { on = Identity (go) k = Gather <axis=0> (xs, i) m = MatMul (k, w) r = Mul (m, s) }>
    }""",
    "slices only, no states": """=> (float[T,3] y) {
        t = Constant <value = bool {1}> ()
        y = Loop (n, t) <body = g (int64 i, bool go) => (bool on, float[3] v)
          { on = Identity (go) j = Constant <value = int64 {2}> () k = Mod (i, j)
            q = Gather <axis=0> (h, k) r = Gather <axis=0> (b, k) v = Mul (q, r) }>
    }""",
    "inside each other": """=> (float[2,3] y) {
        t = Constant <value = bool {1}> ()
        y = Loop (n, t, h) <body = g (int64 i, bool go, float[2,3] s) => (bool on, float[2,3] r) {
          on = Identity (go)
          u = Loop (i, t, s) <body = gg (int64 j, bool jgo, float[2,3] o)
            => (bool jon, float[2,3] p)
            { jon = Identity (jgo) a = Mul (o, s) c = Add (a, b) p = Sigmoid (c) }>
          m = MatMul (u, w) k = Constant <value = int64 {1}> () e = Equal (i, k)
          r = If (e) <then_branch = th () => (float[2,3] r1) { r1 = Mul (m, s) },
                      else_branch = el () => (float[2,3] r2) { r2 = Mul (m, m) }> }>
    }""",
    "a sequence grows": """=> (float[K,3] y) {
        t = Constant <value = bool {1}> () e = SequenceConstruct (h)
        u = Loop (n, t, e) <body = g (int64 i, bool go, seq(float[2,3]) s)
          => (bool on, seq(float[2,3]) r)
          { on = Identity (go) f = CastLike (i, b) q = Mul (b, f) v = MatMul (q, w)
            r = SequenceInsert (s, v) }>
        y = ConcatFromSequence <axis=0> (u)
    }""",
    "a sequence that is read as it grows": """=> (float[K,3] y) {
        t = Constant <value = bool {1}> () e = SequenceConstruct (h, b)
        u = Loop (n, t, e) <body = g (int64 i, bool go, seq(float[2,3]) s)
          => (bool on, seq(float[2,3]) r)
          { on = Identity (go) k = Constant <value = int64 {-1}> () a = SequenceAt (s, k)
            c = SequenceAt (s, i) m = MatMul (a, w) v = Mul (m, c) r = SequenceInsert (s, v) }>
        y = ConcatFromSequence <axis=0> (u)
    }""",
    "a sequence from outside": """=> (float[2,3] y) {
        t = Constant <value = bool {1}> () hb = Mul (h, b) e = SequenceConstruct (h, b, hb, h)
        y = Loop (n, t, h) <body = g (int64 i, bool go, float[2,3] s) => (bool on, float[2,3] r)
          { on = Identity (go) a = SequenceAt (e, i) m = MatMul (a, w) r = Mul (m, s) }>
    }""",
}
TWICE = ["states and slices", "the condition ends it", "the state grows", "inside each other",
         "reads slices of an outer tensor", "a sequence grows"]  # fmt: skip


def _model(text: str) -> onnx.ModelProto:
    return onnx.shape_inference.infer_shapes(parser.parse_model(f"{HEAD}g ({INPUTS}) {text}"))


def _feeds(trips: int, dtype: type = np.float32) -> dict[str, np.ndarray]:
    feeds = {"h": H.astype(dtype), "w": W.astype(dtype), "b": B.astype(dtype)}
    return {"n": np.array(trips), **feeds}


@pytest.mark.parametrize("trips", [0, 1, 3])
@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_differences(name, symbolic, trips):
    check_gradient(_model(CASES[name]), _feeds(trips), symbolic=symbolic)


@pytest.mark.parametrize("name", CASES)
def test_differences_with_constants(name):
    model = _model(CASES[name])
    assert check_gradient(model, _feeds(3), constant=["n"]).compared == 21
    assert check_gradient(model, _feeds(3), constant=["w"], symbolic=True).compared == 12
    assert check_gradient(model, _feeds(3), wrt=["b"], outputs=["y"]).compared == 6


@pytest.mark.parametrize("name", TWICE)
def test_second_order(name):
    check_second_order(_model(CASES[name]), _feeds(2), ["h", "w", "b"], ["y"])


@pytest.mark.parametrize("dtype", ["float16", "double"])
def test_other_dtypes(dtype):
    text = f"{HEAD}g ({INPUTS}) {CASES['states and slices']}".replace("float[", f"{dtype}[")
    check_gradient(parser.parse_model(text), _feeds(3, np.dtype(dtype)))


def test_shapes_that_no_one_states():
    """Bodies of exporters often state no shape at all; the ranks must be found all the same."""
    model = parser.parse_model(f"{HEAD}g ({INPUTS}) {CASES['inside each other']}")
    for body in (
        model.graph.node[1].attribute[0].g,
        model.graph.node[1].attribute[0].g.node[1].attribute[0].g,
    ):
        for info in [*body.input, *body.output]:
            info.type.tensor_type.ClearField("shape")
    check_gradient(model, _feeds(3))


def test_final_state_that_is_left_out():
    """The backward loop starts from zeros of a shape that no output tells.

    By the reference alone: ONNX Runtime crashes where an output of a Loop is left out.
    """
    text = """g (int64 n, float[2] x) => (float[T] z) {
        t = Constant <value = bool {1}> ()
        u, z = Loop (n, t, x) <body = g (int64 i, bool go, float[K] s)
          => (bool on, float[L] r, float v)
          { on = Identity (go) q = Sin (s) r = Concat <axis=0> (q, x)
            k = Constant <value_ints = [0]> () v = ReduceSum <keepdims=0> (s, k) }>
    }"""
    model = parser.parse_model(HEAD + text)
    stated = ReferenceEvaluator(vjp_model(model, ["x"], ["z"]))
    model.graph.node[1].output[0] = ""
    left_out = ReferenceEvaluator(vjp_model(model, ["x"], ["z"]))
    for trips in (1, 3):
        feeds = {"n": np.array(trips), "x": np.array([0.1, -0.3], np.float32)}
        feeds["ct::z"] = np.arange(1, trips + 1, dtype=np.float32)
        want, got = (session.run(["grad::x"], feeds)[0] for session in (stated, left_out))
        np.testing.assert_array_equal(got, want)
        assert np.abs(want).min() > 0.5


def test_weights_inside_a_body_by_hand():
    """y = x w^n: dy/dw = n x w^(n - 1)."""
    text = """g (int64 n, float[2] x) => (float[2] y) {
        y = Loop (n, "", x) <body = g (int64 i, bool go, float[2] s) => (bool on, float[2] r)
          <float[2] w = {2, 3}> { on = Identity (go) r = Mul (s, w) }>
    }"""
    grad = vjp_model(parser.parse_model(HEAD + text), ["w"], ["y"])
    for n in (0, 1, 4):
        feeds = {"n": np.array(n), "x": np.array([5, 7], np.float32), "ct::y": np.ones(2, "f")}
        want = np.array([5, 7]) * n * np.array([2.0, 3.0]) ** (n - 1)
        np.testing.assert_allclose(run(grad, feeds)["grad::w"], want, rtol=1e-6)


def test_a_body_that_nothing_flows_through_needs_no_rules():
    text = """g (int64 n, float[2] x) => (float[2] y) {
        k, y = Loop (n, "", x, x) <body = g (int64 i, bool go, float[2] s, float[2] p)
          => (bool on, float[2] r, float[2] q)
          { on = Identity (go) r = Exp (s) q = Mul (p, p) }>
    }"""

    def none(op, node, dy):
        raise AssertionError("nothing flows here")

    vjp_model(parser.parse_model(HEAD + text), ["x"], ["y"], overrides={"Exp": none})


def test_random_numbers_inside_are_refused():
    text = """g (int64 n, float[2] x) => (float[2] y) {
        y = Loop (n, "", x) <body = g (int64 i, bool go, float[2] s) => (bool on, float[2] r)
          { on = Identity (go) q = RandomUniformLike (s) r = Mul (s, q) }>
    }"""
    with pytest.raises(UnsupportedOp, match="RandomUniformLike inside would draw other random"):
        vjp_model(parser.parse_model(HEAD + text), ["x"], ["y"])
