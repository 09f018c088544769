"""Sequences as exporters use them, optional values, and sequences as inputs and outputs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import parser
from support import reference_repairs  # noqa: F401
from support.gradcheck import check_gradient, run
from support.second_order import check_second_order

from onnxcam.autodiff import vjp_model

HEAD = '<ir_version: 10, opset_import: ["": 20]>\n'
RNG = np.random.default_rng(0)
INPUTS = "int64 i, float[3,4] a, float[2,4] b"
FEEDS = {"a": RNG.standard_normal((3, 4)), "b": RNG.standard_normal((2, 4))}

CASES = {
    "construct, at": """=> (float[N,4] y) {
        s = SequenceConstruct (a, b, a) e = SequenceAt (s, i) y = Mul (e, e)
    }""",
    "insert, at": """=> (float[N,4] y) {
        s = SequenceConstruct (a, b) c = Exp (b) t = SequenceInsert (s, c, i)
        y = ConcatFromSequence <axis = 0> (t)
    }""",
    "insert at the end": """=> (float[N,4] y) {
        s = SequenceEmpty () t = SequenceInsert (s, a) c = Exp (b) u = SequenceInsert (t, c)
        d = SequenceAt (u, i) y = Mul (d, d)
    }""",
    "erase": """=> (float[N,4] y) {
        c = Mul (b, b) s = SequenceConstruct (a, b, c) t = SequenceErase (s, i)
        u = SequenceErase (t) y = ConcatFromSequence <axis = 0> (u)
    }""",
    "read twice": """=> (float[N,4] y) {
        s = SequenceConstruct (a, b, b) z = Constant <value_int = -1> ()
        e = SequenceAt (s, i) f = SequenceAt (s, z) g = ConcatFromSequence <axis = 0> (s)
        y = Concat <axis = 0> (e, f, g)
    }""",
    "split evenly": """=> (float[N,4] y) {
        p = Constant <value_int = 2> () s = SplitToSequence <axis = 1> (a, p)
        e = SequenceAt (s, i) f = Mul (e, e) t = SequenceInsert (s, f, i)
        c = ConcatFromSequence <axis = 1> (t) z = Constant <value_ints = [0]> ()
        l = Constant <value_ints = [4]> () x = Constant <value_ints = [1]> ()
        y = Slice (c, z, l, x)
    }""",
    "split unevenly, new axis": """=> (float[N] y) {
        p = Constant <value_ints = [3, 1]> () s = SplitToSequence <axis = -1> (a, p)
        e = SequenceAt (s, i) f = Mul (e, e) u = SplitToSequence <axis = 0, keepdims = 0> (f)
        c = ConcatFromSequence <axis = 1, new_axis = 1> (u) g = Mul (c, c)
        k = Constant <value_ints = [0]> () y = ReduceSum <keepdims = 0> (g, k)
    }""",
    "concat along the last axis": """=> (float[2,N] y) {
        c = Mul (b, b) s = SequenceConstruct (b, c) t = SequenceInsert (s, b, i)
        y = ConcatFromSequence <axis = -1> (t)
    }""",
    "map": """=> (float[N,4] y) {
        s = SequenceConstruct (a, b)
        t = SequenceMap <body = g (float[M,4] e) => (float[M,4] f)
          { k = Constant <value_ints = [0]> () q = ReduceSum <keepdims = 1> (a, k)
            x = Mul (e, q) f = Tanh (x) }> (s)
        u = SequenceInsert (t, b, i) y = ConcatFromSequence <axis = 0> (u)
    }""",
    "map with another sequence and a tensor": """=> (float[N,4] y) {
        s = SequenceConstruct (a, b) r = SequenceMap <body = g0 (float[M,4] e) => (float[M,4] f)
          { f = Exp (e) }> (s)
        k = Constant <value_ints = [0]> () q = ReduceSum <keepdims = 1> (b, k)
        t, u = SequenceMap <body = g (float[M,4] e, float[M,4] h, float[1,4] w)
          => (float[M,4] f, float[M,4] o) { m = Mul (e, h) f = Mul (m, w) o = Neg (f) }> (s, r, q)
        v = SequenceAt (u, i) c = ConcatFromSequence <axis = 0> (t) y = Concat <axis = 0> (c, v)
    }""",
    "optional": """=> (float[3,4] y) {
        o = Optional (a) h = OptionalHasElement (o) g = OptionalGetElement (o)
        f = CastLike (h, g) m = Mul (g, g) y = Mul (m, f)
    }""",
    "length": """=> (float[3,4] y) {
        s = SequenceConstruct (a, b) n = SequenceLength (s) f = CastLike (n, a) y = Mul (a, f)
    }""",
    "identity": """=> (float[N,4] y) {
        s = SequenceConstruct (a, b) t = Identity (s) e = SequenceAt (t, i) y = Mul (e, e)
    }""",
}
PLACES = {"construct, at": range(-3, 3), "insert, at": range(-2, 3), "erase": range(-3, 3)}


def _model(text: str) -> onnx.ModelProto:
    return onnx.shape_inference.infer_shapes(parser.parse_model(f"{HEAD}g ({INPUTS}) {text}"))


def _feeds(place: int, dtype: type = np.float32) -> dict[str, np.ndarray]:
    return {"i": np.array(place), **{k: v.astype(dtype) for k, v in FEEDS.items()}}


@pytest.mark.parametrize(("name", "place"), [(n, p) for n in CASES for p in PLACES.get(n, (0, 1))])
def test_differences(name, place):
    model = _model(CASES[name])
    for symbolic in (False, True):
        assert check_gradient(model, _feeds(place), symbolic=symbolic).compared == 20
    check_gradient(model, _feeds(place), constant=["i"])
    check_gradient(model, _feeds(place), constant=["b"], wrt=["a"])


@pytest.mark.parametrize("name", CASES)
def test_second_order(name):
    check_second_order(_model(CASES[name]), _feeds(1), ["a", "b"], ["y"])


@pytest.mark.parametrize("name", ["insert, at", "split evenly", "map"])
@pytest.mark.parametrize("dtype", ["float16", "double"])
def test_other_dtypes(name, dtype):
    kind = 10 if dtype == "float16" else 11
    text = f"{HEAD}g ({INPUTS}) {CASES[name]}".replace("float[", f"{dtype}[")
    text = text.replace("SequenceEmpty ()", f"SequenceEmpty <dtype = {kind}> ()")
    check_gradient(parser.parse_model(text), _feeds(1, np.dtype(dtype)))


def test_pieces_of_known_sequences_cost_nothing():
    """What is split and read at known places needs no sequence in its gradient."""
    text = """g (float[3,4] a) => (float[3,1] y) {
        s = SplitToSequence <axis = 1> (a) p = Constant <value_int = 0> ()
        q = Constant <value_int = -1> () c = SequenceAt (s, p) d = SequenceAt (s, q) y = Mul (c, d)
    }"""
    model = parser.parse_model(HEAD + text)
    before = [n.op_type for n in model.graph.node]
    grad = vjp_model(model, ["a"], ["y"])
    added = [n.op_type for n in grad.graph.node][len(before) :]
    check_gradient(model, {"a": FEEDS["a"].astype(np.float32)})
    assert not [op for op in added if "Map" in op or "Insert" in op or "Erase" in op]


def test_sequences_as_inputs_and_outputs_of_a_model():
    """y_j = x_j^2: the gradient with respect to a sequence is a sequence."""
    text = """g (seq(float[N,2]) x) => (seq(float[N,2]) y, seq(float[N,2]) z) {
        y = SequenceMap <body = g (float[M,2] e) => (float[M,2] f) { f = Mul (e, e) }> (x)
        z = SequenceErase (y)
    }"""
    grad = vjp_model(parser.parse_model(HEAD + text), ["x"], ["y", "z"])
    onnx.checker.check_model(grad, full_check=True)
    x = [RNG.standard_normal((n, 2)).astype(np.float32) for n in (1, 3, 2)]
    cy = [RNG.standard_normal(v.shape).astype(np.float32) for v in x]
    cz = [RNG.standard_normal(v.shape).astype(np.float32) for v in x[:2]]
    got = run(grad, {"x": x, "ct::y": cy, "ct::z": cz})["grad::x"]
    total = [cy[0] + cz[0], cy[1] + cz[1], cy[2]]
    for dx, v, c in zip(got, x, total, strict=True):
        np.testing.assert_allclose(dx, 2 * v * c, rtol=1e-5)


def test_a_sequence_that_nothing_depends_on_gets_zeros():
    text = """g (seq(float[N,2]) x, float[2] w) => (float[2] y, int64 n) {
        n = SequenceLength (x) y = Exp (w)
    }"""
    grad = vjp_model(parser.parse_model(HEAD + text), ["x"], ["y"])
    x = [np.ones((n, 2), np.float32) for n in (1, 3)]
    w = np.ones(2, np.float32)
    got = run(grad, {"x": x, "w": w, "ct::y": w})["grad::x"]
    assert [dx.shape for dx in got] == [(1, 2), (3, 2)]
    assert not any(dx.any() for dx in got)
