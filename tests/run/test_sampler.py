"""Methods that run a model many times: batches, seeds, sessions, layouts, and what goes wrong."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from architectures.export import export
from architectures.weights import calibrated
from click.testing import CliRunner
from onnx import helper
from support import nets
from support.token_nets import CASES, GRID, SIZE
from torch import nn

import onnxcam
from onnxcam import Explainer, methods
from onnxcam.cli import main
from onnxcam.errors import InputError, ModelError, UsageError
from onnxcam.run import sampling
from onnxcam.run.session import Session
from onnxcam.targets import Score as ClassScore

X = np.random.default_rng(5).normal(size=(3, 2, 6, 6)).astype("f4")
SMALL: dict[str, dict[str, Any]] = {
    "smoothgrad": {"samples": 7},
    "integrated-gradients": {"steps": 7},
    "vargrad": {"samples": 7},
    "expected-gradients": {"samples": 7},
    "deeplift-shap": {"samples": 7},
    "layer-deeplift-shap": {"samples": 7},
    "layer-expected-gradients": {"samples": 7},
    "guided-integrated-gradients": {"steps": 4},
    "smooth-gradcam++": {"samples": 5},
    "squaregrad": {"samples": 7},
    "blur-integrated-gradients": {"steps": 4},
    "conductance": {"steps": 4},
    "internal-influence": {"steps": 4},
    "sess": {"scales": 2},
    "shapley-sampling": {"orders": 3, "regions": 9},
    "rise": {"masks": 13, "cells": 3},
    "score-cam": {},
    "ablation-cam": {},
    "dff": {"concepts": 3},
    "craft": {"concepts": 3, "designs": 4},
    "occlusion": {"window": 2, "stride": 2},
    "feature-ablation": {"regions": 9},
    "lime": {"samples": 40, "regions": 9},
    "kernel-shap": {"samples": 40, "regions": 9},
    "sobol": {"designs": 4, "cells": 3},
    "hsic": {"samples": 13, "cells": 3},
    "ss-cam": {"samples": 2},
    "is-cam": {"steps": 2},
    "recipro-cam": {"around": "single"},
    "aise": {"evaluations": 5},
    "sufficient-region": {"cells": 3},
    "contrastive-region": {"cells": 3},
}
# Regions that take their time, a background, a detector: each has tests of its own.
ONCE = {"xrai", "feature-permutation", "d-rise"}


def _explainer(name: str, proto: Any = None, **options: Any) -> Explainer:
    chosen = {"parameters": SMALL[name], "upsampling": "none", "device": "cpu", "threads": 1}
    return Explainer(proto or nets.cnn(), name, **{**chosen, **options})


def _close(got: Any, want: Any) -> None:
    scale = np.abs(want.signed_map).max()
    np.testing.assert_allclose(got.signed_map, want.signed_map, rtol=1e-4, atol=1e-5 * scale)
    if want.standard_error is not None:
        top = want.standard_error.max()
        np.testing.assert_allclose(got.standard_error, want.standard_error, atol=1e-4 * top)


def test_every_kind_has_its_seat() -> None:
    assert {methods.find(name).kind for name in SMALL} == {"repeated", "sampling", "head"}
    assert {m for m in methods.names() if methods.find(m).kind != "graph"} == {*SMALL, *ONCE}


@pytest.mark.parametrize("name", SMALL)
def test_the_size_of_batches_changes_nothing(name: str) -> None:
    want = _explainer(name, batch_size=1)(X[:1])
    for size in (2, 4, 100):
        _close(_explainer(name, batch_size=size)(X[:1]), want)


@pytest.mark.parametrize("name", SMALL)
def test_a_fixed_batch_of_one(name: str) -> None:
    _close(_explainer(name, nets.cnn(batch=1))(X[:1]), _explainer(name)(X[:1]))


@pytest.mark.parametrize("name", SMALL)
def test_many_inputs_and_targets_equal_single_ones(name: str) -> None:
    explain = _explainer(name)
    several = explain([x[None] for x in X], target=[2, None, 0])
    for x, row in zip(X, several, strict=True):
        for target, found in zip([2, None, 0], row, strict=True):
            alone = _explainer(name)(x[None], target=target)
            assert alone.target == found.target
            _close(found, alone)


@pytest.mark.parametrize("name", SMALL)
def test_a_top_class_is_that_of_the_input_itself(name: str) -> None:
    explain = _explainer(name)
    found = explain(X[:1])
    scores = Session(nets.cnn(), device="cpu").run({"x": X[:1]})[0][0]
    assert found.target == scores.argmax()
    np.testing.assert_allclose(found.scores, scores, rtol=1e-5)
    _close(found, explain(X[:1], target=int(scores.argmax())))


@pytest.mark.parametrize("name", ["rise", "smoothgrad"])
def test_a_seed_makes_the_map(name: str) -> None:
    first, again, other = (_explainer(name, seed=s)(X[:1]) for s in (4, 4, 5))
    np.testing.assert_array_equal(first.map, again.map)
    np.testing.assert_array_equal(first.standard_error, again.standard_error)
    assert np.abs(first.map - other.map).max() > 0.01 * np.abs(first.map).max()
    assert first.parameters["seed"] == 4 and other.parameters["seed"] == 5
    said = json.loads(json.dumps(first.as_dict()))
    assert said["parameters"] == {**methods.find(name).settings(SMALL[name]), "seed": 4,
                                  "upsampling": "none"}  # fmt: skip
    assert said["map"]["standard_error"] > 0


@pytest.mark.parametrize("seed", [-1, 1.5, True, "3"])
def test_a_seed_is_a_whole_number(seed: Any) -> None:
    with pytest.raises(UsageError, match="no whole number"):
        _explainer("rise", seed=seed)


def test_the_standard_error_is_saved(tmp_path: Path) -> None:
    found = _explainer("rise")(X[:1])
    found.save(tmp_path / "map.npz")
    saved = np.load(tmp_path / "map.npz")
    np.testing.assert_array_equal(saved["standard_error"], found.standard_error)
    _explainer("score-cam")(X[:1]).save(tmp_path / "map.npz")
    assert "standard_error" not in np.load(tmp_path / "map.npz")


def test_a_map_of_mere_noise_is_said_to_be() -> None:
    found = _explainer("rise", parameters={"masks": 2})(X[:1])
    assert any("noisy: the standard error is" in said for said in found.diagnosis)
    found = _explainer("rise", parameters={"masks": 3000})(X[:1])
    assert not any("noisy" in said for said in found.diagnosis)


def test_a_zero_gradient_is_said_to_be() -> None:
    found = _explainer("smoothgrad", _saturated())(np.full((1, 2, 2, 2), -9, "f4"))
    assert any("gradient is zero" in said for said in found.diagnosis)


def _saturated() -> Any:
    return nets.one_by_one()  # relu(x), and x is far below 0


# ---- what is run, and how often


@pytest.mark.parametrize("name", SMALL)
def test_sessions_are_made_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Counted(Session):
        def __init__(self, *args: Any, **options: Any) -> None:
            made.append(args)
            super().__init__(*args, **options)

    monkeypatch.setattr(sampling, "Session", Counted)
    explain = _explainer(name)
    explain([x[None] for x in X], target=[0, 1])
    explain(X[:1])
    assert len(made) == (2 if methods.find(name).kind == "head" else 1)


@pytest.mark.parametrize("name", SMALL)
def test_runs_are_counted_and_bounded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No run is larger than asked, and progress says how many there were."""
    sizes, told = [], []
    run = Session.run

    def watched(self: Session, feeds: Any, outputs: Any = None) -> Any:
        sizes.append(max(len(v) for k, v in feeds.items() if k != "onnxcam.target"))
        return run(self, feeds, outputs)

    monkeypatch.setattr(Session, "run", watched)
    found = _explainer(name, batch_size=3, progress=lambda *said: told.append(said))(X[:1])
    assert max(sizes) <= 3
    channels = 4
    made = {
        "score-cam": channels, "ablation-cam": channels, "ss-cam": 2 * channels,
        "is-cam": 2 * channels, "occlusion": 10, "sobol": 4 * 10, "recipro-cam": 36,
        "craft": 4 * (3 + 1), "aise": 2 + 3 * 2 * 5,
        "feature-ablation": int(found.parameters.get("parts", 0)) + 1,
        "conductance": 4 + 1, "layer-expected-gradients": 2 * 7,
        "shapley-sampling": 3 * int(found.parameters.get("parts", 0)) - 1,
    }  # fmt: skip
    if name.endswith("-region"):  # a search: nobody knows how long it takes
        assert {total for _, total in told} == {None}
        return
    if name == "sess":  # the first of five windows, all of them, the other of the better half
        assert {total for _, total in told} == {1 + 5 + 1} == {told[-1][0]}
        return
    count = made.get(name) or next(iter(SMALL[name].values()))
    assert {total for _, total in told} == {count}
    done = [n for n, _ in told]
    assert done == sorted(done) and count <= done[-1] <= count + 2


