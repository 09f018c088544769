"""Windows, shifts and merged patches need no option: the last stage's (h, w) is found."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from architectures.export import export
from architectures.weights import calibrated
from support.method_oracles import AT_FEATURE
from support.window_nets import GRID, SIZE, Swin

from onnxcam import methods
from onnxcam.analysis.layers import catalog
from onnxcam.compose import explain_graph
from onnxcam.model.model import load
from onnxcam.names import SIGNED
from onnxcam.run.session import Session

TARGET = 2


class _Pair(torch.nn.Module):
    """What the exporter here wants: a network with a second output."""

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
        return self.net(x), None


@pytest.mark.parametrize(
    ("second", "timm", "exporter"),
    [
        *((second, timm, e) for second in (0, 1) for timm in (0, 1) for e in ("legacy", "static")),
        *(
            pytest.param(second, timm, "dynamo", marks=pytest.mark.exhaustive)
            for second in (0, 1)
            for timm in (0, 1)
        ),
    ],
)
def test_swin_needs_no_option(second: int, timm: int, exporter: str) -> None:
    x = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    net = calibrated(Swin(bool(second), bool(timm)), x, seed=2)
    x = x[:1] if exporter == "static" else x
    dynamic = exporter != "static"
    model = load(export(_Pair(net), x, dynamo=exporter == "dynamo", feature=False, dynamic=dynamic))
    found = catalog(model)
    assert found.feature is not None and found.feature.layout is not None
    assert (found.feature.op, found.feature.layout.axes) == ("LayerNormalization", "NHWC")
    assert found.feature.shape is not None and found.feature.shape[1:3] == GRID

    explained = explain_graph(model, found, methods.find("gradcam"), diagnose=True)
    session = Session(explained.model, device="cpu", threads=1)
    feeds = {model.inputs[0].name: x.numpy(), "onnxcam.target": np.array([TARGET])}
    (signed,) = session.run(feeds, [SIGNED])
    kept = net.norm(net.body(net.patches(x).permute(0, 2, 3, 1))).detach().requires_grad_()
    (g,) = torch.autograd.grad(net.head(kept.mean((1, 2)))[:, TARGET].sum(), kept)
    a, g = (t.detach().permute(0, 3, 1, 2) for t in (kept, g))
    want = AT_FEATURE["gradcam"](a, g).numpy()
    assert np.linalg.norm(signed[:, 0] - want) <= 1e-4 * np.linalg.norm(want)


@pytest.mark.parametrize("timm", [False, True], ids=["torchvision", "timm"])
def test_every_block_is_a_map_and_rolled_positions_are_none(timm: bool) -> None:
    x = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    net = calibrated(Swin(second=False, timm=timm), x, seed=2)
    found = catalog(load(export(_Pair(net), x, dynamo=False, feature=False)))
    norms = [c for c in found.candidates if c.op == "LayerNormalization"]
    assert len(norms) == 10 and all(c.usable for c in norms)
    grids = [c.layout.grid or c.shape[1:3] for c in norms if c.layout and c.shape]
    assert grids == [(12, 10)] * 4 + [GRID] * 6
    rolled = [c for c in found.candidates if c.layout is not None and c.layout.rolled]
    assert rolled and not any(c.usable for c in rolled)
    assert any("rolled round" in c.reason for c in rolled)
