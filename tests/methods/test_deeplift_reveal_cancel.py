"""Reveal-cancel: the paper's examples, a naive oracle of layers, what it sums up to, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from methods.test_deeplift import _exported, _net
from onnx import parser
from torch import Tensor, nn

from onnxcam import Explainer
from onnxcam.errors import UsageError


def _found(proto: Any, x: np.ndarray, target: Any = 0, **settings: Any) -> Any:
    explain = Explainer(
        proto, "deeplift-reveal-cancel", device="cpu", threads=1, upsampling="none",
        parameters=settings,
    )  # fmt: skip
    return explain(x, target=target)


@pytest.mark.parametrize("x", [(1.0, 3.0), (5.0, 2.0)])
def test_the_minimum_of_the_paper(x: tuple[float, float]) -> None:
    """y = x_0 - relu(x_0 - x_1) = min(x_0, x_1): both have half of it (section 3.5.3).

    By the rescale rule the larger one has nothing, and so by gradients. The identity is written
    as relu(x_0) - relu(-x_0).
    """
    text = """<ir_version: 8, opset_import: ["" : 20]>
    g (float[N,2] x) => (float[N,1] y)
    <float[2,3] w = {1, -1, 1, 0, 0, -1}, float[3,1] v = {1, -1, -1}> {
      m = MatMul (x, w)
      r = Relu (m)
      y = MatMul (r, v)
    }"""
    found = _found(parser.parse_model(text), np.array([x], "f4"))
    np.testing.assert_allclose(found.signed_map.ravel(), [min(x) / 2] * 2, rtol=1e-6)


def _oracle(net: nn.Sequential, x: np.ndarray, target: int, baseline: float) -> np.ndarray:
    """Linear layers and ReLUs in plain loops: equations of the paper, unit by unit."""
    layers = [m for m in net if isinstance(m, nn.Linear)]
    values, starts = [x.astype(float)], [np.full(x.shape, baseline)]
    for i, each in enumerate(layers):
        w, b = each.weight.detach().double().numpy(), each.bias.detach().double().numpy()
        for rows in (values, starts):
            z = w @ rows[-1] + b
            rows.append(z if i == len(layers) - 1 else np.maximum(z, 0))
    m = layers[-1].weight.detach().double().numpy()[target]
    for i in range(len(layers) - 2, -1, -1):
        w, b = layers[i].weight.detach().double().numpy(), layers[i].bias.detach().double().numpy()
        away, below = values[i] - starts[i], np.zeros(len(values[i]))
        z0 = w @ starts[i] + b
        for j in range(len(w)):
            parts = w[j] * away
            p, n = parts[parts > 0].sum(), parts[parts < 0].sum()
            f = lambda v: max(v, 0.0)  # noqa: E731
            up = (f(z0[j] + p) - f(z0[j]) + f(z0[j] + p + n) - f(z0[j] + n)) / 2
            down = (f(z0[j] + n) - f(z0[j]) + f(z0[j] + p + n) - f(z0[j] + p)) / 2
            rising, falling = (up / p if p else 0.0), (down / n if n else 0.0)
            for k in range(len(away)):
                if parts[k] > 0:
                    below[k] += m[j] * w[j, k] * rising
                elif parts[k] < 0:
                    below[k] += m[j] * w[j, k] * falling
                else:
                    below[k] += m[j] * w[j, k] * (rising + falling) / 2
        m = below
    return m * (values[0] - starts[0])


@pytest.mark.parametrize("baseline", [0.0, 0.4])
def test_dense_layers_are_those_of_the_paper(baseline: float) -> None:
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 3)
    ).eval()
    x = torch.randn(2, 6, generator=torch.Generator().manual_seed(1))
    x[0, 2] = baseline  # no difference
    proto = _exported(net, x)
    for one in x:
        for layers in ("all", "dense"):
            found = _found(proto, one[None].numpy(), 1, baseline=baseline, layers=layers)
            want = _oracle(net, one.numpy(), 1, baseline)
            np.testing.assert_allclose(found.signed_map.ravel(), want, rtol=1e-4, atol=1e-6)


def test_a_convolution_is_its_dense_layer() -> None:
    """With BatchNormalization and ReLU behind; the same as one large matrix."""
    torch.manual_seed(6)
    conv = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3))
    conv[1].running_mean.normal_()
    conv[1].running_var.uniform_(0.5, 2)
    conv.eval()
    head = nn.Linear(3 * 16, 2)
    net = nn.Sequential(*conv, nn.ReLU(), nn.Flatten(), head).eval()
    x = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    eye = torch.eye(32).reshape(32, 2, 4, 4)
    with torch.no_grad():
        bias = conv(torch.zeros(1, 2, 4, 4)).reshape(-1)
        dense = nn.Linear(32, 48)
        dense.weight.copy_((conv(eye).reshape(32, -1) - bias).T)
        dense.bias.copy_(bias)
    want = _oracle(nn.Sequential(dense, nn.ReLU(), head), x[0].flatten().numpy(), 1, 0.1)
    found = _found(_exported(net, x), x[:1].numpy(), 1, baseline=0.1)
    np.testing.assert_allclose(found.signed_map, want.reshape(2, 4, 4).sum(0), rtol=1e-3, atol=1e-5)


def test_the_map_sums_up_to_the_difference() -> None:
    net, x = _net().eval(), torch.randn(1, 3, 12, 12, generator=torch.Generator().manual_seed(3))
    rise = (net(x) - net(torch.full_like(x, 0.3)))[0].detach().numpy()
    proto = _exported(net, x.repeat(2, 1, 1, 1))
    plain = Explainer(proto, "deeplift", device="cpu", upsampling="none",
                      parameters={"baseline": 0.3})(x.numpy(), target=0)  # fmt: skip
    for target, found in enumerate(_found(proto, x.numpy(), [0, 1, 2, 3], baseline=0.3)):
        np.testing.assert_allclose(found.signed_map.sum(), rise[target], rtol=2e-3, atol=2e-4)
        if target == 0:
            away = np.abs(found.signed_map - plain.signed_map).max()
            assert away > 1e-3 * np.abs(plain.signed_map).max()


def test_without_a_layer_of_that_kind_it_is_refused() -> None:
    class Smooth(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(4, 5), nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.two(self.one(x).tanh())

    proto = _exported(Smooth().eval(), torch.randn(2, 4))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="linear layers with a ReLU behind"):
        _found(proto, np.ones((1, 4), "f4"))
