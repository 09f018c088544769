"""AttnLRP and LibraGrad: against autograd with pruned paths, by sums, by hand, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from architectures import ARCHITECTURES
from architectures.export import OUTPUT, export
from architectures.weights import calibrated
from onnx import parser
from support import token_nets
from support.relevance_mode import Relevance
from support.runtime import run
from torch import Tensor, nn

from onnxcam import Explainer
from onnxcam.autodiff.api import vjp_model
from onnxcam.errors import UnsupportedOp
from onnxcam.methods.lrp.attention import composite

TARGET = 1
METHODS = {"attnlrp": True, "libragrad": False}


class Pair(nn.Module):
    """What ``export`` wants: a network that returns two values."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        y = self.net(x)
        return (y[0] if isinstance(y, tuple) else y), None


class Gates(nn.Module):
    """Group and instance norms, squeeze and excitation, SwiGLU, and an RMS norm spelled out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.mix = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        self.group, self.instance = nn.GroupNorm(2, 8), nn.InstanceNorm2d(8, affine=True)
        self.down, self.up = nn.Linear(8, 4), nn.Linear(4, 8)
        self.a, self.b, self.head = nn.Linear(8, 6), nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mix(nn.functional.silu(self.group(self.stem(x))))
        squeezed = nn.functional.relu(self.down(x.mean((2, 3))))
        x = self.instance(x * self.up(squeezed).sigmoid()[..., None, None])
        x = x.flatten(2).transpose(1, 2)
        x = x * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt()
        x = nn.functional.silu(self.a(x)) * self.b(x)
        return self.head(x.mean(1))


SPELLED = ("swin", "convnext", "efficientnet_b0", "mobilenet_v3")


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    **{name: (case.make, (3, *token_nets.SIZE)) for name, case in token_nets.CASES.items()},
    "gates": (Gates, (3, 10, 12)),
    **{name: (ARCHITECTURES[name].small, ARCHITECTURES[name].shape) for name in SPELLED},
}


def _wanted(net: nn.Module, x: Tensor, *, attention_moves: bool) -> np.ndarray:
    x = x.double().requires_grad_()
    with Relevance(attention_moves=attention_moves):
        score = Pair(deepcopy(net).double())(x)[0][:, TARGET].sum()
        (slope,) = torch.autograd.grad(score, x)
    return (x * slope).sum(1).detach().numpy()


def _found(proto: Any, name: str, x: np.ndarray, **options: Any) -> np.ndarray:
    explain = Explainer(proto, name, device="cpu", threads=1, **options)
    return np.stack([e.signed_map for e in explain([one[None] for one in x], TARGET)])


def _case(case: str) -> tuple[nn.Module, Tensor]:
    make, size = NETS[case]
    x = torch.randn(2, *size, generator=torch.Generator().manual_seed(5))
    net = calibrated(make(), x, seed=2).eval()
    return net.requires_grad_(requires_grad=False), x


def _check(case: str, *, dynamo: bool) -> None:
    net, x = _case(case)
    proto = export(Pair(net).eval(), x, dynamo=dynamo, feature=False)
    for name, moves in METHODS.items():
        want = _wanted(net, x, attention_moves=moves)
        got = _found(proto, name, x.numpy(), reduction_layer=OUTPUT)
        limit = 1e-3 if case in SPELLED else 1e-5  # a gate's share is y / x, of x near 0
        assert np.linalg.norm(got - want) <= limit * np.linalg.norm(want), name


@pytest.mark.parametrize("case", NETS)
def test_relevance_is_that_of_pruned_autograd(case: str) -> None:
    _check(case, dynamo=False)


@pytest.mark.exhaustive
@pytest.mark.parametrize("case", NETS)
def test_relevance_of_the_new_exporter(case: str) -> None:
    _check(case, dynamo=True)


@pytest.mark.parametrize(
    ("case", "name"),
    [*((case, "libragrad") for case in ("vit", "torch", "gates", "swin")), ("gates", "attnlrp")],
)
def test_relevance_is_conserved_where_nothing_is_added(case: str, name: str) -> None:
    """Without biases, positions and tokens of its own the score is all there is to share out.

    A softmax whose own gradient hands relevance on, as AttnLRP's does, adds something of its own.
    """
    net, x = _case(case)
    for parameter, values in net.named_parameters():
        if any(part in parameter for part in ("bias", "position", "tokens")):
            values.zero_()
    proto = export(Pair(net).eval(), x, dynamo=False, feature=False)
    found = _found(proto, name, x.numpy(), reduction_layer=OUTPUT)
    scores = net(x)[0] if isinstance(net(x), tuple) else net(x)
    np.testing.assert_allclose(found.sum((1, 2)), scores[:, TARGET], rtol=1e-3, atol=1e-4)


PRODUCT = """<ir_version: 8, opset_import: ["" : 20]>
g (float[1,2] x) => (float[1,1] y) <float[2,1] w = {2, -1}, float[2,2] v = {1, 0, 1, 3}> {
  a = MatMul (x, w)
  h = MatMul (x, v)
  p = Mul (a, h)
  y = ReduceSum <keepdims = 1> (p)
}"""


@pytest.mark.parametrize("moves", [True, False])
def test_a_product_is_shared_out_in_halves(moves: bool) -> None:
    """a = 2 - 3 = -1 and h = (1 + 3, 9): of y = -13 half is a's (2 to -3), half h's."""
    made = vjp_model(
        parser.parse_model(PRODUCT), ["x"], ["y"], overrides=composite(attention_moves=moves)
    )
    x = np.array([[1, 3]], "f4")
    found = run(made, {"x": x, "ct::y": np.ones((1, 1), "f4")})["grad::x"] * x
    np.testing.assert_allclose(found, [[13 - 0.5, -13 * 1.5 - 6]], rtol=1e-6)


SOFTMAX_BY_HAND = """<ir_version: 8, opset_import: ["" : 20]>
g (float[1,4] x) => (float[1,4] y) <int64[1] axes = {-1}> {
  e = Exp (x)
  s = ReduceSum (e, axes)
  y = Div (e, s)
}"""


@pytest.mark.parametrize("moves", [True, False])
def test_a_softmax_by_hand_is_no_normalisation(moves: bool) -> None:
    with pytest.raises(UnsupportedOp, match="LRP has no rule for ai.onnx::Div"):
        vjp_model(
            parser.parse_model(SOFTMAX_BY_HAND), ["x"], ["y"],
            overrides=composite(attention_moves=moves),
        )  # fmt: skip
