"""AttnLRP against its authors' own code, lxt, on the same weights, where that is installed.

Twice: by the patches of ``lxt.efficient``, which change the gradient, and by the functions of
``lxt.explicit``, which hand on the relevance itself, stabilised by its own epsilons.
"""

from __future__ import annotations

from copy import deepcopy
from types import MethodType
from typing import Any

import numpy as np
import pytest
import torch
from architectures import ARCHITECTURES
from architectures.export import OUTPUT, export
from architectures.parts import Residual
from architectures.transformers import Attention, vit
from architectures.weights import calibrated
from support.peer_packages import lxt
from torch import Tensor, nn

from onnxcam import Explainer

pytestmark = pytest.mark.peers

TARGET = 1
NETS: dict[str, Any] = {
    "vit": lambda: vit(24, 3, 3, 8, 32, 5),
    "deit": ARCHITECTURES["deit_s"].small,
}


def _case(name: str) -> tuple[Any, Tensor]:
    size = 32 if name == "vit" else ARCHITECTURES["deit_s"].shape[-1]
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(3))
    net = calibrated(NETS[name](), x, seed=4).eval()
    return net.requires_grad_(requires_grad=False), x


def _assert_ours(net: nn.Module, x: Tensor, want: np.ndarray) -> None:
    proto = export(net, x, dynamo=False, feature=False)
    explain = Explainer(proto, "attnlrp", device="cpu", threads=1, reduction_layer=OUTPUT)
    got = np.stack([e.signed_map for e in explain([one[None] for one in x.numpy()], TARGET)])
    assert np.linalg.norm(got - want) <= 1e-3 * np.linalg.norm(want)


def _changed(net: nn.Module, forwards: dict[type[nn.Module], Any]) -> nn.Module:
    """Return a copy in double precision whose modules have other ``forward`` methods."""
    copy = deepcopy(net).double()
    for module in copy.modules():
        forward = forwards.get(type(module))
        if forward is not None:
            module.original_forward = module.forward  # type: ignore[assignment]
            module.forward = MethodType(forward, module)
    return copy


@pytest.mark.parametrize("case", NETS)
def test_attnlrp_is_lxts_by_patched_gradients(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    patches = lxt(monkeypatch, "efficient.patches")

    def attend(module: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
        y: Tensor = scores.softmax(-1) @ value
        return y

    def attention(self: Any, x: Tensor) -> Tensor:
        n, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(n, tokens, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        y = patches.wrap_attention_forward(attend)(self, q, k, v)
        return self.out(y.transpose(1, 2).reshape(n, tokens, dim))  # type: ignore[no-any-return]

    net, x = _case(case)
    copy = _changed(
        net,
        {
            nn.LayerNorm: patches.layer_norm_forward, nn.GELU: patches.non_linear_forward,
            Attention: attention,
        },
    )  # fmt: skip
    leaf = x.double().requires_grad_()
    (slope,) = torch.autograd.grad(copy(leaf)[0][:, TARGET].sum(), leaf)
    _assert_ours(net, x, (leaf * slope).sum(1).detach().numpy())


def test_attnlrp_is_lxts_by_relevances(monkeypatch: pytest.MonkeyPatch) -> None:
    """Down to the patches' tokens, from which relevance goes on to the pixels by LRP-0."""
    rules, identity = lxt(monkeypatch, "explicit.functional"), lxt(monkeypatch, "explicit.rules")

    def attention(self: Any, x: Tensor) -> Tensor:
        n, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(n, tokens, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        scores = rules.matmul(q, k.transpose(-2, -1), False, 1e-12)
        weights = rules.softmax(scores, -1, None, (dim // self.heads) ** 0.5)
        y = rules.matmul(weights, v, False, 1e-12)
        return self.out(y.transpose(1, 2).reshape(n, tokens, dim))  # type: ignore[no-any-return]

    net, x = _case("vit")
    copy: Any = _changed(
        net,
        {
            nn.Linear: lambda self, a: rules.linear_epsilon(a, self.weight, self.bias, 1e-12),
            nn.LayerNorm: lambda self, a: rules.layer_norm(a, self.weight, self.bias, self.eps),
            nn.GELU: lambda self, a: identity.identity(self.original_forward, a),
            Attention: attention,
            Residual: lambda self, a: rules.add2(a, self.f(a), False, 1e-12),
        },
    )  # fmt: skip
    embed, *blocks = copy.body
    leaf = x.double().requires_grad_()
    tokens = embed(leaf)
    inner = tokens.detach().requires_grad_()
    score = copy.head(nn.Sequential(*blocks)(inner))[:, TARGET]
    (relevance,) = torch.autograd.grad(score, inner, score.detach())
    slope = torch.where(inner == 0, 0, relevance / torch.where(inner == 0, 1, inner))
    (back,) = torch.autograd.grad(tokens, leaf, slope.detach())
    _assert_ours(net, x, (leaf * back).sum(1).detach().numpy())
