"""Layer-wise relevance propagation against zennit on the same weights, where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from architectures import ARCHITECTURES
from architectures.export import INPUT, OUTPUT, export
from architectures.parts import Network, Residual, conv_bn, pooled_classifier
from architectures.weights import calibrated
from support.peer_packages import zennit
from support.runtime import run
from torch import Tensor, nn

from onnxcam.autodiff.api import vjp_model
from onnxcam.autodiff.view import Overrides
from onnxcam.methods.lrp import (
    lrp_alpha2_beta1_flat,
    lrp_alpha_beta,
    lrp_epsilon,
    lrp_epsilon_gamma_box,
    lrp_epsilon_plus,
    lrp_epsilon_plus_flat,
    lrp_gamma,
    lrp_w2,
)

pytestmark = pytest.mark.peers

TARGET, GAMMA, EPS = 1, 0.25, 1e-6
# Where SiLU is near 0 single precision tells.
LIMITS = {"inverted residuals": 1e-3}


def _vgg() -> nn.Module:
    """VGG with batch normalisation."""
    widths = ((3, 8), (8, 8), (8, 12), (12, 12))
    body = [conv_bn(cin, cout) for cin, cout in widths]
    body[1].append(nn.MaxPool2d(2))
    head = nn.Sequential(
        nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(12 * 16, 20), nn.ReLU(),
        nn.Dropout(), nn.Linear(20, 5),
    )  # fmt: skip
    return Network(nn.Sequential(*body), head)


def _inverted() -> nn.Module:
    """Inverted residuals with ReLU6, as MobileNetV2 has them."""

    def block(c: int, act: Any) -> nn.Module:
        return Residual(
            nn.Sequential(
                conv_bn(c, 3 * c, 1, activation=act),
                conv_bn(3 * c, 3 * c, groups=3 * c, activation=act),
                conv_bn(3 * c, c, 1, activation=None),
            )
        )

    body = nn.Sequential(
        conv_bn(3, 8, 3, 2, activation=nn.ReLU6), block(8, nn.ReLU6), block(8, nn.SiLU)
    )
    return Network(body, pooled_classifier(8, 5))


NETS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "vgg-bn": (_vgg, 32),
    "vgg16": (ARCHITECTURES["vgg16"].small, 32),
    "squeezenet": (ARCHITECTURES["squeezenet"].small, 45),
    "resnet50": (ARCHITECTURES["resnet50"].small, 40),
    "inverted residuals": (_inverted, 28),
}


@cache
def _net(name: str) -> tuple[nn.Module, Any, Tensor]:
    make, size = NETS[name]
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    net = calibrated(make(), x, seed=2)
    return net, export(net, x, dynamo=False, feature=False), x


def _canonizers(package: Any) -> list[Any]:
    class Merge(package.canonizers.SequentialMergeBatchNorm):  # type: ignore[misc]
        @staticmethod
        def merge_batch_norm(modules: Any, norm: Any) -> None:
            package.canonizers.MergeBatchNorm.merge_batch_norm(modules, norm)
            norm.eps = 0.0  # theirs stays, and scales each layer by 1 - 5e-6

    class Sums(package.canonizers.AttributeCanonizer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(_summing)

    def _summing(name: str, module: nn.Module) -> dict[str, Any] | None:
        def forward(self: Any, x: Tensor) -> Tensor:
            return self.after(self.both(torch.stack([self.shortcut(x), self.f(x)], -1)))

        if not isinstance(module, Residual):
            return None
        return {"forward": forward.__get__(module), "both": package.layer.Sum()}

    return [package.canonizers.CompositeCanonizer([Merge(), Sums()])]


def _theirs(package: Any, name: str, epsilon: float, with_gamma: int) -> np.ndarray:
    """Return zennit's relevance of each input, the first convolutions with the gamma rule."""
    early = [n for n, m in _net(name)[0].named_modules() if isinstance(m, nn.Conv2d)][:with_gamma]
    kinds, rules = package.types, package.rules

    def rule(context: Any, place: str, module: nn.Module) -> Any:
        if place in early:
            return rules.Gamma(GAMMA, stabilizer=epsilon)
        if isinstance(module, kinds.Linear):
            return rules.Epsilon(epsilon)
        if isinstance(module, package.layer.Sum | kinds.AvgPool):
            return rules.Norm()
        return rules.Pass() if isinstance(module, (kinds.Activation, kinds.BatchNorm)) else None

    return _by(package, package.core.Composite(rule, canonizers=_canonizers(package)), name)


