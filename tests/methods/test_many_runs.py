"""What holds for every method that runs a model many times, found in the registry."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from support import detector_nets, nets

from onnxcam import Explainer, methods
from onnxcam.errors import UsageError
from onnxcam.targets import Detection

SAMPLED = sorted(n for n in methods.names() if methods.find(n).kind != "graph")
SLOW = {"xrai"}  # it cuts the input into segments many times over
FEW = {
    "masks": 24, "samples": 12, "steps": 6, "evaluations": 30, "designs": 8, "cells": 3,
    "regions": 6, "window": 0.4, "stride": 0.3, "concepts": 2, "orders": 6, "scales": 2,
}  # fmt: skip
SIDE = 8


def _cases(names: Sequence[str]) -> list[Any]:
    mark = pytest.mark.exhaustive
    return [pytest.param(name, marks=[mark] if name in SLOW else []) for name in names]


@pytest.fixture(scope="module", autouse=True)
def background(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("background") / "b.npy"
    np.save(file, np.random.default_rng(8).normal(size=(40, 2, SIDE, SIDE)).astype("f4"))
    _settings.cache_clear()
    FILES["background"] = str(file)


FILES: dict[str, str] = {}


@cache
def _settings(name: str) -> dict[str, Any]:
    known = {p.name for p in methods.find(name).parameters}
    found: dict[str, Any] = {key: value for key, value in FEW.items() if key in known}
    if "score" in known:
        found["score"] = "score"
    if "background" in known:
        found["background"] = FILES["background"]
    return found


def _explain(name: str, **options: Any) -> Any:
    proto, x, target = nets.cnn(size=SIDE), np.random.default_rng(3).normal(size=(2, SIDE, SIDE)), 1
    if name == "d-rise":
        proto, target = detector_nets.retinanet(), Detection(0)
        x = np.random.default_rng(3).random((3, detector_nets.SIDE, detector_nets.SIDE))
    more = {"device": "cpu", "threads": 1, "upsampling": "none", **options}
    explain: Any = Explainer(proto, name, parameters=_settings(name), **more)
    return explain(x[None].astype("f4"), target)


@cache
def _plain(name: str) -> Any:
    return _explain(name)


@pytest.mark.parametrize("name", _cases(SAMPLED))
def test_the_seed_makes_the_map_and_is_said(name: str) -> None:
    found, random = _plain(name), methods.find(name).stochastic
    np.testing.assert_array_equal(found.raw_map, _explain(name).raw_map)
    assert ("seed" in found.parameters) is random
    other = _explain(name, seed=7)
    moves = random and bool(found.standard_error.max() > 1e-6)
    assert (other.raw_map != found.raw_map).any() == moves
    assert (other.parameters.get("seed") == 7) is random


@pytest.mark.parametrize("name", SAMPLED)
def test_what_is_random_has_a_standard_error(name: str) -> None:
    found = _plain(name)
    if not methods.find(name).stochastic:
        assert found.standard_error is None
        return
    error = found.standard_error
    assert error.shape == found.signed_map.shape and np.isfinite(error).all() and (error >= 0).all()
    assert error.any() or name == "smooth-gradcam++", "behind its layer all is linear: no noise"


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", SAMPLED)
def test_batches_of_any_size_give_one_map(name: str) -> None:
    few = _explain(name, batch_size=3).raw_map
    np.testing.assert_allclose(few, _plain(name).raw_map, rtol=1e-3, atol=2e-5)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", SAMPLED)
def test_progress_is_told_and_memory_is_a_batch(name: str) -> None:
    told: list[tuple[int, int | None]] = []
    _explain(name, batch_size=2, progress=lambda *done: told.append(done))
    done = [n for n, _ in told]
    assert told and done == sorted(done)
    assert max(np.diff([0, *done])) <= max(2, done[0]), "no more than a batch at once"
    assert told[-1][1] is None or told[-1][0] <= told[-1][1] + 2


@pytest.mark.parametrize("name", _cases(SAMPLED))
def test_a_budget_gives_the_map_so_far_or_is_refused(name: str) -> None:
    assert methods.find(name).anytime
    found = _explain(name, budget=4, batch_size=2)
    assert np.isfinite(found.raw_map).all()
    if "stopped" in found.parameters:  # else that was all of it
        assert found.diagnosis[0] == "the budget of 4 runs is spent: this is the map so far"


def _stopping() -> Callable[..., None]:
    """Return what presses Ctrl-C when it is told of progress, once."""
    pressed: list[int] = []

    def press(done: int, total: int | None) -> None:
        if not pressed:
            pressed.append(done)
            signal.raise_signal(signal.SIGINT)

    return press


@pytest.mark.parametrize("name", _cases(SAMPLED))
def test_ctrl_c_gives_the_map_so_far(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxcam.run import interrupt

    monkeypatch.setattr(interrupt, "_last", [float("-inf")])  # as if the last one were long ago
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job may ignore it
    try:
        found = _explain(name, batch_size=1, progress=_stopping())
    finally:
        signal.signal(signal.SIGINT, before)
    assert found.parameters["stopped"].startswith("stopped after")
    assert found.diagnosis[0].endswith("this is the map so far")
    assert np.isfinite(found.raw_map).all() and found.raw_map.shape == _plain(name).raw_map.shape


# ---- what cannot be asked


@pytest.mark.parametrize("name", methods.names())
def test_an_unknown_parameter_is_refused_with_those_there_are(name: str) -> None:
    own = [p.name for p in methods.find(name).parameters]
    with pytest.raises(UsageError, match=re.escape(f"{name} has no parameter 'colour'")) as error:
        Explainer(nets.cnn(), name, parameters={"colour": 1}, device="cpu")
    assert all(p in str(error.value) for p in own) and (own or "t has none" in str(error.value))


@pytest.mark.parametrize("name", methods.names())
def test_a_value_that_a_parameter_cannot_have_says_what_it_may_be(name: str) -> None:
    for p in methods.find(name).parameters:
        wrong = 1 if p.kind is str else "much"
        with pytest.raises(UsageError, match=f"{p.name} is .*, and must be") as error:
            Explainer(nets.cnn(), name, parameters={p.name: wrong}, device="cpu")
        assert p.range in str(error.value) and str(p.default) in str(error.value)


@pytest.mark.parametrize("name", methods.names())
def test_a_name_that_is_nearly_right_is_meant(name: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"no method '{name}x' (did you mean '{name}")):
        methods.find(f"{name}x")


def _trees() -> Any:
    """Return a model without a gradient or a layer."""
    from onnx import helper

    node = helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1,
        nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2], nodes_featureids=[1, 0, 0],
        nodes_values=[0.5, 0.0, 0.0], nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0], nodes_hitrates=[1.0, 1.0, 1.0],
        nodes_missing_value_tracks_true=[0, 0, 0], target_treeids=[0, 0],
        target_nodeids=[1, 2], target_ids=[0, 0], target_weights=[1.0, 4.0],
    )  # fmt: skip
    x, y = (helper.make_tensor_value_info(n, 1, ["N", d]) for n, d in (("x", 4), ("y", 1)))
    graph = helper.make_graph([node], "trees", [x], [y])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize("name", methods.names())
def test_what_a_model_cannot_have_names_what_it_can(name: str) -> None:
    """Trees have no gradient and no layer: what is refused says what to do instead."""
    from onnxcam.errors import OnnxcamError

    method = methods.find(name)
    settings = {k: v for k, v in _settings(name).items() if k not in ("cells", "background")}
    x = np.array([[0.2, 0.9, 0.1, 0.4]], "f4")
    try:
        found = Explainer(_trees(), name, device="cpu", threads=1, parameters=settings)(x)
    except OnnxcamError as error:
        assert error.hint and len(str(error)) <= 700
        return
    assert not method.uses_gradient and np.isfinite(found.raw_map).all()


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", methods.names())
def test_an_input_without_its_batch_is_taken_or_the_shape_is_said(name: str) -> None:
    """No method fails in its own way where the batch dimension is missing."""
    from onnxcam.errors import OnnxcamError

    if name == "d-rise":
        return
    try:
        explain: Any = Explainer(
            nets.cnn(size=SIDE), name, device="cpu", threads=1, upsampling="none",
            parameters=_settings(name),
        )  # fmt: skip
    except OnnxcamError as error:
        assert error.hint, "the model has no such head, or is no transformer"
        return
    x = np.random.default_rng(3).normal(size=(2, SIDE, SIDE)).astype("f4")
    try:
        found = explain(x, 1)
    except OnnxcamError as error:
        assert "shape" in str(error) and error.hint
        return
    np.testing.assert_allclose(found.raw_map, explain(x[None], 1).raw_map)
