"""Metrics against pytorch-grad-cam and Captum, on the same maps and the same random numbers.

See ``tests/methods/test_methods_reference.py`` for how these are installed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.peer_packages import captum_attr, pytorch_grad_cam
from torch import Tensor, nn

from onnxcam import metrics
from onnxcam.metrics.infidelity import random_boxes

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]

RNG = np.random.default_rng(12)
SIDE = 12


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.fc = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4 * SIDE * SIDE, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.tanh(self.conv(x)).flatten(1)).softmax(1)


NET = _Net().eval()
X = RNG.normal(size=(1, SIDE, SIDE)).astype("f4")
MAP = RNG.random((SIDE, SIDE)).astype("f4")


def _predict(batch: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return NET(torch.from_numpy(np.asarray(batch, "f4"))).numpy()


def test_road_is_pytorch_grad_cams(monkeypatch: pytest.MonkeyPatch) -> None:
    pytorch_grad_cam(monkeypatch)
    from pytorch_grad_cam.metrics import road

    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    targets = [lambda output: output[1]]
    given = torch.from_numpy(X[None]), MAP[None], targets, NET
    for name, theirs in (
        ("road", road.ROADCombined), ("road-morf", road.ROADMostRelevantFirstAverage),
        ("road-lerf", road.ROADLeastRelevantFirstAverage),
    ):  # fmt: skip
        percentiles = [20, 40, 60, 80]
        want = float(theirs(percentiles=percentiles)(*given)[0])
        got = metrics.measure(
            name, MAP, tensor=X, target=1, predict=_predict, noise=0, percentiles=percentiles
        )
        assert got == pytest.approx(want, rel=1e-3, abs=1e-5)


def test_arcc_is_pytorch_grad_cams(monkeypatch: pytest.MonkeyPatch) -> None:
    pytorch_grad_cam(monkeypatch)
    from pytorch_grad_cam.metrics.arcc import ARCC

    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    map = (MAP - MAP.min()) / (MAP.max() - MAP.min())
    again = (MAP.T - MAP.min()) / (MAP.max() - MAP.min())

    def theirs(input_tensor: Tensor, targets: Any) -> np.ndarray:
        return again[None]

    targets = [lambda output: output[2]]
    want = float(ARCC(theirs)(torch.from_numpy(X[None]), map[None], targets, NET)[0])
    got = metrics.measure(
        "arcc", map, tensor=X, target=2, predict=_predict, explain=lambda x: again, noise=0
    )
    assert got == pytest.approx(want, rel=1e-3, abs=1e-6)


def test_infidelity_is_captums() -> None:
    captum_attr()
    from captum.metrics import infidelity

    boxes = np.array(list(random_boxes((SIDE, SIDE), 20, 0.2, np.random.default_rng(0))))
    masks = torch.from_numpy(boxes.astype("f4"))[:, None]

    def perturb(inputs: Tensor) -> tuple[Tensor, Tensor]:
        return inputs * masks, inputs * (1 - masks)

    x = torch.from_numpy(X[None])
    shares = torch.from_numpy(MAP)[None, None] / x
    falls = _predict(X[None])[0, 1] - _predict(X[None] * (1 - masks.numpy()))[:, 1]
    for scale in (False, True):
        want = infidelity(
            NET, perturb, x, shares, target=1, n_perturb_samples=20,
            max_examples_per_batch=20, normalize=scale,
        )  # fmt: skip
        got = metrics.measure(
            "infidelity", MAP, tensor=X, target=1, predict=_predict, samples=20, scale=scale
        )
        # Ours of scaled maps is a part of what the best constant leaves.
        assert got * (float((falls**2).mean()) if scale else 1) == pytest.approx(
            float(want[0]), rel=1e-3
        )


def test_max_sensitivity_is_captums() -> None:
    captum_attr()
    from captum.metrics import sensitivity_max

    rng = np.random.default_rng(0)
    noise = np.array([rng.uniform(-0.02, 0.02, X.shape) for _ in range(10)])

    left = list(noise)

    def explain(x: Any, **_: Any) -> Any:
        x = x[0] if isinstance(x, tuple) else x
        return torch.sin(x) * x**2

    def perturb(inputs: Any) -> Any:
        x = inputs[0] if isinstance(inputs, tuple) else inputs
        return x + torch.from_numpy(left.pop(0)[None].astype("f4"))

    x = torch.from_numpy(X[None])
    want = sensitivity_max(
        explain, x, perturb_func=perturb, n_perturb_samples=10, max_examples_per_batch=1
    )
    got = metrics.measure(
        "max-sensitivity", explain(torch.from_numpy(X))[0].numpy(), tensor=X,
        explain=lambda other: explain(torch.from_numpy(other))[0].numpy(),
    )  # fmt: skip
    assert got == pytest.approx(float(want[0]), rel=1e-3)
