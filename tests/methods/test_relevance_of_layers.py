"""DeepLIFT over a background, DeepLIFT and relevance at a layer: by hand, sums, and Captum."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from methods.test_deeplift import SIZE, _exported, _net
from onnx import parser
from support import nets
from support.peer_packages import captum_attr
from torch import nn

import onnxcam
from onnxcam import Explainer
from onnxcam.errors import InputError, UnsupportedOp
from onnxcam.run.session import Session

X = torch.randn(SIZE, generator=torch.Generator().manual_seed(1))
OTHERS = torch.randn((5, *SIZE[1:]), generator=torch.Generator().manual_seed(2))
NET = _net(nn.AvgPool2d)
TANH = "/5/Tanh_output_0"


def _explained(proto: Any, name: str, layer: str | None = None, **settings: Any) -> Any:
    options = {"device": "cpu", "threads": 1, "upsampling": "none"}
    return Explainer(proto, name, feature_layer=layer, parameters=settings, **options)


def _close(got: np.ndarray, want: np.ndarray, limit: float = 1e-3) -> None:
    assert np.linalg.norm(got - want) <= limit * np.linalg.norm(want)


@pytest.fixture
def background(tmp_path: Path) -> str:
    np.save(tmp_path / "b.npy", OTHERS.numpy())
    return str(tmp_path / "b.npy")


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
def test_captum_over_a_background(background: str) -> None:
    peer = captum_attr()
    explain = _explained(_exported(NET, X), "deeplift-shap", background=background)
    for one in X:
        theirs = peer.DeepLiftShap(deepcopy(NET)).attribute(one[None], baselines=OTHERS, target=2)
        found = explain(one[None].numpy(), target=2)
        _close(found.relief, theirs[0].detach().numpy())
        _close(found.signed_map, theirs[0].sum(0).detach().numpy())


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("number", [4, 5, 6])
def test_captum_at_a_layer(number: int) -> None:
    """In the axes of the layer, the baseline being one of the input."""
    peer, net, start = captum_attr(), deepcopy(NET), torch.full_like(X[:1], 0.5)
    proto, x = _exported(NET, X), X[:1].numpy()
    layer = {4: "/4/Conv_output_0", 5: TANH, 6: "/6/AveragePool_output_0"}[number]
    theirs = peer.LayerDeepLift(net, net[number]).attribute(X[:1], baselines=start, target=2)
    found = _explained(proto, "layer-deeplift", layer, baseline=0.5)(x, target=2)
    _close(found.signed_map, theirs[0].sum(0).detach().numpy())
    net = deepcopy(NET)
    theirs = peer.LayerIntegratedGradients(net, net[number]).attribute(
        X[:1], baselines=start, target=2
    )
    found = _explained(proto, "layer-integrated-gradients", layer, baseline=0.5, origin="input")(
        x, target=2
    )
    _close(found.signed_map, theirs[0].sum(0).detach().numpy())


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
def test_captum_relevance_at_a_layer() -> None:
    """Captum has rules for neither BatchNormalization nor Flatten: without them."""
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Conv2d(8, 10, 8),
        nn.ReLU(), nn.Conv2d(10, 4, 1),
    ).eval()  # fmt: skip
    peer, copy = captum_attr(), deepcopy(net)
    theirs = peer.LayerLRP(copy, copy[2]).attribute(X[:1], target=(2, 0, 0))
    proto = _exported(nn.Sequential(*net, nn.Flatten()), X)
    found = _explained(proto, "layer-lrp", "/2/Conv_output_0", epsilon=1e-9)(
        X[:1].numpy(), target=2
    )
    _close(found.signed_map, theirs[0].sum(0).detach().numpy())


TEXT = """<ir_version: 8, opset_import: ["" : 20]>
g (float[N,2,1,2] x) => (float[N,1] y)
<float[2,2,1,1] k = {1, 1, 2, -1}, float[2] b = {0, -1}, float[4,1] w = {1, 2, 3, -1}> {
  c = Conv (x, k, b)
  a = Relu (c)
  f = Flatten (a)
  y = MatMul (f, w)
}"""
# Channels of two places; a = relu((1 + 0, 2 + 3), (2 - 0 - 1, 4 - 3 - 1)) = ((1, 5), (1, 0)).
PICTURE = np.array([[[[1, 2]], [[0, 3]]]], "f4")


def test_a_layer_by_hand() -> None:
    """y = a_00 + 2 a_01 + 3 a_10 - a_11; of an input of 1 the layer is ((2, 2), (0, 0))."""
    proto = parser.parse_model(TEXT)
    lrp = _explained(proto, "layer-lrp", "a")(PICTURE)
    np.testing.assert_allclose(lrp.signed_map, [[1 + 3 * 1, 2 * 5]])
    found = _explained(proto, "layer-deeplift", "a", baseline=1.0)(PICTURE)
    np.testing.assert_allclose(found.signed_map, [[(1 - 2) + 3 * (1 - 0), 2 * (5 - 2)]])
    found = _explained(proto, "layer-integrated-gradients", "a", baseline=1.0, origin="input")(
        PICTURE
    )
    np.testing.assert_allclose(found.signed_map, [[(1 - 2) + 3 * (1 - 0), 2 * (5 - 2)]], rtol=1e-5)


def test_a_background_by_hand(tmp_path: Path) -> None:
    """Of the baselines 0 and 1: the mean of two maps of deeplift, and no error."""
    np.save(tmp_path / "b.npy", np.stack([0 * PICTURE[0], 0 * PICTURE[0] + 1]))
    proto = parser.parse_model(TEXT)
    each = [_explained(proto, "deeplift", baseline=b)(PICTURE).signed_map for b in (0.0, 1.0)]
    found = _explained(proto, "deeplift-shap", background=str(tmp_path / "b.npy"))(PICTURE)
    np.testing.assert_allclose(found.signed_map, np.mean(each, 0), rtol=1e-6)
    # y = 14; of 0: 0, of 1: 2 + 2 * 2 = 6
    assert found.signed_map.sum() == pytest.approx(14 - (0 + 6) / 2)
    assert not found.standard_error.any()


@pytest.mark.parametrize("composite", ["epsilon", "epsilon-plus", "gamma", "alpha2-beta1"])
def test_relevance_at_a_layer_is_what_the_method_hands_on(composite: str) -> None:
    """Without biases behind the layer it sums up to the score, whatever the rules."""
    torch.manual_seed(5)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3, bias=False), nn.ReLU(),
        nn.AvgPool2d(8), nn.Flatten(), nn.Linear(6, 3, bias=False),
    ).eval()  # fmt: skip
    explain = _explained(_exported(net, X), "layer-lrp", "/1/Relu_output_0", composite=composite)
    found = explain(X[:1].numpy(), target=1)
    assert found.signed_map.sum() == pytest.approx(float(net(X[:1]).detach()[0, 1]), rel=1e-3)


def test_the_sums_are_the_differences_of_the_scores(background: str) -> None:
    proto, x = _exported(NET, X), X[:1].numpy()
    with torch.no_grad():
        y, others, start = NET(X[:1])[0], NET(OTHERS).mean(0), NET(torch.full_like(X[:1], 0.5))[0]
    maps = _explained(proto, "deeplift-shap", background=background)(x, target=[0, 3])
    assert [m.signed_map.sum() for m in maps] == pytest.approx((y - others)[[0, 3]].tolist(), 1e-2)
    maps = _explained(proto, "layer-deeplift", TANH, baseline=0.5)(x, target=[0, 3])
    assert [m.signed_map.sum() for m in maps] == pytest.approx((y - start)[[0, 3]].tolist(), 1e-3)


def test_some_of_a_background_are_within_their_error(background: str) -> None:
    """Draws of three out of five, none twice: the mean of many is that of all."""
    explain = _explained(_exported(NET, X), "deeplift-shap", background=background, samples=3)
    whole = _explained(_exported(NET, X), "deeplift-shap", background=background)(X[:1].numpy())
    found = explain(X[:1].numpy())
    away = np.abs(found.signed_map - whole.signed_map)
    assert found.standard_error.any() and np.median(away / (found.standard_error + 1e-12)) < 3


@pytest.mark.parametrize("given", [False, True])
def test_a_file_has_the_map_over_its_background(given: bool, background: str) -> None:
    proto, settings = _exported(NET, X), {"background": background if given else ""}
    made = onnxcam.convert(
        proto, method="deeplift-shap", parameters={"samples": 5, **settings}, upsampling="none",
        target=[2],
    )  # fmt: skip
    assert made.check is not None and not made.check.problems
    session = Session(made.explained.model, device="cpu", threads=1)
    (maps,) = session.run({"x": X.numpy()}, ["onnxcam.map"])
    assert maps.shape == (2, 1, 12, 12)
    if given:
        for one, found in zip(X, maps, strict=True):
            want = _explained(proto, "deeplift-shap", **settings)(one[None].numpy(), target=2)
            _close(found[0], want.signed_map, 1e-4)


def test_what_has_no_rule_and_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", np.ones((2, 5), "f4"))
    explain = _explained(nets.cnn(), "deeplift-shap", background=str(tmp_path / "b.npy"))
    with pytest.raises(InputError, match="holds no inputs like"):
        explain(np.ones((1, 2, 6, 6), "f4"))
    text = TEXT.replace("f = Flatten (a)", "s = Softmax (a)\n f = Flatten (s)")
    for name in ("deeplift-shap", "layer-deeplift", "layer-lrp"):
        layer = None if name == "deeplift-shap" else "a"
        with pytest.raises(UnsupportedOp, match="has no rule for ai.onnx::Softmax"):
            _explained(parser.parse_model(text), name, layer)(PICTURE)
