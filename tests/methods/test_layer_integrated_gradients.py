"""Integrated gradients at a layer: against torch's autograd, and its sum by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from architectures.export import FEATURE, OUTPUT, export
from architectures.weights import calibrated
from support import method_oracles

from onnxcam import Explainer
from onnxcam.targets import Margin


@pytest.mark.parametrize("baseline", [0.0, 0.3])
@pytest.mark.parametrize("target", [1, Margin(0, 3)])
def test_it_is_the_sum_over_the_way(baseline: float, target: int | Margin) -> None:
    x = torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(3))
    net = calibrated(method_oracles.net(), x, seed=4)
    explain = Explainer(
        export(net, x, dynamo=False), "layer-integrated-gradients", feature_layer=FEATURE,
        reduction_layer=OUTPUT, device="cpu", threads=1, upsampling="none",
        parameters={"steps": 12, "baseline": baseline},
    )  # fmt: skip
    places, weights = np.polynomial.legendre.leggauss(12)
    with torch.no_grad():
        a = net.body(x[:1])
    total = torch.zeros_like(a)
    for place, weight in zip((places + 1) / 2, weights / 2, strict=True):
        at = (baseline + float(place) * (a - baseline)).requires_grad_()
        y = net.head(at)[0]
        score = y[0] - y[3] if isinstance(target, Margin) else y[target]
        total += float(weight) * torch.autograd.grad(score, at)[0]
    want = ((a - baseline) * total).sum(1)[0].numpy()
    found = explain(x[:1].numpy(), target=target)
    np.testing.assert_allclose(found.signed_map, want, atol=1e-5 * np.abs(want).max())


def test_many_steps_sum_up_to_the_difference_of_the_scores() -> None:
    x = torch.randn(1, 3, 24, 24, generator=torch.Generator().manual_seed(5))
    net = calibrated(method_oracles.net(), x, seed=4)
    explain = Explainer(
        export(net, x, dynamo=False), "layer-integrated-gradients", feature_layer=FEATURE,
        device="cpu", threads=1, upsampling="none", parameters={"steps": 200},
    )  # fmt: skip
    found = explain(x.numpy(), target=2)
    with torch.no_grad():
        a = net.body(x)
        want = float(net.head(a)[0, 2] - net.head(torch.zeros_like(a))[0, 2])
    assert found.signed_map.sum() == pytest.approx(want, rel=0.02)
