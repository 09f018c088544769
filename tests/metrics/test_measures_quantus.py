"""Metrics against Quantus on the same maps, where tests/peers.txt is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.peer_packages import quantus
from torch import Tensor, nn

from onnxcam import metrics

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]

RNG = np.random.default_rng(4)
SIDE, COUNT, TARGET = 12, 3, 2
MAPS = RNG.random((COUNT, SIDE, SIDE))
X = RNG.normal(size=(COUNT, 1, SIDE, SIDE)).astype("f4")
MASKS = RNG.random((COUNT, SIDE, SIDE)) < 0.3


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.fc = nn.Linear(SIDE * SIDE, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(torch.tanh(x.float()).flatten(1))
        return y


NET = _Net().eval()


def _theirs(package: Any, kind: str, *, masked: bool = False, **options: Any) -> Any:
    made = getattr(package, kind)(
        normalise=False, abs=False, disable_warnings=True, display_progressbar=False, **options
    )
    given = {"s_batch": MASKS[:, None]} if masked else {}
    return made(
        model=NET, x_batch=X.copy(), y_batch=np.full(COUNT, TARGET), a_batch=MAPS[:, None].copy(),
        device="cpu", **given,
    )  # fmt: skip


def _localised(name: str) -> list[float]:
    return [metrics.measure(name, m, mask=mask) for m, mask in zip(MAPS, MASKS, strict=True)]


def test_localisation_is_quantus(monkeypatch: pytest.MonkeyPatch) -> None:
    package = quantus(monkeypatch)
    hits = _theirs(package, "PointingGame", masked=True)
    assert _localised("pointing-game") == [float(hit) for hit in hits]
    shares = _theirs(package, "RelevanceMassAccuracy", masked=True)
    np.testing.assert_allclose(_localised("energy"), shares, rtol=1e-6)
    # Of as many places as the mask has, h in it: theirs is h / n, ours h / (2 n - h).
    found = np.array(_localised("iou"))
    ranks = _theirs(package, "RelevanceRankAccuracy", masked=True)
    np.testing.assert_allclose(2 * found / (1 + found), ranks, rtol=1e-6)


def test_complexity_is_quantus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its entropy is not divided by that of a map that is the same everywhere."""
    package = quantus(monkeypatch)
    gini = [metrics.measure("sparseness", m) for m in MAPS]
    np.testing.assert_allclose(gini, _theirs(package, "Sparseness"), rtol=1e-6)
    entropy = np.array([metrics.measure("entropy", m) for m in MAPS])
    want = _theirs(package, "Complexity")
    np.testing.assert_allclose(entropy * np.log(SIDE * SIDE), want, rtol=1e-6)


def test_deletion_is_quantus_pixel_flipping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its curve begins behind the first pixels; ours with the score of the whole input."""
    package = quantus(monkeypatch)
    curves = _theirs(package, "PixelFlipping", features_in_step=SIDE, perturb_baseline=0.0)
    for x, values, curve in zip(X, MAPS, curves, strict=True):
        whole = [float(_predict(x[None])[0, TARGET]), *map(float, curve)]
        want = np.trapezoid(whole, dx=1 / SIDE)
        got = metrics.measure(
            "deletion", values, tensor=x, target=TARGET, predict=_predict, steps=SIDE, baseline=0.0
        )
        assert got == pytest.approx(want, rel=1e-4)


def _predict(batch: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return NET(torch.from_numpy(np.asarray(batch, "f4"))).softmax(1).numpy()
