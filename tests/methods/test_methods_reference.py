"""Methods against pytorch-grad-cam and Captum on the same weights, where these are installed.

``pip install --no-deps -r tests/peers.txt`` into an environment with the test extra, as ``.ci/run``
does; see also the definitions in ``method_oracles.py``, which are always compared.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from architectures.export import FEATURE, export
from architectures.weights import calibrated
from support import method_oracles
from support.peer_packages import captum_attr, pytorch_grad_cam
from support.token_nets import CASES, GRID, SIZE
from torch import Tensor, nn

from onnxcam import methods
from onnxcam.analysis.layers import catalog
from onnxcam.compose import Plan, explain_graph, maps_of, plan_graph
from onnxcam.model.model import load
from onnxcam.names import SIGNED
from onnxcam.run.session import Session

pytestmark = pytest.mark.peers

TARGET = 2
# Grad-CAM++: there is an epsilon in theirs, which gradients of this size do not feel.
THEIRS = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "xgradcam": "XGradCAM",
    "gradcam-elementwise": "GradCAMElementWise",
}
# What leaves the sign of its map to a decomposition, but for Seg-Eigen-CAM.
COMPONENTS = {
    "eigen-cam": "EigenCAM",
    "eigen-gradcam": "EigenGradCAM",
    "seg-eigen-cam": "SegEigenCAM",
    "kpca-cam": "KPCA_CAM",
}


@cache
def _case() -> tuple[Any, Any, Tensor]:
    x = torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(3))
    net = calibrated(method_oracles.net(), x, seed=4)
    with torch.no_grad():
        net.head[-1].weight *= 30
    return net, load(export(net, x, dynamo=False)), x


class _Score(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)[0]


class _Pair(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return self.net(x), None


def _ours(name: str, case: Any = None, **settings: Any) -> np.ndarray:
    _, model, x = case or _case()
    method = methods.find(name)
    found = catalog(model, reduction_layer="output")
    layer = FEATURE if method.takes_feature else None
    plan = Plan(found, maps_of(found, method, layer, settings or None), expose=frozenset([SIGNED]))
    proto = plan_graph(model, plan).model
    feeds = {"input": x.numpy(), "onnxcam.target": np.array([TARGET])}
    return Session(proto, device="cpu").run(feeds, [SIGNED])[0][:, 0]


def _assert_equal(got: np.ndarray, want: np.ndarray) -> None:
    assert np.linalg.norm(got - want) <= 1e-3 * np.linalg.norm(want)


def _peers(package: Any, theirs: str, *, eigen: bool = False) -> np.ndarray:
    net, _, x = _case()
    model = _Score(net)
    cam = getattr(package, theirs)(model=model, target_layers=[net.body])
    model.zero_grad()
    cam.activations_and_grads(x)[:, TARGET].sum().backward()
    a, g = (
        t[0].detach().numpy()
        for t in (cam.activations_and_grads.activations, cam.activations_and_grads.gradients)
    )
    want: np.ndarray = cam.get_cam_image(x, net.body, [], a, g, eigen)
    cam.activations_and_grads.release()
    return want


@pytest.mark.parametrize("name", THEIRS)
def test_pytorch_grad_cam(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _assert_equal(_ours(name), _peers(pytorch_grad_cam(monkeypatch), THEIRS[name]))


@pytest.mark.parametrize("name", COMPONENTS)
def test_components_are_theirs_but_for_the_sign(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    want = _peers(pytorch_grad_cam(monkeypatch), COMPONENTS[name])
    for got, each in zip(_ours(name), want, strict=True):
        _assert_equal(got, each if name == "seg-eigen-cam" or (got * each).sum() > 0 else -each)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(set(THEIRS) - {"gradcam++"}))
def test_eigen_smoothing_is_theirs_but_for_the_sign(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = _peers(pytorch_grad_cam(monkeypatch), THEIRS[name], eigen=True)
    for got, each in zip(_ours(name, smoothing="eigen"), want, strict=True):
        _assert_equal(got, each if (got * each).sum() > 0 else -each)


def test_fem_is_theirs_where_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    _assert_equal(_ours("fem", form="peer"), _peers(pytorch_grad_cam(monkeypatch), "FEM"))


def _curved() -> tuple[Any, Any, Tensor]:
    """A head with a curve: piece by piece linear ones have no second derivative."""
    net, _, x = _case()
    net = deepcopy(net)
    net.head[1] = nn.SiLU()
    return net, load(export(net, x, dynamo=False)), x


def test_shapley_cam(monkeypatch: pytest.MonkeyPatch) -> None:
    package, case = pytorch_grad_cam(monkeypatch), _curved()
    net, _, x = case
    cam = package.ShapleyCAM(model=_Score(net), target_layers=[net.body])
    leaf, store = x.clone().requires_grad_(), cam.activations_and_grads
    torch.autograd.grad(store(leaf)[:, TARGET].sum(), leaf, retain_graph=True, create_graph=True)
    want = cam.get_cam_image(x, net.body, [], store.activations[0], store.gradients[0], False)
    store.release()
    got = _ours("shapley-cam", case)
    _assert_equal(got, want)
    assert np.linalg.norm(got - _ours("gradcam", case)) > 0.01 * np.linalg.norm(want)


def test_fullgrad(monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytorch_grad_cam(monkeypatch)
    net, _, x = _case()
    model, leaf = _Score(net), x.clone().requires_grad_()
    cam = package.FullGrad(model=model, target_layers=[])
    model.zero_grad()
    cam.activations_and_grads(leaf)[:, TARGET].sum().backward()
    want = cam.compute_cam_per_layer(leaf, [], False)[:, 0]
    cam.activations_and_grads.release()
    _assert_equal(_ours("fullgrad"), want)


@pytest.mark.parametrize("case", ["vit", "distilled", "registers", "mean"])
@pytest.mark.parametrize("name", THEIRS)
def test_pytorch_grad_cam_of_transformers(
    name: str, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is said to onnxcam; pytorch-grad-cam is told the layer and how to reshape it."""
    package = pytorch_grad_cam(monkeypatch)
    token = CASES[case]
    x = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    net: Any = calibrated(token.make(), x, seed=2)
    with torch.no_grad():
        net.head.weight *= 300  # see THEIRS
    layer = net.blocks[-1].norm1 if token.last else net.norm

    def grid(t: Tensor) -> Tensor:
        return t[:, token.before :].unflatten(1, GRID).permute(0, 3, 1, 2)

    cam = getattr(package, THEIRS[name])(net, [layer], reshape_transform=grid)
    net.zero_grad()
    store = cam.activations_and_grads
    store(x)[:, TARGET].sum().backward()
    a, g = store.activations[0].detach().numpy(), store.gradients[0].detach().numpy()
    want = cam.get_cam_image(x, layer, [], a, g, False)
    store.release()
    model = load(export(_Pair(net).eval(), x, dynamo=False, feature=False))
    found = catalog(model)
    proto = explain_graph(model, found, methods.find(name), diagnose=True).model
    feeds = {model.inputs[0].name: x.numpy(), "onnxcam.target": np.array([TARGET])}
    _assert_equal(Session(proto, device="cpu").run(feeds, [SIGNED])[0][:, 0], want)


