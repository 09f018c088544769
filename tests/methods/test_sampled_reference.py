"""Methods that run a model many times against Captum and pytorch-grad-cam, on the same weights.

See ``test_methods_reference.py`` for how these are installed.
"""

from __future__ import annotations

import importlib
import warnings
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from architectures.export import FEATURE, export
from architectures.weights import calibrated
from scipy import ndimage
from support import method_oracles
from support.peer_packages import captum_attr, pytorch_grad_cam
from support.token_nets import CASES, GRID, SIZE
from torch import Tensor, nn

from onnxcam import Explainer

pytestmark = pytest.mark.peers

TARGETS = (0, 2)


@cache
def _case() -> tuple[Any, Any, Tensor]:
    x = torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(3))
    net = calibrated(method_oracles.net(), x, seed=4)
    with torch.no_grad():
        net.head[-1].weight *= 30
        net.head[-1].bias += 60  # Ablation-CAM's weights are shares of a positive score
    return net, export(net, x, dynamo=False), x


class _Score(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)[0]


def _ours(name: str, layer: str | None = None, **settings: Any) -> list[list[Any]]:
    explain = Explainer(
        _case()[1], name, feature_layer=layer, reduction_layer="output", parameters=settings,
        device="cpu", threads=1, upsampling="none", batch_size=5, seed=3,
    )  # fmt: skip
    return explain([x[None] for x in _case()[2].numpy()], TARGETS)


def _assert_equal(got: np.ndarray, want: np.ndarray) -> None:
    assert np.linalg.norm(got - want) <= 1e-3 * np.linalg.norm(want)


def test_integrated_gradients_are_captums() -> None:
    attr = captum_attr()
    net, _, x = _case()
    found = _ours("integrated-gradients", steps=50)
    for k, target in enumerate(TARGETS):
        want = attr.IntegratedGradients(_Score(net)).attribute(x, target=target, n_steps=50)
        for n in range(len(x)):
            _assert_equal(found[n][k].signed_map, want[n].sum(0).numpy())


@pytest.mark.parametrize("name", ["smoothgrad", "vargrad"])
def test_noisy_gradients_are_captums(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same noise: Captum draws it with ``torch.normal``."""
    attr = captum_attr()
    net, _, x = _case()
    found = _ours(name, samples=12, noise=0.2)
    noise = np.random.default_rng(3).standard_normal((12, *x.shape[1:])).astype("f4")
    monkeypatch.setattr(torch, "normal", lambda mean, std: torch.from_numpy(noise) * std)
    tunnel = attr.NoiseTunnel(attr.Saliency(_Score(net)))
    for n, one in enumerate(x):
        spread = 0.2 * float(one.max() - one.min())
        for k, target in enumerate(TARGETS):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                want = tunnel.attribute(
                    one[None].clone().requires_grad_(), nt_type=name, nt_samples=12,
                    stdevs=spread, target=target, abs=False,
                )  # fmt: skip
            _assert_equal(found[n][k].map, want[0].abs().amax(0).detach().numpy())


@pytest.mark.parametrize(
    ("name", "theirs"), [("score-cam", "ScoreCAM"), ("ablation-cam", "AblationCAM")]
)
@pytest.mark.filterwarnings("ignore")
def test_pytorch_grad_cam(name: str, theirs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytorch_grad_cam(monkeypatch)
    net, _, x = _case()
    found = _ours(name, FEATURE)
    for k, target in enumerate(TARGETS):
        model = _Score(net)
        assert (model(x)[:, target] > 0).all()
        cam = getattr(package, theirs)(model=model, target_layers=[net.body])
        targets = [_class(target)] * len(x)
        cam.activations_and_grads(x)
        a = cam.activations_and_grads.activations[0].detach().numpy()
        cam.activations_and_grads.release()
        want = cam.get_cam_image(x, net.body, targets, a, None, False)
        for n in range(len(x)):
            _assert_equal(found[n][k].signed_map, want[n])
            np.testing.assert_array_equal(found[n][k].map, np.maximum(found[n][k].signed_map, 0))


@pytest.mark.filterwarnings("ignore")
def test_sess(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its windows, weights and fusion; it smooths by pixels, so that is left to the same filter."""
    package = pytorch_grad_cam(monkeypatch)
    module = importlib.import_module("pytorch_grad_cam.sess")
    chosen = importlib.import_module("pytorch_grad_cam.utils.model_targets").ClassifierOutputTarget
    net, _, x = _case()

    def resize(image: Tensor, size: int) -> Tensor:
        return nn.functional.interpolate(image, (size, size), mode="bilinear")

    monkeypatch.setattr(module, "resize", resize)
    found = _ours("sess", FEATURE, scales=4, keep=0.6, score="score")
    for k, target in enumerate(TARGETS):
        peer = package.SESS(
            _Score(net), [net.body], num_scales=4, pre_filter_ratio=0.4, smooth=False,
            use_softmax_scores=False,
        )  # fmt: skip
        for n, one in enumerate(x):
            want = peer.forward_single_image(one[None], chosen(target))
            widths = [d * 5 / 224 for d in want.shape]
            want = ndimage.gaussian_filter(want, widths, mode="mirror", truncate=1)
            assert np.linalg.norm(found[n][k].raw_map - want) <= 1e-3 * np.linalg.norm(want)


@pytest.mark.parametrize("case", ["vit", "registers"])
@pytest.mark.filterwarnings("ignore")
def test_score_cam_of_transformers(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytorch_grad_cam(monkeypatch)
    token = CASES[case]
    x = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    net: Any = calibrated(token.make(), x, seed=2)
    with torch.no_grad():
        net.head.weight *= 3
    layer = net.blocks[-1].norm1 if token.last else net.norm

    def grid(t: Tensor) -> Tensor:
        return t[:, token.before :].unflatten(1, GRID).permute(0, 3, 1, 2)

    cam = package.ScoreCAM(net, [layer], reshape_transform=grid)
    cam.activations_and_grads(x)
    a = cam.activations_and_grads.activations[0].detach().numpy()
    cam.activations_and_grads.release()
    want = cam.get_cam_image(x, layer, [_class(1)] * 2, a, None, False)
    proto = export(_Pair(net).eval(), x, dynamo=False, feature=False)
    explain = Explainer(proto, "score-cam", device="cpu", threads=1, upsampling="none")
    for n, found in enumerate(explain([one[None] for one in x.numpy()], 1)):
        _assert_equal(found.signed_map, want[n])


class _Pair(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return self.net(x), None


def _class(index: int) -> Any:
    return lambda output: output[index]
