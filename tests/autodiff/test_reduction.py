"""Reductions: over any axes, given in any way; softmax and norms; ties, zeros, empty axes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper
from support.gradcheck import check_gradient, run
from support.rule_cases import Case, check_all, check_dtypes, check_old, check_twice
from support.variants import graph_model, node_model, symbolic

from onnxcam.autodiff import vjp_model
from onnxcam.model.model import Model
from onnxcam.model.weights import Weights

RNG = np.random.default_rng(5)
SIGNED = (RNG.permutation(24) / 8 - 1.4375).reshape(2, 3, 4)  # no zeros, no ties
POSITIVE = (RNG.permutation(24) / 16 + 0.375).reshape(2, 3, 4)
KINDS = ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp")
AXES = {
    "one axis": ([1], 1, 0),
    "two axes": ([0, 2], 1, 0),
    "negative axis": ([-1], 1, 0),
    "dropped": ([1], 0, 0),
    "two dropped": ([2, 0], 0, 0),
    "all": (None, 1, 0),
    "all dropped": (None, 0, 0),
    "no axes: nothing": ([], 0, 1),
    "no axes: everything": ([], 0, 0),
}


def _reduce(kind: str, axes: list[int] | None, keepdims: int, noop: int) -> Case:
    x = POSITIVE if kind in ("LogSum", "Prod") else SIGNED
    feeds = {"x": x, "axes": None if axes is None else np.array(axes, np.int64)}
    attributes = {"keepdims": keepdims}
    if noop:
        attributes["noop_with_empty_axes"] = 1
    return Case(f"Reduce{kind}", feeds, attributes)


CASES = {
    f"{kind}, {name}": _reduce(kind, *how) for kind in KINDS for name, how in AXES.items()
} | {
    **{
        f"{op}, axis {axis}": Case(op, {"x": SIGNED}, {"axis": axis})
        for op in ("Softmax", "LogSoftmax") for axis in (-1, 0, 1)
    },
    **{
        f"LpNormalization {p}, axis {axis}": Case(
            "LpNormalization", {"x": SIGNED}, {"p": p, "axis": axis})
        for p in (1, 2) for axis in (-1, 0, 1)
    },
}  # fmt: skip
OLD = {  # what is an attribute in old opsets, or means something else
    "softmax 11, axis 1": Case("Softmax", {"x": SIGNED}, {"axis": 1}, opset=11),
    "softmax 11, axis 0": Case("Softmax", {"x": SIGNED}, {"axis": 0}, opset=11),
    "softmax 7, last axis": Case("Softmax", {"x": SIGNED}, {"axis": 2}, opset=7),
    "log softmax 11": Case("LogSoftmax", {"x": SIGNED}, opset=11),
    **{f"{kind} 11": Case(f"Reduce{kind}", {"x": POSITIVE}, {"axes": [0, -1], "keepdims": 0},
                          opset=11) for kind in KINDS},
    "Max 17": Case("ReduceMax", {"x": SIGNED}, {"axes": [1]}, opset=17),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_gradient(name: str) -> None:
    check_all(CASES[name])


@pytest.mark.parametrize("name", [f"{k}, {n}" for k in KINDS for n in ("two dropped", "all")]
                         + [n for n in CASES if not n.startswith(KINDS)])  # fmt: skip
def test_dtypes(name: str) -> None:
    check_dtypes(CASES[name])


@pytest.mark.parametrize("name", [n for n in CASES if "two" in n or not n.startswith(KINDS)])
def test_second_derivative(name: str) -> None:
    check_twice(CASES[name])


@pytest.mark.parametrize("name", OLD)
@pytest.mark.parametrize("keep", [False, True])
def test_old_opsets(name: str, keep: bool) -> None:
    """The reference evaluator has no old Softmax: the oracle is the raised model."""
    case = OLD[name]
    if "soft" not in name:
        check_old(case, keep=keep)
        return
    feeds = case.cast(np.float32)
    model = case.model(np.float32)
    model.ir_version = 7
    got, want = (run(vjp, _with_cotangent(feeds)) for vjp in _old_and_raised(model))
    np.testing.assert_allclose(got["grad::x"], want["grad::x"], atol=1e-6)


def _old_and_raised(model):
    old = Model(onnx.shape_inference.infer_shapes(model), Weights(), "")
    return vjp_model(old, ["x"], ["y"]), vjp_model(model, ["x"], ["y"])


def _with_cotangent(feeds):
    return {**feeds, "ct::y": np.cos(np.arange(24, dtype="f4").reshape(2, 3, 4))}


@pytest.mark.parametrize("axes", [None, [-1, 0], [1]], ids=str)
@pytest.mark.parametrize("forget", [False, True])
def test_mean_variance_normalization(axes: list[int] | None, forget: bool) -> None:
    """In single precision: ONNX's definition of it holds constants of that."""
    feeds = {"x": SIGNED[..., None].astype("f4") if axes is None else SIGNED.astype("f4")}
    model = node_model("MeanVarianceNormalization", feeds, **({"axes": axes} if axes else {}))
    model.graph.output[0].CopyFrom(model.graph.input[0])
    model.graph.output[0].name = "y"
    assert check_gradient(model, feeds, symbolic=forget, minimum=1).runtime


