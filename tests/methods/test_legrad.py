"""LeGrad: against autograd through each block's own head, in every spelling; what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from architectures.export import OUTPUT, export
from architectures.weights import calibrated
from onnx import parser
from support import nets
from support.token_nets import CASES, GRID, SIZE
from torch import Tensor, nn

from onnxcam import Explainer
from onnxcam.errors import UsageError

TARGET = 2


class Pair(nn.Module):
    """What ``export`` wants: a network that returns two values."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return self.net(x), None


def _naive(net: Any, x: Tensor, before: int) -> np.ndarray:
    """Equations 5 to 9, block by block; the softmaxes are caught as they are computed."""
    caught: list[Tensor] = []
    plain, streams = torch.Tensor.softmax, []

    def softmax(self: Tensor, dim: int, *args: Any, **kwargs: Any) -> Tensor:
        caught.append(plain(self, dim, *args, **kwargs))
        return caught[-1]

    hooks = [block.register_forward_hook(lambda m, i, y: streams.append(y)) for block in net.blocks]
    torch.Tensor.softmax = softmax  # type: ignore[method-assign]
    try:
        net(x)
    finally:
        torch.Tensor.softmax = plain  # type: ignore[method-assign]
        for hook in hooks:
            hook.remove()
    total = torch.zeros(len(x), *GRID)
    for attention, z in zip(caught, streams, strict=True):
        score = net.head(net._pooled(net.norm(z)))[:, TARGET].sum()
        (g,) = torch.autograd.grad(score, attention, retain_graph=True)
        total += g.clamp(min=0).mean((1, 2))[:, before:].unflatten(1, GRID)
    return total.detach().numpy()


@pytest.mark.parametrize("name", ["vit", "registers", "mean", "distilled"])
def test_every_spelling(name: str) -> None:
    case = CASES[name]
    x = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    net: Any = calibrated(case.make(), x, seed=2)
    proto = export(Pair(net).eval(), x, dynamo=False, feature=False)
    explain = Explainer(
        proto, "legrad", device="cpu", threads=1, upsampling="none", reduction_layer=OUTPUT
    )
    want = _naive(net, x, case.before)
    assert want.any()
    for found, each in zip(explain([one[None] for one in x.numpy()], TARGET), want, strict=True):
        assert np.linalg.norm(found.raw_map - each) <= 1e-4 * np.linalg.norm(each)


def test_by_hand() -> None:
    """Two patches with the values 1 and 3 of attention (1/2, 1/2): dy/dA is (1, 3) for each query.

    The keys are all 0, so that the softmax is even; y is the mean over the tokens of v + A v.
    """
    text = """<ir_version: 8, opset_import: ["" : 20]>
    g (float[N,1,1,2] x) => (float[N,1] output)
      <float[1,1,1,1] w = {1}, float[1,1] zero = {0}, int64[4] four = {0, 0, 1, 1},
       int64[3] three = {0, 0, 1}, int64[1] tokens = {1}> {
      c = Conv (x, w)
      s = Shape <end = 2> (c)
      minus = Constant <value = int64[1] {-1}> ()
      to = Concat <axis = 0> (s, minus)
      r = Reshape (c, to)
      t = Transpose <perm = [0, 2, 1]> (r)
      k = MatMul (t, zero)
      q = Reshape (k, four)
      kt = Transpose <perm = [0, 2, 3, 1]> (q)
      kq = Transpose <perm = [0, 2, 1, 3]> (q)
      logits = MatMul (kq, kt)
      a = Softmax <axis = -1> (logits)
      v0 = Reshape (t, four)
      v = Transpose <perm = [0, 2, 1, 3]> (v0)
      m = MatMul (a, v)
      mt = Transpose <perm = [0, 2, 1, 3]> (m)
      out = Reshape (mt, three)
      z = Add (t, out)
      output = ReduceMean <keepdims = 0> (z, tokens)
    }"""
    proto = parser.parse_model(text.replace("four = {0, 0, 1, 1}", "four = {0, -1, 1, 1}").replace(
        "three = {0, 0, 1}", "three = {0, -1, 1}"))  # fmt: skip
    explain = Explainer(
        proto, "legrad", device="cpu", threads=1, upsampling="none", reduction_layer="output",
        feature_layer="z",
    )  # fmt: skip
    found = explain(np.array([[[[1, 3]]]], "f4"), target=0)
    # dy/dA_ij = v_j / 2, averaged over two queries
    np.testing.assert_allclose(found.raw_map, [0.5, 1.5], rtol=1e-5)


def test_a_network_without_attention_is_refused() -> None:
    with pytest.raises(UsageError, match="LeGrad needs the attentions of a transformer"):
        Explainer(nets.cnn(), "legrad", device="cpu")
