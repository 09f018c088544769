"""If: both branches, at any depth, and what they take from outside."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import parser
from support import reference_repairs  # noqa: F401
from support.gradcheck import check_gradient, run
from support.second_order import check_second_order
from support.variants import frozen

from onnxcam.autodiff import vjp_model
from onnxcam.errors import UnsupportedOp

HEAD = '<ir_version: 10, opset_import: ["": 20]>\n'
RNG = np.random.default_rng(0)
X, W = RNG.standard_normal((2, 3)), RNG.standard_normal((2, 3))

CASES = {
    "both branches": """g (bool c, float[2,3] x, float[2,3] w) => (float[2,3] y) {
        y = If (c) <then_branch = t () => (float[2,3] a) { a = Mul (x, w) },
                    else_branch = e () => (float[2,3] b) { s = Sigmoid (x) b = Sub (s, w) }>
    }""",
    "one branch is constant": """g (bool c, float[2,3] x, float[2,3] w) => (float[2,3] y) {
        y = If (c) <then_branch = t () => (float[2,3] a) { a = Mul (x, w) },
                    else_branch = e () => (float[2,3] b) <float[2,3] b = {1,2,3,4,5,6}> { }>
    }""",
    "two outputs, one a constant": """
    g (bool c, float[2,3] x, float[2,3] w) => (float[2,3] y, float[2,3] z) {
        y, z = If (c) <
          then_branch = t () => (float[2,3] a, float[2,3] u) { a = Mul (x, w) u = Identity (a) },
          else_branch = e () => (float[2,3] b, float[2,3] v) <float[2,3] v = {1,2,3,4,5,6}>
            { b = Tanh (w) }>
    }""",
    "inside each other": """g (bool c, float[2,3] x, float[2,3] w) => (float[2,3] y) {
        p = Exp (x)
        y = If (c) <
          then_branch = t () => (float[2,3] a) {
            q = Mul (p, w)
            a = If (c) <then_branch = tt () => (float[2,3] aa) { aa = Mul (q, x) },
                        else_branch = te () => (float[2,3] ab) { ab = Sub (q, x) }>
          },
          else_branch = e () => (float[2,3] b) {
            n = Not (c)
            b = If (n) <then_branch = et () => (float[2,3] ba) { ba = Mul (p, p) },
                        else_branch = ee () => (float[2,3] bb) { bb = Neg (w) }>
          }>
    }""",
    "other shapes, same rank": """g (bool c, float[2,3] x, float[2,3] w) => (float[N,3] y) {
        h = If (c) <then_branch = t () => (float[N,3] a) { a = Concat <axis=0> (x, w) },
                    else_branch = e () => (float[N,3] b) { b = Mul (x, w) }>
        y = Mul (h, h)
    }""",
    "other ranks": """g (bool c, float[2,3] x, float[2,3] w) => (float[2] y) {
        h = If (c) <then_branch = t () => (float[3] a)
                      { k = Constant <value_ints = [0]> () a = ReduceSum <keepdims=0> (x, k) },
                    else_branch = e () => (float[2,3] b) { b = Mul (x, w) }>
        m = Mul (h, w)
        j = Constant <value_ints = [1]> ()
        y = ReduceSum <keepdims=0> (m, j)
    }""",
    "one tensor, twice an output": """g (bool c, float[2,3] x, float[2,3] w) => (float[2,3] y) {
        p, q = If (c) <
          then_branch = t () => (float[2,3] a, float[2,3] a2) { a = Mul (x, w) a2 = Identity (a) },
          else_branch = e () => (float[2,3] b, float[2,3] d) { b = Identity (x) d = Identity (x) }>
        y = Mul (p, q)
    }""",
}


def _model(text: str) -> onnx.ModelProto:
    return onnx.shape_inference.infer_shapes(parser.parse_model(HEAD + text))


def _feeds(condition: bool, dtype: type = np.float32) -> dict[str, np.ndarray]:
    return {"c": np.array(condition), "x": X.astype(dtype), "w": W.astype(dtype)}


@pytest.mark.parametrize("condition", [True, False])
@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_differences(name, symbolic, condition):
    model = _model(CASES[name])
    assert check_gradient(model, _feeds(condition), symbolic=symbolic).compared == 12
    check_gradient(model, _feeds(condition), symbolic=symbolic, constant=["w"])
    check_gradient(model, _feeds(condition), constant=["c"])


@pytest.mark.parametrize("condition", [True, False])
def test_a_branch_of_another_rank_than_declared(condition):
    """Exporters write down the rank of the branch that the example took."""
    rank = "1,2,3" if condition else "2,3"
    model = parser.parse_model(f"""{HEAD}
        g (bool c, float[2,3] x, float[3,3] w) => (float[{rank}] y) {{
          y = If (c) <
            then_branch = t () => (float[1,2,3] a)
              {{ k = Constant <value_ints = [0]> () s = Unsqueeze (x, k) a = MatMul (s, w) }},
            else_branch = e () => (float[2,3] b) {{ b = Gemm (x, w) }}>
        }}""")
    feeds = {"c": np.array(condition), "x": X.astype("f4"), "w": RNG.random((3, 3), "f4")}
    assert check_gradient(model, feeds).compared == 15


@pytest.mark.parametrize("condition", [True, False])
def test_a_branch_of_unknown_rank(condition):
    """The rank of what the other branch gives says nothing of it."""
    model = parser.parse_model(f"""{HEAD}
        g (bool c, float[2,3] x, float[2,3] w, int64[N] s)
          => (float[{"2" if condition else "2,3"}] y) {{
          y = If (c) <
            then_branch = t () => (float[2] a)
              {{ k = Constant <value_ints = [1]> () a = ReduceSum <keepdims=0> (x, k) }},
            else_branch = e () => (float b)
              {{ p = Mul (x, w) r = Reshape (p, s) b = Add (r, x) }}>
        }}""")
    otherwise = next(a.g for a in model.graph.node[0].attribute if a.name == "else_branch")
    otherwise.output[0].type.tensor_type.ClearField("shape")
    feeds = {**_feeds(condition), "s": np.array([2, 3])}
    assert check_gradient(model, feeds).compared == 12


@pytest.mark.parametrize("condition", [True, False])
def test_a_branch_of_another_shape_than_declared(condition):
    """It is not the one that runs: that its sizes do not fit must not matter."""
    model = parser.parse_model(f"""{HEAD}
        g (bool c, float[2,3] x, float[2,3] w) => (float[{2 if condition else 4},3] y) {{
          y = If (c) <then_branch = t () => (float[2,3] a) {{ p = Tanh (x) a = Neg (p) }},
                      else_branch = e () => (float[4,3] b) {{ b = Concat <axis=0> (w, x) }}>
        }}""")
    assert check_gradient(model, _feeds(condition)).compared == 12


@pytest.mark.parametrize("condition", [True, False])
@pytest.mark.parametrize("name", ["both branches", "inside each other", "other shapes, same rank"])
def test_second_order(name, condition):
    check_second_order(_model(CASES[name]), _feeds(condition), ["x", "w"], ["y"])


@pytest.mark.parametrize("name", ["both branches", "inside each other"])
@pytest.mark.parametrize("dtype", ["float16", "double"])
def test_other_dtypes(name, dtype):
    model = _model(CASES[name].replace("float[", f"{dtype}["))
    check_gradient(model, _feeds(True, np.dtype(dtype)))


WEIGHTS = """g (bool c, float[2] x) => (float[2] y) <float[2] w = {1, 2}> {
    y = If (c) <
      then_branch = t () => (float[2] a) <float[2] u = {3, 4}> { a = Mul (x, u) },
      else_branch = e () => (float[2] b) {
        b = If (c) <then_branch = et () => (float[2] p) { p = Neg (x) },
                    else_branch = ee () => (float[2] q) { q = Mul (x, w) }>
      }>
}"""


@pytest.mark.parametrize(
    ("condition", "du", "dw"), [(True, [10, 21], [0, 0]), (False, [0, 0], [10, 21])]
)
def test_weights_that_only_a_branch_uses(condition, du, dw):
    grad = vjp_model(parser.parse_model(HEAD + WEIGHTS), ["u", "w"], ["y"])
    x = np.array([2, 3], np.float32)
    feeds = {"c": np.array(condition), "x": x, "ct::y": np.array([5, 7], np.float32)}
    got = run(grad, feeds)
    assert got["grad::u"].tolist() == du
    assert got["grad::w"].tolist() == dw
    names = [t.name for t in grad.graph.initializer]
    assert sorted(n for n in names if "/" not in n) == ["u", "w"], "weights are shared, not copied"


def test_overrides_reach_into_branches_by_operator_and_by_node_name():
    text = """g (bool c, float[2] x) => (float[2] y) {
      y = If (c) <then_branch = t () => (float[2] a) { p = Exp (x) a = Exp (p) },
                  else_branch = e () => (float[2] b) { b = Exp (x) }>
    }"""
    model = parser.parse_model(HEAD + text)
    model.graph.node[0].attribute[0].g.node[0].name = "inner"
    feeds = {"c": np.array(True), "x": np.zeros(2, np.float32), "ct::y": np.ones(2, np.float32)}

    def halved(op, node, dy):
        return op.Mul(dy, 0.5)

    def gradient(overrides):
        return run(vjp_model(model, ["x"], ["y"], overrides=overrides), feeds)["grad::x"].tolist()

    e = np.exp(np.float32(1)).item()
    assert gradient(None) == pytest.approx([e, e])
    assert gradient({"inner": halved}) == pytest.approx([e / 2, e / 2])
    assert gradient({"Exp": halved}) == [0.25, 0.25]


UNSUPPORTED = """g (bool c, float[2] x, float[2] z) => (float[2] y) {
  y = If (c) <then_branch = t () => (float[2] a) { r = RandomNormalLike (%s) a = Mul (x, r) },
              else_branch = e () => (float[2] b) { b = Identity (x) }>
}"""


def test_random_numbers_inside_are_refused():
    model = parser.parse_model(HEAD + UNSUPPORTED % "z")
    with pytest.raises(UnsupportedOp, match=r"RandomNormalLike inside would draw other random"):
        vjp_model(model, ["x"], ["y"])
    vjp_model(model, ["z"], ["y"])  # nothing flows to z
    decided = frozen(model, {"c": np.array(True)}, ["c"])
    with pytest.raises(UnsupportedOp, match="would draw other random"):
        vjp_model(decided, ["x"], ["y"])


def test_only_what_a_gradient_flows_through_needs_a_rule():
    text = """g (bool c, float[2] x, float[2] z) => (float[2] y, int64 n) {
      y, n = If (c) <
        then_branch = t () => (float[2] a, int64 i)
          { u = Exp (x) s = Sum (u, u) k = NonZero (u) i = Size (k) a = Mul (s, z) },
        else_branch = e () => (float[2] b, int64 j)
          { b = Identity (z) o = Constant <value_int = 1> () j = Identity (o) }>
    }"""
    model = parser.parse_model(HEAD + text)

    def none(op, node, dy):
        raise AssertionError("nothing flows here")

    vjp_model(model, ["z"], ["y"], overrides={"Exp": none})


def test_the_branch_that_does_not_run_may_not_fit():
    text = """g (bool c, float[2,3] x) => (float[6] y) {
      s = Constant <value_ints = [6]> ()
      k = Constant <value_ints = [1]> ()
      y = If (c) <then_branch = t () => (float[6] a) { q = Squeeze (x, k) a = Reshape (q, s) },
                  else_branch = e () => (float[6] b) { p = Exp (x) b = Reshape (p, s) }>
    }"""
    model = parser.parse_model(HEAD + text.replace("float[2,3] x", "float[A,B] x"))
    feeds = {"c": np.array(False), "x": X.astype(np.float32)}
    check_gradient(model, feeds)
    feeds = {"c": np.array(True), "x": RNG.standard_normal((6, 1)).astype(np.float32)}
    check_gradient(model, feeds)
