"""Maps of noisy copies: against Captum's NoiseTunnel, by hand, and everything that it goes with."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from methods.test_deeplift import SIZE, _exported, _net
from onnx import parser
from support import nets
from support.peer_packages import captum_attr
from torch import nn

import onnxcam
from onnxcam import Explainer
from onnxcam.cli import main
from onnxcam.errors import UsageError
from onnxcam.methods.tunnel import TUNNEL

X = torch.randn(SIZE, generator=torch.Generator().manual_seed(1))
NAMES = {"mean": "smoothgrad", "variance": "vargrad", "square": "smoothgrad_sq"}


def _explain(proto: Any, name: Any, tunnel: str, layer: str | None = None, **more: Any) -> Any:
    how = {k: more.pop(k) for k in ("budget", "batch_size", "progress", "seed") if k in more}
    return Explainer(
        proto, name, feature_layer=layer, device="cpu", threads=1, upsampling="none",
        parameters={"tunnel": tunnel, **more}, **how,
    )  # fmt: skip


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tunnel", TUNNEL.choices)
@pytest.mark.parametrize(
    ("name", "theirs"),
    [("input-x-gradient", "InputXGradient"), ("deeplift", "DeepLift"),
     ("layer-deeplift", "LayerDeepLift"), ("integrated-gradients", "IntegratedGradients")],
)  # fmt: skip
def test_captum(name: str, theirs: str, tunnel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same noise; its channels are put together before they are summed up."""
    attr, net = captum_attr(), _net(nn.AvgPool2d)
    noise = np.random.default_rng(3).standard_normal((6, *SIZE[1:])).astype("f4")
    monkeypatch.setattr(torch, "normal", lambda mean, std: torch.from_numpy(noise) * std)
    layer = {"layer": net[6]} if name.startswith("layer") else {}
    more: dict[str, Any] = {"n_steps": 20} if name == "integrated-gradients" else {}
    want = attr.NoiseTunnel(getattr(attr, theirs)(net, **layer)).attribute(
        X[:1].clone().requires_grad_(), nt_type=NAMES[tunnel], nt_samples=6, target=2,
        stdevs=0.2 * float(X[0].max() - X[0].min()), **more,
    )[0].detach().numpy()  # fmt: skip
    steps = {"steps": 20} if more else {}
    place = "/6/AveragePool_output_0" if layer else None
    explain = _explain(
        _exported(net, X), name, tunnel, place, samples=6, noise=0.2, seed=3, **steps
    )
    found = explain(X[:1].numpy(), target=2)
    if found.relief is not None:
        assert np.linalg.norm(found.relief - want) <= 1e-3 * np.linalg.norm(want)
    if tunnel == "mean":
        assert np.linalg.norm(found.map - want.sum(0)) <= 1e-3 * np.linalg.norm(want.sum(0))


SQUARE = """<ir_version: 8, opset_import: ["" : 20]>
g (float[N,1,1,2] x) => (float[N,1] y) <float[2,1] w = {1, -2}> {
  s = Mul (x, x)
  f = Flatten (s)
  y = MatMul (f, w)
}"""


@pytest.mark.parametrize("tunnel", TUNNEL.choices)
def test_by_hand(tunnel: str) -> None:
    """Of y = a^2 - 2 b^2 the map of x dy/dx is (2 a^2, -4 b^2), of a and b with noise."""
    x = np.array([1.0, 3.0])
    noisy = x + 0.1 * 2 * np.random.default_rng(4).standard_normal((8, 2))
    maps = noisy**2 * [2, -4]
    want = {"mean": maps.mean(0), "variance": maps.var(0), "square": (maps**2).mean(0)}[tunnel]
    explain = _explain(parser.parse_model(SQUARE), "input-x-gradient", tunnel, samples=8, noise=0.1,
                       seed=4)  # fmt: skip
    found = explain(x.reshape(1, 1, 1, 2).astype("f4"))
    np.testing.assert_allclose(found.map.ravel(), want, rtol=1e-5)
    if tunnel == "mean":
        error = maps.std(0, ddof=1) / 8**0.5
        np.testing.assert_allclose(found.standard_error.ravel(), error, rtol=1e-4)
    assert found.signed is (tunnel == "mean") and found.parameters["tunnel"] == tunnel


