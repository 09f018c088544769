"""Batches: arrays that hold several inputs, and models that take a certain number of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import ModelProto, helper
from support import nets

from onnxcam import Explainer, InputError
from onnxcam.cli import main

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 3, 6, 6)).astype("f4")
WEIGHTS = {
    "w": RNG.normal(size=(4, 3, 3, 3)).astype("f4"),
    "W": RNG.normal(size=(4, 5)).astype("f4"),
}


def _net(batch: Any, *, extra: bool = False) -> ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "W"], ["m" if extra else "y"]),
    ]
    inputs: dict[str, Any] = {"x": [batch, 3, 6, 6]}
    if extra:
        nodes.append(helper.make_node("Mul", ["m", "scale"], ["y"]))
        inputs["scale"] = [batch, 5]
    return nets.model(nodes, inputs, {"y": [batch, 5]}, WEIGHTS)


@pytest.mark.parametrize("method", ["gradcam", "saliency", "rise", "score-cam", "ablation-cam"])
@pytest.mark.parametrize("batch", [4, 3, "N", 1])
def test_every_batch_gives_the_maps_of_single_inputs(batch: Any, method: str) -> None:
    options: dict[str, Any] = {"parameters": {"masks": 20}} if method == "rise" else {}
    alone = Explainer(_net("N"), method, cache=False, **options)
    want = [alone(x[None]) for x in X]
    explain = Explainer(_net(batch), method, cache=False, **options)
    given: Any = X if batch != 1 else list(X[:, None])
    for found in (explain(given), explain(list(X[:, None])), [explain(x[None]) for x in X]):
        for a, b in zip(found, want, strict=True):
            np.testing.assert_allclose(a.scores, b.scores, rtol=1e-5)
            np.testing.assert_allclose(a.map, b.map, rtol=1e-4, atol=1e-6)
            assert a.tensor.shape == (3, 6, 6)


def test_a_batch_that_was_filled_is_said() -> None:
    explain = Explainer(_net(4), cache=False)
    assert explain(X[:1]).parameters["batch"] == "1 of 4, the last one repeated"
    assert all("batch" not in found.parameters for found in explain(X))


def test_several_targets_of_several_inputs() -> None:
    rows = Explainer(_net(4), cache=False)(X, [1, 2])
    assert [[e.target for e in row] for row in rows] == [[1, 2]] * 4


def test_what_else_is_fed_fills_the_batch_too() -> None:
    scale = np.arange(1, 6, dtype="f4")[None]
    one = Explainer(_net(1, extra=True), cache=False)(X[:1], extra_inputs={"scale": scale})
    four = Explainer(_net(4, extra=True), cache=False)(X[:1], extra_inputs={"scale": scale})
    np.testing.assert_allclose(four.map, one.map, rtol=1e-5)


def test_an_array_of_many_comes_in_several_runs() -> None:
    many = np.concatenate([X, X, X[:1]])
    found = Explainer(_net(4), cache=False)(many)
    assert len(found) == 9
    np.testing.assert_allclose(found[8].map, found[0].map, rtol=1e-5)


def test_a_batch_of_one_takes_one() -> None:
    with pytest.raises(InputError, match="has shape"):
        Explainer(_net(1), cache=False)(X)


def test_the_shell_writes_a_file_for_each_input_of_an_array(tmp_path: Path) -> None:
    model, array = tmp_path / "m.onnx", tmp_path / "x.npy"
    onnx.save(_net(4), model)
    np.save(array, X)
    maps = tmp_path / "maps"
    call = ["explain", str(model), str(array), "-o", str(maps), "--save-map", str(maps)]
    result = CliRunner().invoke(main, call)
    assert result.exit_code == 0, result.output
    names = sorted(p.name for p in maps.glob("*.npz"))
    assert names == [f"x-{i}.gradcam.npz" for i in range(1, 5)]
    result = CliRunner().invoke(main, [*call[:3], "-o", str(tmp_path / "one.png")])
    assert result.exit_code == 2 and "holds several inputs" in result.output


def _with_a_batch_of_one_inside() -> Any:
    """A file that says it takes any batch, and joins a token that was written for one input."""
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Concat", ["plane", "a"], ["features"], axis=1),
        helper.make_node("GlobalAveragePool", ["features"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["logits"]),
    ]
    sizes = {"kernel": (4, 2, 3, 3), "plane": (1, 1, 6, 6), "w": (5, 3)}
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=size).astype("f4") for name, size in sizes.items()}
    return nets.model(nodes, {"x": ["N", 2, 6, 6]}, {"logits": ["N", 3]}, weights)


@pytest.mark.parametrize("method", ["saliency", "rise", "integrated-gradients"])
def test_a_file_with_a_batch_of_one_inside_explains_one_after_another(method: str) -> None:
    """Exporters write it where code asks for the length of a tensor."""
    few = {"rise": {"masks": 8, "cells": 2}, "integrated-gradients": {"steps": 4}}.get(method)
    explainer = Explainer(_with_a_batch_of_one_inside(), method, device="cpu", parameters=few)
    inputs = list(np.random.default_rng(1).normal(size=(3, 1, 2, 6, 6)).astype("f4"))
    for x, found in zip(inputs, explainer(inputs, target=1), strict=True):
        np.testing.assert_allclose(found.map, explainer(x, target=1).map, rtol=1e-6)
