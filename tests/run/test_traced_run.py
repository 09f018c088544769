"""What a graph does not say of its tensors is found by running it, and only then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper, parser

import onnxcam
from onnxcam.analysis.layers import Asked, catalog
from onnxcam.errors import ModelError
from onnxcam.model.model import load
from onnxcam.run import traced
from onnxcam.run.session import Session
from onnxcam.run.store import Store
from onnxcam.run.traced import sized

# As exporters write a squeeze of an axis that may be 1: nothing tells the rank behind it.
BRANCH = """most = ReduceMax<keepdims=0>(a) there = Greater(most, limit)
b = If(there) <
    then_branch = one () => (float[i, j, k] less) { less = Squeeze(a, axis) },
    else_branch = two () => (float[i, j, k, l] same) { same = Identity(a) }
>"""
PLAIN = "b = Identity(a)"
HEADS = {
    "rows": "y = MatMul(flat, w3)",
    "columns": "rows = MatMul(flat, w3) y = Transpose<perm=[1, 0]>(rows)",
}


def _model(middle: str, shape: str, head: str = "rows", out: str = "m, o") -> ModelProto:
    rng = np.random.default_rng(1)
    model: ModelProto = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]> g (float[{shape}] x) => (float[{out}] y) {{
        a = Conv<pads=[1, 1, 1, 1]>(x, w1)
        {middle}
        c = Conv<pads=[1, 1, 1, 1], strides=[2, 2]>(b, w2)
        last = Relu(c)
        pooled = GlobalAveragePool(last)
        flat = Flatten(pooled)
        {HEADS[head]}
        }}"""
    )
    values = {
        "w1": rng.normal(size=(4, 3, 3, 3)).astype("f4"),
        "w2": rng.normal(size=(6, 4, 3, 3)).astype("f4"),
        "w3": rng.normal(size=(6, 5)).astype("f4"),
        "limit": np.float32(1e9),
        "axis": np.array([0]),
    }
    for name, value in values.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return model


def _x(count: int = 1) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(size=(count, 3, 16, 16)).astype("f4")


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("shape", ["1, 3, 16, 16", "n, 3, 16, 16", "n, 3, h, w"])
def test_layers_behind_an_unknown_rank_are_read(shape: str, head: str) -> None:
    model, twin = (_model(middle, shape, head) for middle in (BRANCH, PLAIN))
    unread = catalog(load(model))
    assert unread.warnings
    found, want = (onnxcam.Explainer(m, cache=False) for m in (model, twin))
    assert found.catalog.feature is not None
    assert found.catalog.feature.name == "last"
    assert not found.catalog.warnings
    reductions = [e.catalog.reduction for e in (found, want)]
    assert len({(r.batch_axis, r.class_axis) for r in reductions}) == 1
    np.testing.assert_allclose(found(_x(), 2).map, want(_x(), 2).map, rtol=1e-5, atol=1e-7)
    converted = onnxcam.convert(model, target=2)
    (inside,) = Session(converted.explained.model).run({"x": _x()}, ["onnxcam.map"])
    np.testing.assert_allclose(inside[0, 0], found(_x(), 2).map, rtol=1e-3, atol=1e-5)


def test_the_axis_of_the_batch_is_told_by_two_batches() -> None:
    model = _model(BRANCH, "n, 3, 16, 16", "columns")
    reduction = onnxcam.Explainer(model, cache=False).catalog.reduction
    assert (reduction.batch_axis, reduction.class_axis, reduction.sure) == (1, 0, True)
    maps = onnxcam.Explainer(model, cache=False)(_x(3), 2)
    alone = [onnxcam.Explainer(model, cache=False)(x[None], 2) for x in _x(3)]
    for one, other in zip(maps, alone, strict=True):
        np.testing.assert_allclose(one.map, other.map, rtol=1e-4, atol=1e-6)


def test_a_graph_that_says_it_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(_model(PLAIN, "n, 3, h, w", out="n, 5"))
    monkeypatch.setattr(traced, "Session", None)
    assert sized(model, Asked(), None) is model


def test_a_model_that_cannot_be_run_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise ModelError("no", "")

    model = load(_model(BRANCH, "n, 3, h, w"))
    monkeypatch.setattr(traced, "Session", refused)
    assert sized(model, Asked(), None) is model


def test_a_second_start_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Store(tmp_path, 1 << 24)
    first = sized(load(_model(BRANCH, "n, 3, h, w")), Asked(), kept)
    monkeypatch.setattr(traced, "Session", None)
    again = sized(load(_model(BRANCH, "n, 3, h, w")), Asked(), kept)
    assert again.light == first.light
    assert again.notes[-1].endswith("the graph does not say them")