def test_inputs_are_made_while_they_are_run() -> None:
    """Of a million masks none is kept: as many as a batch holds are there at once."""
    waiting, most = 0, 0

    def made() -> Any:
        nonlocal waiting, most
        for _ in range(50):
            waiting += 1
            most = max(most, waiting)
            yield X[0]

    explain = _explainer("rise", batch_size=4)
    from onnxcam.methods.needs import Score

    _, probe = explain._engine.of(ClassScore())[0].estimate(X[:1], [0], {})
    for _ in probe.value(Score)(made()):
        waiting -= 1
    assert most == 4


def test_a_head_is_what_lies_behind_the_layer() -> None:
    runner: Any = _explainer("ablation-cam")._engine.of(ClassScore())[0]
    ops = [node.op_type for node in runner._parts.head.model.light.graph.node]
    assert "Conv" not in ops and "Gemm" in ops
    assert runner.gradient == "not used" and _explainer("smoothgrad").gradient == "exact"


@pytest.mark.parametrize(("pool", "start"), [
    ({"op_type": "GlobalAveragePool"}, "p"), ({"op_type": "ReduceMean", "keepdims": 1}, "p"),
    ({"op_type": "ReduceMax", "keepdims": 0}, "p"), ({"op_type": "LpPool"}, "a"),
])  # fmt: skip
@pytest.mark.parametrize("twice", [False, True])
def test_channels_are_left_out_behind_their_pool(pool: Any, start: str, twice: bool) -> None:
    """A channel of 0 has a pool of 0: only what lies behind runs, unless more uses the layer."""
    kind = pool["op_type"]
    inputs = ["a", "axes"] if kind.startswith("Reduce") else ["a"]
    size = {"kernel_shape": [6, 6]} if kind == "LpPool" else {}
    more = {k: v for k, v in pool.items() if k != "op_type"}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["a"]),
        helper.make_node(kind, inputs, ["p"], **more, **size),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("ReduceSum", ["a", "axes"], ["q"], keepdims=0),
        helper.make_node("Add", ["f", "q"] if twice else ["f", "zero"], ["g"]),
        helper.make_node("MatMul", ["g", "fc"], ["y"]),
    ]
    if not twice:
        del nodes[4]
    rng = np.random.default_rng(2)
    w, fc = (rng.normal(size=s).astype("f4") for s in ((4, 2, 1, 1), (4, 3)))
    weights = {"w": w, "fc": fc, "axes": np.array([2, 3]), "zero": np.zeros(4, "f4")}
    if inputs == ["a"] and not twice:
        del weights["axes"]
    proto = nets.model(nodes, {"x": ["N", 2, 6, 6]}, {"y": ["N", 3]}, weights)
    explain = _explainer("ablation-cam", proto, feature_layer="a", batch_size=2)
    assert explain._engine.of(ClassScore())[0]._parts.start.name == ("a" if twice else start)
    found = explain(X[:1], target=1)
    a = np.maximum(np.einsum("kc,chw->khw", w[:, :, 0, 0], X[0]), 0)
    pools = {"ReduceMax": a.max((1, 2)), "LpPool": np.sqrt((a**2).sum((1, 2)))}
    z = pools.get(kind, a.mean((1, 2))) + (a.sum((1, 2)) if twice else 0)
    drops = z * fc[:, 1] / abs(z @ fc[:, 1])
    np.testing.assert_allclose(found.signed_map, np.tensordot(drops, a, 1), rtol=1e-3, atol=1e-5)


