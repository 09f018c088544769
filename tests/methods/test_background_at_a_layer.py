"""A background at a layer: by hand, by sums, against Captum, in a file, and what is refused."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from methods.test_deeplift import SIZE, _exported, _net
from methods.test_relevance_of_layers import PICTURE, TEXT
from onnx import helper, parser
from support import nets
from support.peer_packages import captum_attr
from torch import nn

import onnxcam
from onnxcam import Explainer
from onnxcam.errors import InputError, UnsupportedOp, UsageError
from onnxcam.run.session import Session

NAMES = ("layer-deeplift-shap", "layer-expected-gradients")
X = torch.randn(SIZE, generator=torch.Generator().manual_seed(1))
OTHERS = torch.randn((5, *SIZE[1:]), generator=torch.Generator().manual_seed(2))
NET = _net(nn.AvgPool2d)
LAYERS = {2: "/2/Relu_output_0", 5: "/5/Tanh_output_0", 6: "/6/AveragePool_output_0"}
PEER = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]


def _found(proto: Any, name: str, layer: str, x: Any, target: int = 2, **settings: Any) -> Any:
    explain: Any = Explainer(
        proto, name, feature_layer=layer, parameters=settings, device="cpu", threads=1,
        upsampling="none", seed=3,
    )  # fmt: skip
    return explain(np.asarray(x), target)


def _close(got: np.ndarray, want: np.ndarray, limit: float = 1e-3) -> None:
    assert np.linalg.norm(got - want) <= limit * np.linalg.norm(want)


@pytest.fixture
def background(tmp_path: Path) -> str:
    np.save(tmp_path / "b.npy", OTHERS.numpy())
    return str(tmp_path / "b.npy")


@pytest.mark.parametrize("layer", [pytest.param(n, marks=PEER) for n in LAYERS])
def test_deeplift_shap_is_captums(layer: int, background: str) -> None:
    proto, net = _exported(NET, X), deepcopy(NET)
    peer = captum_attr().LayerDeepLiftShap(net, net[layer])
    for one in X:
        want = peer.attribute(one[None], baselines=OTHERS, target=2)[0].detach().numpy()
        found = _found(proto, NAMES[0], LAYERS[layer], one[None], background=background)
        _close(found.relief, want)
        _close(found.signed_map, want.sum(0))


@pytest.mark.parametrize("layer", [pytest.param(n, marks=PEER) for n in LAYERS])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_expected_gradients_are_captums_of_the_same_draws(
    layer: int, noise: float, background: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    proto, net, one, count = _exported(NET, X), deepcopy(NET), X[0].numpy(), 16
    rng, spread = np.random.default_rng(3), noise * float(X[0].max() - X[0].min())
    rows, ends, parts = [], [], []
    for _ in range(count):
        rows.append(rng.integers(len(OTHERS)))
        ends.append(one + spread * rng.standard_normal(one.shape) if noise else one)
        parts.append(rng.random())
    captum_attr()
    from captum.attr._core.layer.layer_gradient_shap import LayerInputBaselineXGradient

    monkeypatch.setattr(np.random, "uniform", lambda *_: np.array(parts))
    peer = LayerInputBaselineXGradient(net, net[layer])
    given = torch.from_numpy(np.stack(ends).astype("f4"))
    want = peer.attribute(given, baselines=OTHERS[rows], target=2).mean(0).detach().numpy()
    found = _found(proto, NAMES[1], LAYERS[layer], X[:1], samples=count, background=background,
                   noise=noise)  # fmt: skip
    _close(found.relief, want)
    _close(found.signed_map, want.sum(0))


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
def test_expected_gradients_are_captums_within_their_errors(background: str) -> None:
    proto, net = _exported(NET, X), deepcopy(NET)
    torch.manual_seed(0)
    np.random.seed(0)
    peer = captum_attr().LayerGradientShap(net, net[5])
    want = peer.attribute(X[:1], baselines=OTHERS, target=2, n_samples=400, stdevs=0.0)[0]
    found = _found(proto, NAMES[1], LAYERS[5], X[:1], samples=400, background=background)
    away = np.abs(found.signed_map - want.sum(0).detach().numpy())
    assert ((away / found.standard_error / 2**0.5) <= 3).mean() > 0.98


def test_both_by_hand(tmp_path: Path) -> None:
    """y = a_00 + 2 a_01 + 3 a_10 - a_11 behind the layer; of 0 it is 0, of 1 ((2, 2), (0, 0))."""
    np.save(tmp_path / "b.npy", np.stack([0 * PICTURE[0], 0 * PICTURE[0] + 1]))
    proto, file = parser.parse_model(TEXT), str(tmp_path / "b.npy")
    of_zero, of_one = [1 + 3 * 1, 2 * 5], [(1 - 2) + 3 * (1 - 0), 2 * (5 - 2)]
    found = _found(proto, NAMES[0], "a", PICTURE, 0, background=file)
    np.testing.assert_allclose(found.signed_map, [np.mean([of_zero, of_one], 0)])
    assert not found.standard_error.any(), "all of the background"
    found = _found(proto, NAMES[1], "a", PICTURE, 0, background=file, samples=2)
    rng, rows = np.random.default_rng(3), []
    for _ in range(2):
        rows.append(int(rng.integers(2)))
        rng.random()
    want = np.mean([(of_zero, of_one)[row] for row in rows], 0)
    np.testing.assert_allclose(found.signed_map, [want], rtol=1e-6)


def test_the_sums_are_the_differences_of_the_scores(background: str) -> None:
    """Behind the last layer all is linear in it, and on the way to it the layer moves straight."""
    proto = _exported(NET, X)
    with torch.no_grad():
        want = float((NET(X[:1])[0] - NET(OTHERS).mean(0))[2])
    found = _found(proto, NAMES[0], LAYERS[5], X[:1], background=background)
    assert found.signed_map.sum() == pytest.approx(want, 1e-2)
    linear = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(256, 3))
    proto = _exported(linear.eval(), X)
    with torch.no_grad():
        scores = linear(torch.cat([X[:1], OTHERS]))[:, 2].numpy()
    found = _found(proto, NAMES[1], "/0/Conv_output_0", X[:1], samples=200, background=background)
    error = float(np.std(scores[1:]) / 200**0.5)
    assert abs(found.signed_map.sum() - (scores[0] - scores[1:].mean())) <= 3 * error + 1e-4


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_file_has_the_map_over_its_background(name: str, given: bool, background: str) -> None:
    proto, settings = _exported(NET, X), {"background": background if given else ""}
    count = 5 if name == NAMES[0] else 300
    made = onnxcam.convert(
        proto, method=name, parameters={"samples": count, **settings}, upsampling="none",
        target=[2], feature_layer=LAYERS[5],
    )  # fmt: skip
    assert made.check is not None and not made.check.problems
    (maps,) = Session(made.explained.model, device="cpu", threads=1).run(
        {"x": X.numpy()}, ["onnxcam.map"]
    )
    for one, found in zip(X, maps, strict=True):
        want = _found(proto, name, LAYERS[5], one[None], samples=count, **settings)
        if name == NAMES[0] and given:
            _close(found[0], want.signed_map, 1e-4)
            continue
        error = want.standard_error * (1 + (400 / count if name == NAMES[0] else 0)) ** 0.5
        assert (np.abs(found[0] - want.signed_map) <= 5 * error + 1e-6).mean() > 0.95


def test_what_has_no_rule_and_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", np.ones((2, 5), "f4"))
    for name in NAMES:
        with pytest.raises(InputError, match="holds no inputs like"):
            _found(nets.cnn(), name, "relu", np.ones((1, 2, 6, 6), "f4"),
                   background=str(tmp_path / "b.npy"))  # fmt: skip
    text = TEXT.replace("f = Flatten (a)", "s = Softmax (a)\n f = Flatten (s)")
    with pytest.raises(UnsupportedOp, match="has no rule for ai.onnx::Softmax"):
        _found(parser.parse_model(text), NAMES[0], "a", PICTURE, 0)


def _pixels() -> tuple[Any, np.ndarray]:
    """y = v mean(tanh(k x)), x of whole numbers, in which the layer is linear."""
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=1),
        helper.make_node("Conv", ["f", "k"], ["c"]),
        helper.make_node("Tanh", ["c"], ["t"]),
        helper.make_node("ReduceMean", ["t"], ["p"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["p", "v"], ["y"]),
    ]
    rng = np.random.default_rng(7)
    weights = {
        "k": np.abs(rng.normal(size=(4, 3, 1, 1))).astype("f4") / 300,
        "v": rng.normal(size=(4, 2)).astype("f4"),
    }
    proto = nets.model(nodes, {"x": ["N", 3, 5, 5]}, {"y": ["N", 2]}, weights, opset=13)
    proto.graph.input[0].type.tensor_type.elem_type = 2
    return proto, rng.integers(0, 255, (1, 3, 5, 5)).astype("u1")


@pytest.mark.parametrize("name", NAMES)
def test_a_file_takes_pictures_as_bytes_as_the_explainer_does(name: str) -> None:
    """It works on the floats that they become, and does not round what lies between."""
    proto, x = _pixels()
    settings: dict[str, Any] = {"samples": 200}
    if name == NAMES[1]:
        settings["noise"] = 0.1
    made = onnxcam.convert(
        proto, method=name, parameters=settings, upsampling="none", target=[1], feature_layer="c"
    )
    assert made.check is not None and not made.check.problems
    (found,) = Session(made.explained.model, device="cpu", threads=1).run({"x": x}, ["onnxcam.map"])
    want = _found(proto, name, "c", x, 1, **settings)
    away = np.abs(found[0, 0] - want.raw_map) / (want.standard_error + 1e-9)
    assert want.raw_map.any() and np.median(away) < 2 and (away < 6).all()


def test_tokens_have_their_share_at_the_embedding(tmp_path: Path) -> None:
    """y = v mean(tanh(e_x)): behind the layer all is linear, so the background's mean counts."""
    rng = np.random.default_rng(0)
    table, v = rng.normal(size=(20, 4)).astype("f4"), rng.normal(size=(4, 2)).astype("f4")
    nodes = [
        helper.make_node("Gather", ["e", "x"], ["emb"], axis=0),
        helper.make_node("Tanh", ["emb"], ["t"]),
        helper.make_node("ReduceMean", ["t"], ["p"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["p", "v"], ["y"]),
    ]
    proto = nets.model(nodes, {"x": ["N", 6]}, {"y": ["N", 2]}, {"e": table, "v": v}, opset=13)
    proto.graph.input[0].type.tensor_type.elem_type = 7
    x, others = rng.integers(0, 20, (1, 6)), rng.integers(0, 20, (8, 6))
    np.save(tmp_path / "b.npy", others)
    found = _found(proto, NAMES[0], "t", x, 1, background=str(tmp_path / "b.npy"))
    want = (np.tanh(table[x[0]]) - np.tanh(table[others]).mean(0)) @ v[:, 1] / 6
    np.testing.assert_allclose(found.signed_map, want, rtol=1e-4, atol=1e-6)
    with pytest.raises(UsageError, match="numbers of tokens"):
        _found(proto, NAMES[1], "t", x, 1, background=str(tmp_path / "b.npy"))
