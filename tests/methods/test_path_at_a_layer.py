"""Conductance and internal influence against Captum, on the same weights.

See ``test_methods_reference.py`` for how it is installed.
"""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from methods.test_deeplift import SIZE, _exported, _net
from support.peer_packages import captum_attr
from torch import nn

from onnxcam import Explainer

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]

X = torch.randn(SIZE, generator=torch.Generator().manual_seed(1))
NET, TARGET, BASELINE = _net(nn.MaxPool2d), 2, 0.5
LAYERS = {2: "/2/Relu_output_0", 4: "/4/Conv_output_0", 6: "/6/AveragePool_output_0"}


@cache
def _proto() -> Any:
    return _exported(NET, X)


def _found(name: str, layer: int, **settings: Any) -> Any:
    explain: Any = Explainer(
        _proto(), name, feature_layer=LAYERS[layer], device="cpu", threads=1, upsampling="none",
        parameters={"baseline": BASELINE, **settings},
    )  # fmt: skip
    return explain([one[None] for one in X.numpy()], TARGET)


def _assert_equal(found: Any, want: Any) -> None:
    for one, theirs in zip(found, want.detach().numpy(), strict=True):
        for got, wanted in ((one.relief, theirs), (one.signed_map, theirs.sum(0))):
            assert np.linalg.norm(got - wanted) <= 1e-3 * np.linalg.norm(wanted)


@pytest.mark.parametrize("layer", LAYERS)
def test_internal_influence(layer: int) -> None:
    net = deepcopy(NET)
    start = torch.full_like(X, BASELINE)
    want = captum_attr().InternalInfluence(net, net[layer]).attribute(
        X, baselines=start, target=TARGET, n_steps=30
    )  # fmt: skip
    _assert_equal(_found("internal-influence", layer, steps=30), want)


@pytest.mark.parametrize("layer", LAYERS)
def test_conductance(layer: int) -> None:
    """Captum has the gradient at the start of each step: with the way back it is the mean."""
    net, start = deepcopy(NET), torch.full_like(X, BASELINE)
    peer, how = captum_attr().LayerConductance(net, net[layer]), {"method": "riemann_trapezoid"}
    there = peer.attribute(X, baselines=start, target=TARGET, n_steps=20, **how)
    back = peer.attribute(start, baselines=X, target=TARGET, n_steps=20, **how)
    _assert_equal(_found("conductance", layer, steps=20), (there - back) / 2)


def test_conductance_of_many_steps_is_captums_own() -> None:
    net, start = deepcopy(NET), torch.full_like(X, BASELINE)
    peer = captum_attr().LayerConductance(net, net[6])
    want = peer.attribute(X, baselines=start, target=TARGET, n_steps=3000)
    _assert_equal(_found("conductance", 6, steps=500), want)