def test_a_constant_has_no_variance_and_gradient_zero() -> None:
    feeds = {"x": np.full((1, 1, 2, 2), 3, np.float32)}
    model = node_model("MeanVarianceNormalization", feeds)
    model.graph.output[0].CopyFrom(model.graph.input[0])
    model.graph.output[0].name = "y"
    grad = vjp_model(model, ["x"], ["y"])
    got = run(grad, {**feeds, "ct::y": np.full((1, 1, 2, 2), 2, "f4")})["grad::x"]
    assert not got.any()


@pytest.mark.parametrize("kind", ["Max", "Min"])
def test_ties_share_evenly(kind: str) -> None:
    feeds = {"x": np.array([[1, 1, 1, 0], [2, 3, 2, 2]], np.float32)}
    feeds["x"] *= 1 if kind == "Max" else -1
    model = node_model(f"Reduce{kind}", {**feeds, "axes": np.array([1])}, keepdims=0)
    grad = vjp_model(model, ["x"], ["y"])
    got = run(grad, {**feeds, "axes": np.array([1]), "ct::y": np.array([3, 5], "f4")})
    assert got["grad::x"].tolist() == [[1, 1, 1, 0], [0, 5, 0, 0]]


@pytest.mark.parametrize("zeros", [[0], [0, 1], [1, 2, 3]], ids=str)
def test_prod_is_exact_at_zeros(zeros: list[int]) -> None:
    x = POSITIVE[:, :, :].copy()
    x[0, 1, zeros] = 0
    case = Case("ReduceProd", {"x": x, "axes": np.array([2])})
    case.check()
    if len(zeros) == 1:
        check_twice(case)


@pytest.mark.parametrize("op,attributes", [("ReduceL1", {}), ("ReduceL2", {}),
                                           ("LpNormalization", {"p": 1}),
                                           ("LpNormalization", {"p": 2})])  # fmt: skip
def test_the_zero_vector_has_gradient_zero(op: str, attributes: dict) -> None:
    feeds = {"x": np.zeros((1, 3), np.float32)}
    model = node_model(op, feeds, **attributes)
    y = run(model, feeds)["y"]
    got = run(vjp_model(model, ["x"], ["y"]), {**feeds, "ct::y": np.ones_like(y)})
    assert got["grad::x"].tolist() == [[0, 0, 0]]


def test_mean_of_many_half_precision_numbers() -> None:
    """65504 is where float16 ends: the number of elements must not be counted in it."""
    feeds = {"x": np.ones((1, 70000), np.float16)}
    model = symbolic(node_model("ReduceMean", feeds))
    got = run(vjp_model(model, ["x"], ["y"]), {**feeds, "ct::y": np.full((1, 1), 1000, "f2")})
    np.testing.assert_allclose(got["grad::x"], 1000 / 70000, rtol=2e-3)


def test_softmax_whose_nan_the_model_replaces_keeps_other_gradients() -> None:
    """Attention of a row whose keys are all masked: NaN in the softmax, 0 behind it."""
    nodes = [
        helper.make_node("Add", ["x", "mask"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["raw"]),
        helper.make_node("IsNaN", ["raw"], ["bad"]),
        helper.make_node("Where", ["bad", "zero", "raw"], ["p"]),
        helper.make_node("MatMul", ["p", "v"], ["y"]),
    ]
    feeds = {"x": SIGNED[0].astype("f4"), "mask": np.zeros((3, 4), "f4"),
             "v": SIGNED[1].T.astype("f4")}  # fmt: skip
    feeds["mask"][1] = -np.inf
    inputs = [helper.make_tensor_value_info(k, 1, v.shape) for k, v in feeds.items()]
    model = graph_model(nodes, inputs, ["y"], initializers={"zero": np.zeros((), "f4")})
    report = check_gradient(model, feeds, wrt=["x", "v"], minimum=1)
    assert report.compared == 24