def test_of_the_gradient_it_is_smoothgrad_itself() -> None:
    x = np.random.default_rng(2).normal(size=(1, 2, 6, 6)).astype("f4")
    found = _explain(nets.cnn(), "saliency", "mean", samples=9, seed=5)(x, target=1)
    want = Explainer(
        nets.cnn(), "smoothgrad", device="cpu", threads=1, upsampling="none", seed=5,
        parameters={"samples": 9},
    )(x, target=1)  # fmt: skip
    np.testing.assert_allclose(np.abs(found.relief).max(0), want.map, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", ["gradcam", "layercam", "guided-gradcam", "fullgrad", "crp"])
def test_without_noise_it_is_the_method(name: str) -> None:
    x = np.random.default_rng(2).normal(size=(1, 2, 6, 6)).astype("f4")
    found = _explain(nets.cnn(), name, "mean", samples=2, noise=0.0)(x, target=[0, 1])
    want = Explainer(nets.cnn(), name, device="cpu", threads=1, upsampling="none")(x, target=[0, 1])
    for one, other in zip(found, want, strict=True):
        np.testing.assert_allclose(one.raw_map, other.raw_map, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(one.signed_map, other.signed_map, rtol=1e-4, atol=1e-6)
        assert not one.standard_error.any() and one.method == name


def test_batches_budget_progress_and_several_methods() -> None:
    x = np.random.default_rng(2).normal(size=(1, 2, 6, 6)).astype("f4")
    seen: list[tuple[int, int | None]] = []
    many = _explain(nets.cnn(), "layercam", "mean", samples=10, batch_size=8,
                    progress=lambda *done: seen.append(done))(x)  # fmt: skip
    few = _explain(nets.cnn(), "layercam", "mean", samples=10, batch_size=1)(x)
    np.testing.assert_allclose(many.map, few.map, rtol=1e-5, atol=1e-7)
    assert seen[-1] == (10, 10)
    short = _explain(nets.cnn(), "layercam", "mean", samples=10, batch_size=2, budget=4)(x)
    assert short.diagnosis[0].startswith("the budget") and "stopped" in short.parameters
    both = _explain(nets.cnn(), ["saliency", "rise"], "mean", samples=4)(x)
    assert "tunnel" in both["saliency"].parameters and "tunnel" not in both["rise"].parameters


def test_what_it_does_not_go_with_is_refused() -> None:
    for name, why in (("rise", "runs the model"), ("smoothgrad", "draws samples itself")):
        with pytest.raises(UsageError, match=f"{name} takes no tunnel: .*{why}"):
            _explain(nets.cnn(), name, "mean")
    with pytest.raises(UsageError, match="tunnel is 'most', and must be mean or variance or"):
        _explain(nets.cnn(), "gradcam", "most")
    with pytest.raises(UsageError, match="a map with tunnel takes runs of its own"):
        onnxcam.convert(nets.cnn(), method="gradcam", parameters={"tunnel": "mean"})
    with pytest.raises(UsageError, match="no parameter 'samples'"):
        Explainer(nets.cnn(), "gradcam", device="cpu", parameters={"samples": 3})


def test_threads_have_noise_of_their_own() -> None:
    x = np.random.default_rng(2).normal(size=(1, 2, 6, 6)).astype("f4")
    explain, found = _explain(nets.cnn(), "saliency", "variance", samples=5), {}
    jobs = [threading.Thread(target=lambda k=k: found.update({k: explain(x).map})) for k in (1, 2)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    np.testing.assert_array_equal(found[1], found[2])


def test_the_shell_has_it() -> None:
    text = CliRunner().invoke(main, ["explain", "--help"]).output
    assert "--tunnel [mean|variance|square]" in text
    assert "--tunnel" not in CliRunner().invoke(main, ["convert", "--help"]).output