def test_a_head_gets_what_goes_round_the_layer() -> None:
    """A residual block: what channel k adds to the score is left out, the rest stays."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[1, 1]),
        helper.make_node("Relu", ["c"], ["a"]),
        helper.make_node("Add", ["a", "c"], ["s"]),
        helper.make_node("ReduceSum", ["s", "axes"], ["y"], keepdims=0),
    ]
    w = np.random.default_rng(1).normal(size=(3, 2, 1, 1)).astype("f4")
    weights = {"w": w, "axes": np.array([2, 3])}
    proto = nets.model(nodes, {"x": ["N", 2, 6, 6]}, {"y": ["N", 3]}, weights)
    found = _explainer("ablation-cam", proto, feature_layer="a", batch_size=2)(X[:1], target=1)
    c = np.einsum("kc,chw->khw", w[:, :, 0, 0], X[0])
    a = np.maximum(c, 0)
    drop = np.array([0, a[1].sum(), 0]) / abs((a + c)[1].sum())
    np.testing.assert_allclose(found.signed_map, np.tensordot(drop, a, 1), rtol=1e-4, atol=1e-6)


def test_a_head_that_uses_the_shape_of_the_input() -> None:
    """Its batch is that of the runs, not of the one input."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["a"]),
        helper.make_node("ReduceMean", ["a", "axes"], ["p"], keepdims=0),
        helper.make_node("Shape", ["x"], ["shape"], end=2),
        helper.make_node("Reshape", ["p", "shape"], ["y"]),
    ]
    weights = {"w": np.eye(2, dtype="f4")[:, :, None, None], "axes": np.array([2, 3])}
    proto = nets.model(nodes, {"x": ["N", 2, 6, 6]}, {"y": ["N", 2]}, weights)
    found = _explainer("ablation-cam", proto, feature_layer="a", batch_size=2)(X[:1], target=1)
    np.testing.assert_allclose(found.map, np.maximum(X[0, 1], 0), rtol=1e-5)