def _largest(r: Tensor) -> np.ndarray:
    return r.abs().amax(1).detach().numpy()


CAPTUM: dict[str, Callable[[Any, Any, Tensor], np.ndarray]] = {
    "saliency": lambda attr, net, x: _largest(attr.Saliency(_Score(net)).attribute(x, TARGET)),
    "input-x-gradient": lambda attr, net, x: (
        attr.InputXGradient(_Score(net)).attribute(x, TARGET).sum(1).detach().numpy()
    ),
    "guided-backprop": lambda attr, net, x: _largest(
        attr.GuidedBackprop(_Score(net)).attribute(x, TARGET)
    ),
    "deconvnet": lambda attr, net, x: _largest(
        attr.Deconvolution(_Score(net)).attribute(x, TARGET)
    ),
    "guided-gradcam": lambda attr, net, x: _largest(
        attr.GuidedGradCam(_Score(net), net.body).attribute(x, TARGET, interpolate_mode="bilinear")
    ),
    "gradcam": lambda attr, net, x: (
        attr.LayerGradCam(_Score(net), net.body).attribute(x, TARGET)[:, 0].detach().numpy()
    ),
}


@pytest.mark.parametrize("name", CAPTUM)
def test_captum(name: str) -> None:
    attr = captum_attr()
    net, _, x = _case()
    saved = net.head[1]
    if name in ("guided-backprop", "deconvnet", "guided-gradcam"):
        net.head[1] = _Relu6()  # Captum changes modules of the class ReLU only
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            want = CAPTUM[name](attr, net, x.clone().requires_grad_())
    finally:
        net.head[1] = saved
    _assert_equal(_ours(name), want)


class _Relu6(nn.ReLU):
    """ReLU6 that passes for a ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(0, 6)