def _by(package: Any, composite: Any, name: str) -> np.ndarray:
    """Return zennit's relevance of each input by a composite."""
    net, _, x = _net(name)
    net = deepcopy(net).double()
    leaf = x.double().requires_grad_()
    with composite.context(net) as changed:
        score = changed(leaf)[0]
        start = torch.zeros_like(score)
        start[:, TARGET] = score[:, TARGET].detach()
        (found,) = torch.autograd.grad(score, leaf, start)
    return found.numpy()


def _error(package: Any, name: str, rules: Overrides, epsilon: float, with_gamma: int) -> float:
    _, proto, x = _net(name)
    made = vjp_model(proto, [INPUT], [OUTPUT], overrides=rules)
    seed = np.eye(5, dtype="f4")[[TARGET] * len(x)]
    got = run(made, {INPUT: x.numpy(), f"ct::{OUTPUT}": seed})[f"grad::{INPUT}"] * x.numpy()
    want = _theirs(package, name, epsilon, with_gamma)
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


@pytest.mark.parametrize("epsilon", [1e-6, 0.25])
@pytest.mark.parametrize("name", NETS)
def test_lrp_epsilon(name: str, epsilon: float, monkeypatch: pytest.MonkeyPatch) -> None:
    package = zennit(monkeypatch)
    assert _error(package, name, lrp_epsilon.composite(epsilon), epsilon, 0) <= LIMITS.get(
        name, 1e-4
    )


@pytest.mark.parametrize("epsilon", [1e-6, 0.25])
@pytest.mark.parametrize("name", NETS)
def test_the_gamma_rule_everywhere(
    name: str, epsilon: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = zennit(monkeypatch)
    rules = lrp_gamma.composite(GAMMA, epsilon, share=1)
    assert _error(package, name, rules, epsilon, 100) <= LIMITS.get(name, 1e-4)


COMPOSITES: dict[str, tuple[str, dict[str, Any], Overrides]] = {
    "plus": ("EpsilonPlus", {}, lrp_epsilon_plus.composite(EPS)),
    "plus flat": ("EpsilonPlusFlat", {}, lrp_epsilon_plus_flat.composite(EPS)),
    "alpha beta": ("EpsilonAlpha2Beta1", {}, lrp_alpha_beta.composite(2, EPS)),
    "alpha beta flat": ("EpsilonAlpha2Beta1Flat", {}, lrp_alpha2_beta1_flat.composite(EPS)),
    "gamma box": (
        "EpsilonGammaBox", {"low": -5.0, "high": 4.5},
        lrp_epsilon_gamma_box.composite(0.25, EPS, -5, 4.5),
    ),
    "w2": ("EpsilonPlus", {"first_map": "WSquare"}, lrp_w2.composite(EPS)),
}  # fmt: skip


def _composite(package: Any, kind: str, options: dict[str, Any]) -> Any:
    options, composites = dict(options), package.composites
    made = {"epsilon": EPS, "stabilizer": EPS, "canonizers": _canonizers(package), **options}
    if "first_map" not in options:
        return getattr(composites, kind)(**made)
    first = [(package.types.Convolution, package.rules.WSquare(stabilizer=EPS))]
    del made["first_map"]
    layers = getattr(composites, kind)(**made)
    return composites.SpecialFirstLayerMapComposite(
        layers.layer_map, first, canonizers=made["canonizers"]
    )


@pytest.mark.parametrize("kind", COMPOSITES)
@pytest.mark.parametrize("name", ["vgg-bn", "vgg16", "resnet50"])
def test_composites(kind: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package = zennit(monkeypatch)
    theirs, options, rules = COMPOSITES[kind]
    want = _by(package, _composite(package, theirs, options), name)
    _, proto, x = _net(name)
    made = vjp_model(proto, [INPUT], [OUTPUT], overrides=rules)
    seed = np.eye(5, dtype="f4")[[TARGET] * len(x)]
    got = run(made, {INPUT: x.numpy(), f"ct::{OUTPUT}": seed})[f"grad::{INPUT}"]
    if not any(word in kind for word in ("flat", "box", "w2")):
        got = got * x.numpy()
    assert np.linalg.norm(got - want) <= 1e-3 * np.linalg.norm(want)


@pytest.mark.parametrize(("name", "half"), [("vgg-bn", 2), ("vgg16", 3)])
def test_lrp_gamma(name: str, half: int, monkeypatch: pytest.MonkeyPatch) -> None:
    package = zennit(monkeypatch)
    assert _error(package, name, lrp_gamma.composite(), 1e-6, half) <= LIMITS.get(name, 1e-4)