# ---- layouts


def _channels_last() -> Any:
    """nets.cnn() with its input as [N, H, W, C]."""
    proto = nets.cnn()
    proto.graph.input[0].CopyFrom(
        helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, ["N", 6, 6, 2])
    )
    proto.graph.node.insert(0, helper.make_node("Transpose", ["z"], ["x"], perm=[0, 3, 1, 2]))
    return proto


@pytest.mark.parametrize("name", SMALL)
def test_channels_may_come_last(name: str) -> None:
    x = np.ascontiguousarray(X[:1].transpose(0, 2, 3, 1))
    _close(_explainer(name, _channels_last())(x), _explainer(name)(X[:1]))


def _sound() -> Any:
    """[N, W], no channels: Conv, Relu, mean."""
    nodes = [
        helper.make_node("Unsqueeze", ["x", "one"], ["u"]),
        helper.make_node("Conv", ["u", "w"], ["c"], kernel_shape=[1]),
        helper.make_node("Relu", ["c"], ["a"]),
        helper.make_node("ReduceMean", ["a", "two"], ["y"], keepdims=0),
    ]
    w = np.array([[[-3]], [[2]]], "f4")
    weights = {"one": np.array([1]), "two": np.array([2]), "w": w}
    return nets.model(nodes, {"x": ["N", 4]}, {"y": ["N", 2]}, weights)


