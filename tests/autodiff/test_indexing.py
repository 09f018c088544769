"""Operators that pick elements: repeated and negative indices, every axis, unused outputs."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from support.gradcheck import check_gradient, run
from support.rule_cases import Case, check_all, check_dtypes, check_twice
from support.variants import graph_model, node_model

from onnxcam.autodiff import vjp_model

X = (np.random.default_rng(1).permutation(60) / 16 - 1.25).reshape(3, 4, 5)
TWO = ("values", "indices")


def _ints(*values: object) -> np.ndarray:
    return np.array(values, np.int64)


def _gather(indices: object, axis: int, dtype: type = np.int64) -> Case:
    return Case("Gather", {"x": X, "i": np.array(indices, dtype)}, {"axis": axis})


CASES = {
    "gather": _gather([2, 0, 2], 0),
    "gather, axis 1": _gather([3, 1, 3, 3], 1),
    "gather, last axis": _gather([-1, 0], -1),
    "gather a matrix of indices": _gather([[0, 2], [2, -1]], 1),
    "gather a scalar": _gather(2, 1),
    "gather a negative scalar": _gather(-2, 2),
    "gather one, axis 0": _gather([1], 0),
    "gather one": _gather([-1], 1),
    "gather one in a matrix": _gather([[3]], 2),
    "gather none": _gather([], 1),
    "gather by int32": _gather([2, 0, 2], 2, np.int32),
    "gather elements": Case("GatherElements", {"x": X[0], "i": _ints([0, -1, 0], [3, 3, 1])}),
    "gather elements, axis": Case(
        "GatherElements", {"x": X[0], "i": _ints([4, -1], [1, 1], [0, 2])}, {"axis": 1}),
    "gather nd": Case("GatherND", {"x": X, "i": _ints([0, 1], [2, -1], [0, 1])}),
    "gather nd, elements": Case("GatherND", {"x": X, "i": _ints([[0, 1, 4]], [[2, 3, 0]])}),
    "gather nd, batch": Case(
        "GatherND", {"x": X, "i": _ints([[1], [1]], [[0], [-1]], [[2], [3]])}, {"batch_dims": 1}),
    "gather nd, two batches": Case(
        "GatherND", {"x": X, "i": _ints(*[[[1], [0], [4], [2]]] * 3)}, {"batch_dims": 2}),
    "compress": Case("Compress", {"x": X, "c": np.array([True, False, True])}, {"axis": 0}),
    "compress, short": Case("Compress", {"x": X, "c": np.array([False, True])}, {"axis": -1}),
    "compress all": Case("Compress", {"x": X, "c": np.arange(59) % 7 == 3}),
    "top k": Case("TopK", {"x": X, "k": _ints(2)}, outputs=TWO),
    "top k, smallest": Case("TopK", {"x": X, "k": _ints(3)}, {"axis": 1, "largest": 0}, TWO),
    "top k, unsorted": Case("TopK", {"x": X, "k": _ints(1)}, {"axis": 0, "sorted": 0}, TWO),
    "one hot": Case("OneHot", {"i": _ints(0, 2, -1, 7), "depth": np.array(4),
                               "v": np.array([0.25, 1.5])}, {"axis": 0}),
    "trilu": Case("Trilu", {"x": X}, {"upper": 1}),
    "trilu, lower": Case("Trilu", {"x": X, "k": np.array(-1)}, {"upper": 0}),
    "reverse sequence": Case("ReverseSequence", {"x": X, "n": _ints(1, 3, 2, 3)},
                             {"time_axis": 0, "batch_axis": 1}),
    "reverse sequence, other axes": Case("ReverseSequence", {"x": X, "n": _ints(4, 2, 1)},
                                         {"time_axis": 1, "batch_axis": 0}),
    "range": Case("Range", {"a": np.array(0.5), "b": np.array(4.0), "d": np.array(0.75)},
                  twice=False),
    "range backwards": Case("Range", {"a": np.array(3.0), "b": np.array(-4.25),
                                      "d": np.array(-1.5)}, twice=False),
}  # fmt: skip
NO_DTYPES = {"one hot"}  # ONNX Runtime has it for float32 alone
REPEATED = np.array([[2, 1], [0, 3], [2, 1], [0, 3], [-1, 1]], np.float32)


@pytest.mark.parametrize("name", CASES)
def test_gradient(name: str) -> None:
    check_all(CASES[name])


@pytest.mark.parametrize("name", [n for n in CASES if n not in NO_DTYPES])
def test_dtypes(name: str) -> None:
    check_dtypes(CASES[name])


@pytest.mark.parametrize("name", [n for n in CASES if CASES[n].twice])
def test_second_derivative(name: str) -> None:
    check_twice(CASES[name])


@pytest.mark.parametrize("index", [0, 1, -1, [2, 0]], ids=str)
def test_gather_where_the_axis_is_not_known(index: object) -> None:
    """One picked row goes back by Pad: its margins are computed then."""
    case = _gather(index, 1)
    check_gradient(case.model("f4"), case.cast("f4"), symbolic=True, constant=["i"], minimum=1)


def test_top_k_whose_indices_nobody_asked_for() -> None:
    case = Case("TopK", {"x": X, "k": _ints(2)}, outputs=("values", "indices"))
    model = case.model(np.float32)
    del model.graph.output[1]
    check_gradient(model, case.cast(np.float32), minimum=0.9)


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("outputs", [("y",), ("y", "first", "inverse", "counts")], ids=len)
def test_unique_gives_the_first_of_equals_the_gradient(axis: int | None, outputs: tuple) -> None:
    feeds = {"x": REPEATED}
    attributes = {} if axis is None else {"axis": axis}
    model = node_model("Unique", feeds, outputs, **attributes)
    _, first = np.unique(REPEATED, axis=axis, return_index=True)
    y = run(model, feeds)["y"]
    dy = np.arange(1, y.size + 1, dtype="f4").reshape(y.shape)
    got = run(vjp_model(model, ["x"], ["y"]), {**feeds, "ct::y": dy})["grad::x"]
    want = np.zeros_like(REPEATED)
    if axis is None:
        want.flat[first] = dy
    elif axis == 0:
        want[first] = dy
    else:
        want[:, first] = dy
    assert got.tolist() == want.tolist()


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin", "NonZero"])
def test_indices_carry_no_gradient(op: str) -> None:
    nodes = [helper.make_node(op, ["x"], ["i"]), helper.make_node("Cast", ["i"], ["y"], to=1)]
    model = graph_model(nodes, [helper.make_tensor_value_info("x", 1, [3])], ["y"])
    feeds = {"x": np.array([0.5, -1.0, 2.0], np.float32)}
    grad = vjp_model(model, ["x"], ["y"])
    y = run(model, feeds)["y"]
    assert not run(grad, {**feeds, "ct::y": np.ones_like(y)})["grad::x"].any()
