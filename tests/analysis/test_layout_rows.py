"""Which rows of its inputs a node needs: what is said is enough, and what passes rows does so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper, parser
from support.variants import graph_model

from onnxcam.analysis.layout.rows import Rows, joined, needed, passed, reach
from onnxcam.model.draft import Draft
from onnxcam.model.model import load
from onnxcam.run.session import Session

X = (2, 5, 6)
F = np.float32


def _const(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).normal(size=shape).astype(F)


# op, shapes of the computed inputs, constant inputs, attributes, rows of the output, their source
# in each computed input (None: all of it)
CASES: list[tuple[Any, ...]] = [
    ("Relu", [X], [], {}, Rows(1, 0, 1), [Rows(1, 0, 1)]),
    ("Add", [X, X], [], {}, Rows(1, 1, 3), [Rows(1, 1, 3)] * 2),
    ("Add", [X, (6,)], [], {}, Rows(1, 1, 3), [Rows(1, 1, 3), None]),
    ("Mul", [X, (5, 1)], [], {}, Rows(1, 4, 5), [Rows(1, 4, 5), Rows(0, 4, 5)]),
    ("Mul", [X, (2, 1, 6)], [], {}, Rows(1, 4, 5), [Rows(1, 4, 5), None]),
    ("Softmax", [X], [], {"axis": -1}, Rows(1, 2, 3), [Rows(1, 2, 3)]),
    ("Softmax", [X], [], {"axis": 1}, Rows(1, 2, 3), [None]),
    ("LayerNormalization", [X], [_const(6)], {"axis": -1}, Rows(1, 0, 2), [Rows(1, 0, 2)]),
    ("LayerNormalization", [X], [_const(5, 6)], {"axis": 1}, Rows(1, 0, 2), [None]),
    ("Transpose", [X], [], {"perm": [1, 2, 0]}, Rows(0, 3, 4), [Rows(1, 3, 4)]),
    ("Reshape", [X], [np.array([0, 5, 2, 3])], {}, Rows(1, 3, 4), [Rows(1, 3, 4)]),
    ("Reshape", [X], [np.array([0, 5, 2, 3])], {}, Rows(2, 1, 2), [None]),
    ("Reshape", [X], [np.array([10, 6])], {}, Rows(0, 1, 2), [None]),
    ("Reshape", [(2, 1, 6)], [np.array([2, 1, 1, 6])], {}, Rows(3, 1, 2), [Rows(2, 1, 2)]),
    ("Unsqueeze", [X], [np.array([1])], {}, Rows(2, 3, 4), [Rows(1, 3, 4)]),
    ("ReduceMean", [X], [np.array([2])], {"keepdims": 0}, Rows(1, 3, 4), [Rows(1, 3, 4)]),
    ("ReduceMean", [X], [np.array([1])], {"keepdims": 0}, Rows(1, 3, 4), [Rows(2, 3, 4)]),
    ("ReduceMean", [X], [np.array([1])], {"keepdims": 1}, Rows(1, 0, 1), [None]),
    ("MatMul", [X], [_const(6, 4)], {}, Rows(1, 0, 1), [Rows(1, 0, 1)]),
    ("MatMul", [X, (2, 6, 4)], [], {}, Rows(1, 0, 1), [Rows(1, 0, 1), None]),
    ("MatMul", [X, (2, 6, 4)], [], {}, Rows(2, 0, 1), [None, Rows(2, 0, 1)]),
    ("MatMul", [X, (2, 6, 4)], [], {}, Rows(0, 0, 1), [Rows(0, 0, 1)] * 2),
    ("MatMul", [X, (6, 4)], [], {}, Rows(0, 0, 1), [Rows(0, 0, 1), None]),
    ("Gemm", [(5, 6)], [_const(6, 4), _const(4)], {}, Rows(0, 2, 3), [Rows(0, 2, 3)]),
    ("Gemm", [(6, 5)], [_const(6, 4)], {"transA": 1}, Rows(0, 2, 3), [Rows(1, 2, 3)]),
    ("Einsum", [X, (2, 6, 4)], [], {"equation": "abc,acd->abd"}, Rows(1, 2, 3),
     [Rows(1, 2, 3), None]),
    ("Gather", [X], [np.array(0)], {"axis": 1}, None, [Rows(1, 0, 1)]),
    ("Gather", [X], [np.array(-1)], {"axis": 1}, Rows(1, 0, 1), [Rows(1, 4, 5)]),
    ("Gather", [X], [np.array([1, 3])], {"axis": 1}, None, [None]),
    ("Slice", [X], [np.array(v) for v in ([1], [3], [1])], {}, None, [Rows(1, 1, 3)]),
    ("Slice", [X], [np.array(v) for v in ([1], [4], [1])], {}, Rows(1, 1, 2), [Rows(1, 2, 3)]),
    ("Slice", [X], [np.array(v) for v in ([-2], [99], [1])], {}, None, [Rows(1, 3, 5)]),
    ("Slice", [X], [np.array(v) for v in ([1], [3], [2])], {}, Rows(1, 1, 2), [Rows(1, 1, 2)]),
    ("Slice", [X], [np.array(v) for v in ([0], [5], [1], [2])], {}, None, [None]),
    ("Concat", [X, (2, 3, 6)], [], {"axis": 1}, Rows(1, 4, 6), [Rows(1, 4, 5), Rows(1, 0, 1)]),
    ("Concat", [X, (2, 3, 6)], [], {"axis": 1}, Rows(1, 0, 2), [Rows(1, 0, 2), Rows(1, 0, 0)]),
    ("Concat", [X, X], [], {"axis": 2}, Rows(1, 0, 2), [Rows(1, 0, 2)] * 2),
    ("CumSum", [X], [np.array(1)], {}, Rows(1, 0, 2), [None]),
]  # fmt: skip


def _model(op: str, shapes: Any, constants: Any, attributes: Any) -> Any:
    names = [f"x{i}" for i in range(len(shapes))]
    fixed = {f"c{i}": c for i, c in enumerate(constants)}
    node = helper.make_node(op, [*names, *fixed], ["y"], **attributes)
    inputs = [helper.make_tensor_value_info(n, 1, s) for n, s in zip(names, shapes, strict=True)]
    return load(graph_model([node], inputs, ["y"], initializers=fixed))


def _cut(x: np.ndarray, rows: Rows | None) -> np.ndarray:
    return x if rows is None else np.take(x, range(rows.start, rows.stop), axis=rows.axis)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{c[4]}")
def test_rows_that_are_needed(case: tuple[Any, ...]) -> None:
    op, shapes, constants, attributes, rows, want = case
    model = _model(op, shapes, constants, attributes)
    (node,) = Draft(model).graph.nodes
    found = needed(node, rows)[: len(shapes)]
    assert [f if f is None or f.start < f.stop else f.along(1) for f in found] == want
    rng = np.random.default_rng(0)
    xs = [rng.normal(size=s).astype(F) for s in shapes]
    others = [rng.normal(size=s).astype(F) for s in shapes]
    for x, other, kept in zip(xs, others, found, strict=True):
        if kept is None:
            other[:] = x
        else:
            index = [slice(None)] * x.ndim
            index[kept.axis] = slice(kept.start, kept.stop)
            other[tuple(index)] = x[tuple(index)]
    session = Session(model, device="cpu", threads=1)
    a, b = (session.run({f"x{i}": x for i, x in enumerate(v)})[0] for v in (xs, others))
    np.testing.assert_array_equal(_cut(a, rows), _cut(b, rows))
    if rows is not None and (passes := passed(node, rows)) is not None and op != "Reshape":
        small = [_cut(x, need) for x, need in zip(xs, passes, strict=False)]
        part = _model(op, [x.shape for x in small], constants, attributes)
        (y,) = Session(part, device="cpu").run({f"x{i}": x for i, x in enumerate(small)})
        np.testing.assert_allclose(y, _cut(a, rows), rtol=1e-5, atol=1e-6)


def test_nodes_that_pick_rows_do_not_pass_them() -> None:
    for op, shapes, constants, attributes, rows, _ in CASES:
        if op in ("Gather", "Slice", "Concat", "CumSum") and rows is not None:
            (node,) = Draft(_model(op, shapes, constants, attributes)).graph.nodes
            assert passed(node, rows) is None


def test_a_row_of_an_unknown_size_may_be_broadcast() -> None:
    """x [2, a, 6] + z [2, b, 6]: b may be 1, so nothing says which rows of z are used."""
    inputs = [
        helper.make_tensor_value_info("x", 1, [2, "a", 6]),
        helper.make_tensor_value_info("z", 1, [2, "b", 6]),
    ]
    (node,) = Draft(
        load(graph_model([helper.make_node("Add", ["x", "z"], ["y"])], inputs, ["y"]))
    ).graph.nodes
    assert passed(node, Rows(1, 0, 1)) is None
    assert needed(node, Rows(1, 0, 1)) == [None, None]


def test_rows_are_joined() -> None:
    assert joined(Rows(1, 0, 1), Rows(1, 3, 4)) == Rows(1, 0, 4)
    assert joined(Rows(1, 0, 1), Rows(2, 0, 1)) is None
    assert joined(Rows(1, 2, 3), None) is None
    assert joined(Rows(0, 0, 0), Rows(1, 2, 3)) == joined(Rows(1, 2, 3), Rows(0, 0, 0))


def test_a_split_needs_its_part() -> None:
    proto = graph_model(
        [helper.make_node("Split", ["x", "s"], ["a", "b"], axis=1)],
        [helper.make_tensor_value_info("x", 1, X)],
        ["a", "b"],
        initializers={"s": np.array([2, 3])},
    )
    (node,) = Draft(load(proto)).graph.nodes
    assert needed(node, None, 1)[0] == Rows(1, 2, 5)
    assert needed(node, Rows(1, 0, 1), 1)[0] == Rows(1, 2, 3)
    assert needed(node, Rows(2, 0, 1), 1)[0] == Rows(2, 0, 1)


def test_reach_goes_back_to_the_input() -> None:
    """The first token of relu(x), and of x W a second time: rows 0 of x, all of W."""
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["m"]),
        helper.make_node("Gather", ["m", "zero"], ["first"], axis=1),
        helper.make_node("Gather", ["r", "two"], ["third"], axis=1),
        helper.make_node("Add", ["first", "third"], ["y"]),
    ]
    inputs = [
        helper.make_tensor_value_info("x", 1, X),
        helper.make_tensor_value_info("w", 1, (6, 6)),
    ]
    constants = {"zero": np.array(0), "two": np.array(2)}
    draft = Draft(load(graph_model(nodes, inputs, ["y"], initializers=constants)))
    found = reach(draft.graph.nodes, draft.graph.outputs)
    assert found[id(draft.tensor("m"))] == Rows(1, 0, 1)
    assert found[id(draft.tensor("x"))] == Rows(1, 0, 3)
    assert found[id(draft.tensor("w"))] is None


QUANTISED = {
    "y = QLinearAdd (q, s, z, r, s, z, t, z)": (Rows(1, 1, 3), [Rows(1, 1, 3)] * 2),
    "y = QLinearMatMul (q, s, z, w, s, z, t, z)": (Rows(1, 1, 3), [Rows(1, 1, 3), None]),
    "y = QLinearSoftmax <axis = -1, opset = 20> (q, s, z, t, z)": (Rows(1, 0, 1), [Rows(1, 0, 1)]),
    "y = QLinearSoftmax <axis = 1, opset = 20> (q, s, z, t, z)": (Rows(1, 0, 1), [None]),
    "d = DequantizeLinear (q, s, z) y = QuantizeLinear (d, t, z)": (
        Rows(2, 0, 1), [Rows(2, 0, 1)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("body", QUANTISED)
def test_rows_of_operators_on_quantised_tensors(body: str) -> None:
    rows, want = QUANTISED[body]
    for name in ("QLinearAdd", "QLinearSoftmax"):
        body = body.replace(name, f"com.microsoft.{name}")
    model = parser.parse_model(f"""<ir_version: 9, opset_import: ["": 20, "com.microsoft": 1]>
      g (uint8[2,5,6] q, uint8[2,5,6] r) => (uint8[2,5,6] y)
        <float s = {{0.1}}, uint8 z = {{9}}, float t = {{0.2}}, uint8[6,6] w> {{ {body} }}""")
    rng = np.random.default_rng(0)
    weight = numpy_helper.from_array(rng.integers(0, 255, (6, 6)).astype(np.uint8), "w")
    del model.graph.value_info[:]
    model.graph.initializer.append(weight)
    loaded = load(model)
    nodes = list(Draft(loaded).graph.nodes)
    for node in reversed(nodes):
        needs = needed(node, rows)
        found = [f for f, x in zip(needs, node.inputs, strict=True) if len(x.shape or ()) > 1]
        assert found == want, node.op
    feeds = {n: rng.integers(0, 255, X).astype(np.uint8) for n in "qr"}
    moved = {n: rng.integers(0, 255, X).astype(np.uint8) for n in "qr"}
    for name, kept in zip("qr", want, strict=False):
        index = [slice(None)] * 3
        if kept is not None:
            index[kept.axis] = slice(kept.start, kept.stop)
        moved[name][tuple(index)] = feeds[name][tuple(index)]
    session = Session(loaded, device="cpu", threads=1)
    a, b = (session.run(v)[0] for v in (feeds, moved))
    np.testing.assert_array_equal(_cut(a, rows), _cut(b, rows))


FUSED = {
    "com.microsoft.BiasGelu (x, c)": [Rows(1, 0, 1), None],
    "com.microsoft.SkipLayerNormalization (x, r, c, c)": [Rows(1, 0, 1)] * 2 + [None] * 2,
    "com.microsoft.FusedMatMul (x, w)": [Rows(1, 0, 1), None],
    "com.microsoft.FusedMatMul <transA = 1> (x, v)": [Rows(2, 0, 1), None],
    "com.microsoft.FusedMatMul <transBatchA = 1> (x, u)": [None, None],
    "com.microsoft.MultiHeadAttention <num_heads = 2> (x, r, r)": [None] * 3,
}


@pytest.mark.parametrize("body", FUSED)
def test_rows_of_fused_operators(body: str) -> None:
    """Each asks for what its definition asks for; of a product whose batch is turned, for all."""
    model = parser.parse_model(f"""<ir_version: 9, opset_import: ["": 20, "com.microsoft": 1]>
      g (float[2,5,6] x, float[2,5,6] r, float[6] c, float[6,4] w, float[5,4] v, float[5,6,3] u)
      => (float[2,N,M] y) {{ y = {body} }}""")
    (node,) = Draft(load(model)).graph.nodes
    node.outputs[0].shape = [2, 5, 6]
    assert needed(node, Rows(1, 0, 1)) == FUSED[body]


def test_a_skip_normalisation_passes_its_sum() -> None:
    """The fourth output, x + r, is what the next block starts from."""
    model = parser.parse_model("""<ir_version: 9, opset_import: ["": 20, "com.microsoft": 1]>
      g (float[2,5,6] x, float[2,5,6] r, float[6] c) => (float[2,5,6] y)
      { z, , , y = com.microsoft.SkipLayerNormalization (x, r, c, c) }""")
    (node,) = Draft(load(model)).graph.nodes
    assert needed(node, Rows(1, 0, 1), 3)[:2] == [Rows(1, 0, 1)] * 2


def test_the_scale_of_a_computed_range_needs_no_rows() -> None:
    """A gradient takes it for a constant; the rows of the integers are those of x."""
    model = parser.parse_model("""<ir_version: 9, opset_import: ["": 20]>
      g (float[2,5,6] x, uint8[6,4] w) => (float[2,5,4] y)
      { q, s, z = DynamicQuantizeLinear (x) i = MatMulInteger (q, w, z)
        f = Cast <to = 1> (i) y = Mul (f, s) }""")
    draft = Draft(load(model))
    product = next(n for n in draft.graph.nodes if n.op == "MatMulInteger")
    assert needed(product, Rows(1, 2, 3))[:2] == [Rows(1, 2, 3), None]
    quantiser = next(n for n in draft.graph.nodes if n.op == "DynamicQuantizeLinear")
    assert needed(quantiser, Rows(1, 2, 3)) == [Rows(1, 2, 3)]
    assert needed(quantiser, None, 1) == needed(quantiser, None, 2) == [Rows(0, 0, 0)]
