"""The gradient of a gradient of whole networks: Hessian-vector products, three ways."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import pytest
import torch
from architectures import ARCHITECTURES
from architectures.export import INPUT, OUTPUT, export, shared_weight
from architectures.weights import calibrated, inputs
from onnx import ModelProto, TensorProto, helper
from support.evaluate import run as run_in_double
from support.gradcheck import run
from support.relaxed import Relaxed
from support.second_order import renamed
from support.variants import graph_model
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from onnxcam.autodiff import vjp_model

FIRST = f"first.{INPUT}"
# Steps of the differences: short where there are kinks, long where the evaluator rounds to single.
NETS = {"mobilenet_v2": 1e-6, "mobilenet_v3": 1e-6, "vit_b": 1e-3, "deit_s": 1e-3}


class _Probabilities(nn.Module):
    """A network behind which the Hessian is not zero, whatever its activations are."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, feature = self.net(x)
        return torch.softmax(y, -1), feature


@pytest.mark.parametrize("name", NETS)
def test_hessian_vector_products(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against autograd and against differences of the first gradient."""
    architecture = ARCHITECTURES[name]
    net = _Probabilities(calibrated(architecture.small(), inputs(architecture, 8))).eval()
    double = copy.deepcopy(net).double()
    model = export(double, inputs(architecture, 2).double(), dynamo=False)
    weight = shared_weight(model, double)
    first = vjp_model(model, [INPUT], [OUTPUT])
    second = vjp_model(renamed(first, {f"grad::{INPUT}": FIRST}), [INPUT, weight], [FIRST])
    onnx.checker.check_model(second, full_check=True)

    x = inputs(architecture, 3, seed=5).double()
    random = torch.Generator().manual_seed(7)
    y = double(x)[0]
    ct = torch.randn(y.shape, generator=random, dtype=torch.float64)
    v = torch.randn(x.shape, generator=random, dtype=torch.float64)
    _let_autograd_differentiate_twice(monkeypatch)
    want = _autograd(double, x, ct, v, weight)

    names = [f"grad::{INPUT}", f"grad::{weight}"]
    feeds = {INPUT: x.numpy(), f"ct::{OUTPUT}": ct.numpy(), f"ct::{FIRST}": v.numpy()}
    got = run_in_double(second, feeds, names)
    for a, b in zip(got, want, strict=True):
        assert np.linalg.norm(b) > 0
        assert _distance(a, b) < 1e-6
    step = NETS[name]
    sides = [run_in_double(first, {**feeds, INPUT: (x + e * v).numpy()}, [FIRST])[0]
             for e in (step, -step)]  # fmt: skip
    assert _distance(got[0], (sides[0] - sides[1]) / (2 * step)) < 1e-4


def _let_autograd_differentiate_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spell out what torch has no second derivative of."""

    def hardsigmoid(x: Tensor, inplace: bool = False) -> Tensor:
        return functional.relu6(x + 3) / 6

    monkeypatch.setattr(functional, "hardsigmoid", hardsigmoid)
    monkeypatch.setattr(functional, "hardswish", lambda x, inplace=False: x * hardsigmoid(x))


def _autograd(net: nn.Module, x: Tensor, ct: Tensor, v: Tensor, weight: str) -> list[np.ndarray]:
    leaf = x.clone().requires_grad_()
    with sdpa_kernel(SDPBackend.MATH):
        y = net(leaf)[0]
    (gradient,) = torch.autograd.grad(y, leaf, ct, create_graph=True)
    found = torch.autograd.grad(gradient, [leaf, dict(net.named_parameters())[weight]], v)
    return [g.numpy() for g in found]


# ---- quantised: the model without its rounding is what the estimator differentiates

STEP = {"zero": np.array(32768, np.uint16)}


def _quantised() -> ModelProto:
    """Return conv, sigmoid, conv, all rounded to uint16, and a product of sums."""
    rng = np.random.default_rng(3)
    weights = {**STEP, "fine": np.array(3e-4, np.float32), "coarse": np.array(0.01, np.float32),
               "w": rng.integers(-60, 60, (3, 2, 3, 3)).astype(np.int8),
               "u": rng.integers(-60, 60, (2, 3, 1, 1)).astype(np.int8)}  # fmt: skip
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "coarse"], ["wf"]),
        helper.make_node("DequantizeLinear", ["u", "coarse"], ["uf"]),
        *_pair("x"),
        helper.make_node("Conv", ["x.r", "wf"], ["a"], pads=[1, 1, 1, 1]),
        *_pair("a"),
        helper.make_node("Sigmoid", ["a.r"], ["b"]),
        *_pair("b"),
        helper.make_node("Conv", ["b.r", "uf"], ["c"]),
        *_pair("c"),
        helper.make_node("Mul", ["c.r", "c.r"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 4, 4])
    return graph_model(nodes, [x], ["y"], opset=21, initializers=weights)


def _pair(name: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("QuantizeLinear", [name, "fine", "zero"], [f"{name}.q"]),
        helper.make_node("DequantizeLinear", [f"{name}.q", "fine", "zero"], [f"{name}.r"]),
    ]


def test_a_quantised_net_has_the_hessian_of_the_net_without_rounding() -> None:
    first = renamed(vjp_model(_quantised(), ["x"], ["y"]), {"grad::x": "first.x"})
    second = vjp_model(first, ["x"], ["first.x"])
    onnx.checker.check_model(second, full_check=True)
    said = {p.key: p.value for p in second.metadata_props}["onnxcam.gradient"]
    assert said == "straight-through (QuantizeLinear)"
    rng = np.random.default_rng(4)
    feeds = {"x": rng.uniform(-2, 2, (1, 2, 4, 4)).astype(np.float32),
             "ct::y": rng.standard_normal((1, 2, 4, 4)).astype(np.float32)}  # fmt: skip
    u, v = rng.standard_normal((2, 1, 2, 4, 4)).astype(np.float32)
    hu, hv = (run(second, {**feeds, "ct::first.x": d}, ["grad::x"])["grad::x"] for d in (u, v))
    want, smooth = Relaxed(first, ["first.x"]).gradient(feeds, "x", [v])
    assert smooth.all()
    np.testing.assert_allclose(hv, want, rtol=0, atol=2e-3 * np.abs(want).max())
    assert np.vdot(u, hv) == pytest.approx(np.vdot(v, hu), rel=1e-3)


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))
