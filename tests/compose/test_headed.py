"""The part behind a feature layer: as small as the question allows, and the same answers."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from onnx import helper
from support import nets

from onnxcam import Explainer
from onnxcam.targets import Margin, Score

RNG = np.random.default_rng(8)
W, FC, BIAS = (RNG.normal(size=s).astype("f4") for s in ((5, 2, 1, 1), (5, 4), (4,)))
X = RNG.normal(size=(1, 2, 3, 4)).astype("f4")
A = np.maximum(np.einsum("kc,chw->khw", W[:, :, 0, 0], X[0]), 0)
NEAR = {-1: 0.25, 0: 0.5, 1: 0.25}


def _net(behind: list[Any], weights: dict[str, Any], last: str = "y") -> Any:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Relu", ["c"], ["a"]),
        *behind,
    ]  # fmt: skip
    every = {"w": W, "fc": FC, "b": BIAS, "axes": np.array([2, 3]), **weights}
    used = {name for node in nodes for name in node.input}
    own = {name: value for name, value in every.items() if name in used}
    return nets.model(nodes, {"x": ["N", 2, 3, 4]}, {last: ["N", 4]}, own)


def _explainer(proto: Any, method: str, **options: Any) -> Any:
    chosen = {"feature_layer": "a", "device": "cpu", "threads": 1, "upsampling": "none"}
    return Explainer(proto, method, **{**chosen, **options})


def _parts(explain: Any) -> Any:
    return explain._engine.of(Score())[0]._parts


MEAN = helper.make_node("ReduceMean", ["a", "axes"], ["p"], keepdims=0)
LAST: dict[str, tuple[list[Any], dict[str, Any], Any]] = {
    "Gemm": ([helper.make_node("Gemm", ["p", "fc", "b"], ["y"], alpha=2.0, beta=3.0)], {},
             lambda p: 2 * p @ FC + 3 * BIAS),
    "Gemm turned": ([helper.make_node("Gemm", ["p", "fct", "row"], ["y"], transB=1)],
                    {"fct": FC.T.copy(), "row": BIAS[None]}, lambda p: p @ FC + BIAS),
    "Gemm with one bias": ([helper.make_node("Gemm", ["p", "fc", "one"], ["y"])],
                           {"one": np.array([2], "f4")}, lambda p: p @ FC + 2),
    "Gemm without": ([helper.make_node("Gemm", ["p", "fc"], ["y"])], {}, lambda p: p @ FC),
    "MatMul": ([helper.make_node("MatMul", ["p", "fc"], ["y"])], {}, lambda p: p @ FC),
    "MatMul and Add": ([helper.make_node("MatMul", ["p", "fc"], ["m"]),
                        helper.make_node("Add", ["b", "m"], ["i"]),
                        helper.make_node("Identity", ["i"], ["y"])],
                       {}, lambda p: p @ FC + BIAS),
    "a hidden layer": ([helper.make_node("MatMul", ["p", "hidden"], ["h"]),
                        helper.make_node("Relu", ["h"], ["r"]),
                        helper.make_node("MatMul", ["r", "fc"], ["y"])],
                       {"hidden": np.tri(5, dtype="f4")},
                       lambda p: np.maximum(p @ np.tri(5), 0) @ FC),
}  # fmt: skip


@pytest.mark.parametrize("name", LAST)
def test_a_linear_end_runs_for_the_classes_asked_for(name: str) -> None:
    nodes, weights, score = LAST[name]
    explain = _explainer(_net([MEAN, *nodes], weights), "ablation-cam")
    parts = _parts(explain)
    assert [o.name for o in parts.head.model.light.graph.output] == ["onnxcam.few"]
    assert parts.start.name == "p"
    for k, found in zip((1, 3, 1), explain(X, target=[1, 3, 1]), strict=True):
        _assert_ablated(found, score, k)


@pytest.mark.parametrize("last", ["Softmax", "Sum"])
def test_another_end_gives_all_scores(last: str) -> None:
    """A sum of two products, and a softmax over all classes, are no one linear layer."""
    nodes = [MEAN, helper.make_node("MatMul", ["p", "fc"], ["m"])]
    more = [
        helper.make_node("MatMul", ["p", "other"], ["n"]),
        helper.make_node("Add", ["m", "n"], ["y"]),
    ]  # fmt: skip
    soft = [helper.make_node("Softmax", ["m"], ["y"])]
    other = np.ones((5, 4), "f4")
    proto = _net([*nodes, *(more if last == "Sum" else soft)], {"other": other})
    explain = _explainer(proto, "ablation-cam", reduction_layer="y")
    (output,) = _parts(explain).head.model.light.graph.output
    assert output.name == "onnxcam.score"

    def score(p: np.ndarray) -> np.ndarray:
        if last == "Sum":
            return p @ FC + p @ other
        powers = np.exp(p @ FC)
        return powers / powers.sum(-1, keepdims=True)

    _assert_ablated(explain(X, target=2), score, 2)


def _assert_ablated(found: Any, score: Any, k: int) -> None:
    p = A.mean((1, 2))
    y = score(p)[k]
    drops = [(y - score(np.where(np.arange(5) == c, 0, p))[k]) / abs(y) for c in range(5)]
    want = np.tensordot(drops, A, 1)
    np.testing.assert_allclose(found.signed_map, want, rtol=1e-4, atol=1e-5)


def test_a_target_of_several_scores_has_them_all() -> None:
    nodes = [MEAN, helper.make_node("MatMul", ["p", "fc"], ["y"])]
    found = _explainer(_net(nodes, {}), "ablation-cam")(X, target=Margin(0, 3))
    _assert_ablated(found, lambda p: (p @ (FC[:, 0] - FC[:, 3]))[None], 0)


FIRST = {
    "Conv": (helper.make_node("Conv", ["a", "eye"], ["i"]), np.eye(5, dtype="f4")[..., None, None]),
    "Mul": (helper.make_node("Mul", ["a", "ones"], ["i"]), np.ones((5, 1, 1), "f4")),
    "Resize": (helper.make_node("Resize", ["a", "", "twice"], ["i"]), np.array([1, 1, 2, 2], "f4")),
    "Pad": (helper.make_node("Pad", ["a", "none"], ["i"]), np.zeros(8, "i8")),
    "Reshape": (helper.make_node("Reshape", ["a", "same"], ["i"]), np.array([0, 0, 3, 4])),
}  # fmt: skip


@pytest.mark.parametrize("name", FIRST)
@pytest.mark.parametrize("method", ["ablation-cam", "recipro-cam"])
def test_a_head_may_begin_with_anything(name: str, method: str) -> None:
    """A constant of any rank stands where a pool has its axes."""
    first, constant = FIRST[name]
    constants = {each: constant for each in first.input[1:] if each}
    mean = helper.make_node("ReduceMean", ["i", "axes"], ["p"], keepdims=0)
    nodes = [first, mean, helper.make_node("MatMul", ["p", "fc"], ["y"])]
    settings = {"score": "score"} if method == "recipro-cam" else {}
    explain = _explainer(_net(nodes, constants), method, parameters=settings)
    assert _parts(explain).start.name == "a"
    found = explain(X, target=[1])[0]
    if method == "ablation-cam":
        _assert_ablated(found, lambda p: p @ FC, 1)
    else:
        plain = [MEAN, helper.make_node("MatMul", ["p", "fc"], ["y"])]
        want = _explainer(_net(plain, {}), method, parameters={"score": "score"})(X, target=[1])[0]
        np.testing.assert_allclose(found.signed_map, want.signed_map, rtol=1e-4, atol=1e-6)


AXES = helper.make_node("Constant", [], ["k"], value_ints=[-1, -2])
POOLS: dict[str, tuple[list[Any], str, Any]] = {
    "GlobalAveragePool": ([helper.make_node("GlobalAveragePool", ["a"], ["p"]),
                           helper.make_node("Flatten", ["p"], ["f"])], "p", np.mean),
    "ReduceMean": ([MEAN, helper.make_node("Identity", ["p"], ["f"])], "p", np.mean),
    "axes in a node": ([AXES, helper.make_node("ReduceMean", ["a", "k"], ["p"]),
                        helper.make_node("Flatten", ["p"], ["f"])], "p", np.mean),
    "ReduceSum": ([helper.make_node("ReduceSum", ["a", "axes"], ["f"], keepdims=0)], "f", np.sum),
    "ReduceMax": ([helper.make_node("ReduceMax", ["a", "axes"], ["f"], keepdims=0)], "a", np.max),
    "a part": ([helper.make_node("ReduceMean", ["a", "last"], ["p"], keepdims=0),
                helper.make_node("ReduceMean", ["p", "two"], ["f"], keepdims=0)], "a", np.mean),
    "used twice": ([helper.make_node("ReduceMean", ["a", "axes"], ["p"], keepdims=0),
                    helper.make_node("ReduceSum", ["a", "axes"], ["q"], keepdims=0),
                    helper.make_node("Add", ["p", "q"], ["f"])], "a",
                   lambda a, axis: a.mean(axis) + a.sum(axis)),
    "channels last": ([helper.make_node("Transpose", ["a"], ["t"], perm=[0, 2, 3, 1]),
                       helper.make_node("ReduceMean", ["t", "hw"], ["f"], keepdims=0)], "f",
                      np.mean),
}  # fmt: skip


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("score", ["score", "probability"])
def test_positions_are_weighted_in_the_pool_where_that_is_the_same(name: str, score: str) -> None:
    nodes, start, pool = POOLS[name]
    weights = {"last": np.array([3]), "two": np.array([2]), "hw": np.array([1, 2])}
    proto = _net([*nodes, helper.make_node("Gemm", ["f", "fc", "b"], ["y"])], weights)
    layer = "t" if name == "channels last" else "a"
    explain = _explainer(proto, "recipro-cam", parameters={"score": score}, feature_layer=layer)
    assert _parts(explain).start.name == start
    classes = explain(X, target=[0, 1, 2, 3])
    for i, j in np.ndindex(3, 4):
        share = np.zeros((3, 4))
        for (m, u), (n, v) in ((m, n) for m in NEAR.items() for n in NEAR.items()):
            if 0 <= i + m < 3 and 0 <= j + n < 4:
                share[i + m, j + n] = u * v
        y = pool(A * share, axis=(1, 2)) @ FC + BIAS
        want = y if score == "score" else np.exp(y) / np.exp(y).sum()
        got = [found.signed_map[i, j] for found in classes]
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


def test_a_head_takes_bounded_memory() -> None:
    """Of a layer of 32 MB, 8 copies at once at the most: what is asked about comes one by one."""
    side, channels = 512, 32
    w = RNG.normal(size=(channels, 2, 1, 1)).astype("f4")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Relu", ["c"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("ReduceMean", ["b", "axes"], ["y"], keepdims=0),
    ]  # fmt: skip
    proto = nets.model(nodes, {"x": ["N", 2, "H", "W"]}, {"y": ["N", channels]},
                       {"w": w, "axes": np.array([2, 3])})  # fmt: skip
    explain = _explainer(proto, "ablation-cam")
    x = np.ones((1, 2, side, side), "f4")
    explain(x[..., :8, :8], target=0)
    tracemalloc.start()
    try:
        explain(x, target=0)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    layer = 4 * channels * side * side
    assert most < (8 + 6) * layer
