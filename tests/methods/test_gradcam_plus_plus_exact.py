"""Grad-CAM++ by true derivatives: by hand, against autograd, and where it is Grad-CAM++."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from architectures.export import FEATURE, OUTPUT, export
from onnx import helper
from support import nets
from torch import Tensor, nn

import onnxcam
from onnxcam import Explainer
from onnxcam.errors import UsageError
from onnxcam.run.session import Session

X = np.array([[[[1, 0], [2, -1]], [[0, 3], [1, 0]]]], "f4")


def _explain(proto: Any, x: np.ndarray, target: Any, name: str = "gradcam++-exact", **options: Any):
    chosen = {"device": "cpu", "threads": 1, "upsampling": "none", **options}
    return Explainer(proto, name, **chosen)(x, target=target)


def _cubic() -> Any:
    """y = sum_i a_i^3 + a_i^2 over the values of a = relu(x)."""
    nodes = [
        helper.make_node("MaxPool", ["x"], ["m"], kernel_shape=[1, 1]),
        helper.make_node("Relu", ["m"], ["a"]),
        helper.make_node("Mul", ["a", "a"], ["s"]),
        helper.make_node("Mul", ["s", "a"], ["c"]),
        helper.make_node("Add", ["s", "c"], ["b"]),
        helper.make_node("Flatten", ["b"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    weights = {"w": np.array([[0.1, 0.05]], "f4").repeat(8, 0)}
    return nets.model(nodes, {"x": ["N", 2, 2, 2]}, {"y": ["N", 2]}, weights)


def test_of_a_cubic_by_hand() -> None:
    found = _explain(_cubic(), X, 0, feature_layer="a")
    a = np.maximum(X[0], 0).astype(float)
    g, h, t = 0.1 * (3 * a**2 + 2 * a), 0.1 * (6 * a + 2), np.full_like(a, 0.6)
    second, third = g**2 + h, g**3 + 3 * g * h + t
    below = 2 * second + third * a.sum((1, 2), keepdims=True)
    weights = (second / below * np.maximum(g, 0)).sum((1, 2))
    np.testing.assert_allclose(found.map, np.tensordot(weights, a, 1), rtol=1e-5)


class _Net(nn.Module):
    """Gates behind the layer; with ``pooled`` all positions have one gradient."""

    def __init__(self, pooled: bool) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.SiLU())
        mix = nn.AdaptiveAvgPool2d(1) if pooled else nn.Conv2d(4, 3, 3, stride=2)
        self.head = nn.Sequential(mix, nn.Flatten(), nn.LazyLinear(6), nn.Tanh(), nn.Linear(6, 3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a = self.body(x)
        return self.head(a), a


def _oracle(net: _Net, x: Tensor, score: Any) -> np.ndarray:
    """By torch, value by value, in double precision."""
    net = net.double()
    a = net.body(x.double()[None]).detach()
    g, h, t = (np.zeros(a[0].numel()) for _ in range(3))
    flat = a.flatten()

    for i in range(flat.numel()):
        value = flat[i].clone().requires_grad_()
        there = torch.cat([flat[:i], value[None], flat[i + 1 :]]).reshape(a.shape)
        (first,) = torch.autograd.grad(score(net.head(there)), value, create_graph=True)
        (second,) = torch.autograd.grad(first, value, create_graph=True)
        (third,) = torch.autograd.grad(second, value)
        g[i], h[i], t[i] = first.item(), second.item(), third.item()
    net.float()
    features = a[0].numpy()
    g, h, t = (each.reshape(features.shape) for each in (g, h, t))
    second_of, third_of = g**2 + h, g**3 + 3 * g * h + t
    below = 2 * second_of + third_of * features.sum((1, 2), keepdims=True)
    alpha = np.divide(second_of, below, out=np.zeros_like(below), where=below != 0)
    weights = (alpha * np.maximum(g, 0)).sum((1, 2))
    return np.tensordot(weights, features, 1)


@pytest.mark.parametrize("pooled", [False, True])
def test_of_gates_it_is_autograds(pooled: bool) -> None:
    net = _Net(pooled)
    x = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    net(x)
    proto = export(net.eval(), x, dynamo=False)
    options = {"feature_layer": FEATURE, "reduction_layer": OUTPUT}
    for one in x[:1]:
        for target, score in (
            (1, lambda y: y[0, 1]),
            (lambda y: y[:, 2] * y[:, 0], lambda y: y[0, 2] * y[0, 0]),
        ):
            found = _explain(proto, one[None].numpy(), target, **options)
            want = _oracle(net, one, score)
            away = np.linalg.norm(found.signed_map - want) / np.linalg.norm(want)
            assert away <= 1e-3
    usual = _explain(proto, x[:1].numpy(), 1, "gradcam++", **options)
    exact = _explain(proto, x[:1].numpy(), 1, **options)
    away = np.linalg.norm(usual.signed_map - exact.signed_map)
    assert away > 1e-3 * np.linalg.norm(usual.signed_map)  # the curvature is seen


def test_of_a_head_that_is_linear_it_is_gradcam_plus_plus() -> None:
    x = np.random.default_rng(5).normal(size=(1, 2, 6, 6)).astype("f4")
    usual, exact = (_explain(nets.cnn(), x, 1, n).map for n in ("gradcam++", "gradcam++-exact"))
    np.testing.assert_allclose(exact, usual, rtol=1e-4, atol=1e-7)


def test_a_file_has_it() -> None:
    made = onnxcam.convert(
        _cubic(), method="gradcam++-exact", upsampling="none", feature_layer="a", target=[0, 1]
    )
    found = Session(made.explained.model, device="cpu").run({"x": X}, ["onnxcam.map"])[0]
    for k in (0, 1):
        want = _explain(_cubic(), X, k, feature_layer="a").map
        np.testing.assert_allclose(found[0, k], want, rtol=1e-5)


def test_a_large_layer_is_refused() -> None:
    nodes = [
        helper.make_node("MaxPool", ["x"], ["m"], kernel_shape=[1, 1]),
        helper.make_node("Relu", ["m"], ["a"]),
        helper.make_node("Sigmoid", ["a"], ["s"]),
        helper.make_node("Flatten", ["s"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    weights = {"w": np.ones((2 * 72 * 72, 2), "f4")}
    proto = nets.model(nodes, {"x": ["N", 2, 72, 72]}, {"y": ["N", 2]}, weights)
    with pytest.raises(UsageError, match="10,368 values.*too many"):
        _explain(proto, np.ones((1, 2, 72, 72), "f4"), 0, feature_layer="a")