def test_an_input_without_channels() -> None:
    x = np.array([[1, -1, 2, -2]], "f4")
    found = _explainer("integrated-gradients", _sound(), parameters={"steps": 3})(x, target=0)
    np.testing.assert_allclose(found.map, [0, 0.75, 0, 1.5], atol=1e-6)
    for name in SMALL:
        cells = {"sobol": 3, "hsic": 3}.get(name, 4)  # the map is one of cells, not enlarged here
        assert _explainer(name, _sound())(x, target=1).map.shape == (cells,)


@cache
def _vit() -> tuple[Any, Any, torch.Tensor]:
    x = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    net: Any = calibrated(CASES["registers"].make(), x, seed=2)
    return net, export(_Pair(net).eval(), x, dynamo=False, feature=False), x


class _Pair(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
        return self.net(x), None


def test_ablation_of_tokens_leaves_the_class_token_out_too() -> None:
    net, proto, x = _vit()
    token = CASES["registers"]
    layer = net.blocks[-1].norm1 if token.last else net.norm
    kept: list[torch.Tensor] = []
    with torch.no_grad():
        hook = layer.register_forward_hook(lambda m, i, o: kept.append(o.clone()))
        y = net(x[:1])[0, 1]
        hook.remove()
        weights = []
        for channel in range(kept[0].shape[-1]):
            off = torch.ones(kept[0].shape[-1])
            off[channel] = 0
            hook = layer.register_forward_hook(lambda m, i, o, off=off: o * off)
            weights.append((y - net(x[:1])[0, 1]) / y.abs())
            hook.remove()
    grid = kept[0][0, token.before :].unflatten(0, GRID)
    want = (grid * torch.stack(weights)).sum(-1).numpy()
    found = _explainer("ablation-cam", proto, batch_size=5)(x[:1].numpy(), target=1)
    assert np.linalg.norm(found.signed_map - want) <= 1e-4 * np.linalg.norm(want)


def test_whole_numbers_can_be_hidden_and_have_the_gradient_behind_their_cast() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=1),
        helper.make_node("Conv", ["f", "w"], ["a"]),
        helper.make_node("GlobalAveragePool", ["a"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    weights = {"w": np.ones((2, 3, 1, 1), "f4")}
    proto = nets.model(nodes, {"x": [1, 3, 4, 4]}, {"y": [1, 2]}, weights)
    proto.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    x = np.full((1, 3, 4, 4), 200, np.uint8)
    found = _explainer("rise", proto, parameters={"masks": 40, "score": "score"})(x)
    assert 100 < found.map.mean() < 1000
    slope = _explainer("smoothgrad", proto, parameters={"samples": 3})(x)
    np.testing.assert_allclose(slope.map, np.full((4, 4), 1 / 16), rtol=1e-6)


# ---- what goes wrong


def test_a_model_that_mixes_its_inputs_up() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("ReduceMean", ["c", "axes"], ["m"], keepdims=1),
        helper.make_node("Reshape", ["m", "flat"], ["y"]),
    ]
    weights = {
        "w": np.ones((2, 2, 1, 1), "f4"), "axes": np.array([2, 3]), "flat": np.array([1, -1]),
    }  # fmt: skip
    proto = nets.model(nodes, {"x": ["N", 2, 6, 6]}, {"y": [1, "K"]}, weights)
    with pytest.raises(ModelError, match="8 inputs became 1 row of.*batch_size=1"):
        _explainer("rise", proto, reduction_layer="y")(X[:1])


def test_an_array_of_several_inputs_is_explained_one_by_one() -> None:
    explainer = _explainer("rise")
    found = explainer(X)
    assert isinstance(found, list) and len(found) == len(X) == 3
    for one, x in zip(found, X, strict=True):
        np.testing.assert_allclose(one.map, explainer(x[None]).map, rtol=1e-4, atol=1e-6)


def test_scores_that_are_not_finite_are_the_inputs_fault() -> None:
    """Of many inputs the others are still explained."""
    bad = np.full_like(X[:1], 3e38)
    good, failed = (found for _, found in _explainer("rise").stream([X[:1], bad]))
    assert good.map.any()
    assert isinstance(failed, InputError) and "not finite" in str(failed)


def test_no_such_class() -> None:
    with pytest.raises(UsageError, match="class index 7 is out of range"):
        _explainer("rise")(X[:1], target=7)


def test_what_cannot_be_written_into_a_file() -> None:
    for name in set(SMALL) - set(methods.convertible()):
        with pytest.raises(
            UsageError, match=f"{re.escape(name)} cannot be written.*convert with one of .*cam"
        ):
            onnxcam.convert(nets.cnn(), method=name)


# ---- from the shell


@pytest.fixture
def call(tmp_path: Path) -> list[str]:
    np.save(tmp_path / "x.npy", X[:1])
    onnx.save(nets.cnn(), str(tmp_path / "m.onnx"))
    paths = [str(tmp_path / "m.onnx"), str(tmp_path / "x.npy"), "-o", str(tmp_path / "map.npz")]
    return ["explain", *paths, "--device", "cpu"]


@pytest.mark.parametrize("name", SMALL)
def test_the_shell_says_what_python_says(name: str, call: list[str], tmp_path: Path) -> None:
    given = [word for key, value in SMALL[name].items() for word in (f"--{key}", str(value))]
    done = CliRunner().invoke(main, [*call, "--method", name, "--seed", "8", *given, "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)["explanations"][0]
    want = _explainer(name, seed=8, upsampling="bicubic")(X[:1])
    assert said["parameters"] == dict(want.parameters)
    np.testing.assert_array_equal(np.load(tmp_path / "map.npz")["map"], want.map)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--method", "rise", "--masks", "1"], "masks is 1, and must be a whole number"),
        (["--masks", "5"], "gradcam has no parameter 'masks'"),
        (["--method", "rise", "--masks", "many"], "'many' is not a valid integer"),
        (["--method", "rise", "--score", "both"], "'both' is not one of"),
    ],
)
def test_the_shell_refuses_what_is_out_of_range(
    given: list[str], words: str, call: list[str]
) -> None:
    done = CliRunner().invoke(main, [*call, *given])
    assert done.exit_code == 2 and words in done.output


def test_every_parameter_is_an_option() -> None:
    page = CliRunner().invoke(main, ["explain", "--help"]).output
    for method in map(methods.find, methods.names()):
        for parameter in method.parameters:
            assert f"--{parameter.name} " in page


def test_a_bar_shows_the_runs(call: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.progress import Progress

    seen = []
    update = Progress.update

    def watched(self: Any, task: Any, **state: Any) -> None:
        seen.append((state["completed"], state["total"]))
        update(self, task, **state)

    monkeypatch.setattr(Progress, "update", watched)
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    done = CliRunner().invoke(main, [*call, "--method", "rise", "--masks", "20"])
    assert done.exit_code == 0, done.output
    assert seen[-1] == (20, 20) and len(seen) >= 3


def test_the_shell_says_all_of_a_method() -> None:
    done = CliRunner().invoke(main, ["methods", "rise", "cam"])
    for name in ("rise", "cam"):
        method = methods.find(name)
        for text in (
            method.claim,
            method.limits,
            method.cite,
            *(p.help for p in method.parameters),
        ):
            assert text.split(";")[0][:60] in done.output
    (said, *_) = json.loads(CliRunner().invoke(main, ["methods", "rise", "--json"]).stdout)
    assert said["kind"] == "sampling" and said["cost"] == "masks" and said["claim"]
    assert said["parameters"][0]["range"] == "2 to 10,000,000"
    assert CliRunner().invoke(main, ["methods", "rice"]).exit_code == 2
