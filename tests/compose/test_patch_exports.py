"""Vision transformers as people write them: both exporters give one layer, the right one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from architectures.export import export
from torch import nn
from torch.nn import functional

from onnxcam.analysis.layers import catalog
from onnxcam.model.model import load


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(12), nn.LayerNorm(12)
        self.attention = nn.MultiheadAttention(12, 3, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(12, 24), nn.GELU(), nn.Linear(24, 12))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        out: torch.Tensor = x + self.mlp(self.second(x))
        return out


def _cut(x: torch.Tensor, embed: str) -> torch.Tensor:
    n, c, h, w = x.shape
    if embed == "unfold":
        return functional.unfold(x, 4, stride=4).transpose(1, 2)
    cells = x.reshape(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1)
    return cells.reshape(n, (h // 4) * (w // 4), 48)


HEADS: dict[str, Any] = {
    "slice": lambda x: x[:, 0],
    "chunk": lambda x: x.chunk(x.shape[1], 1)[0].squeeze(1),
    "split": lambda x: torch.split(x, [1, x.shape[1] - 1], 1)[0].squeeze(1),
    "gather": lambda x: x.index_select(1, torch.tensor([0])).squeeze(1),
    "mean": lambda x: x.mean(1),
}


class _ViT(nn.Module):
    def __init__(self, embed: str, head: str, flat: bool) -> None:
        super().__init__()
        self.embed, self.head = embed, head
        self.patches = nn.Conv2d(3, 12, 4, 4) if embed == "conv" else nn.Linear(48, 12)
        self.tokens = 0 if head == "mean" else 1
        self.token = nn.Parameter(torch.randn(1, 1, 12))
        self.place = nn.Parameter(torch.randn(1, 12 + self.tokens, 12))
        self.blocks = nn.Sequential(_Block(), _Block())
        self.flat = nn.BatchNorm1d(12) if flat else None
        self.last, self.classes = nn.LayerNorm(12), nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.embed == "conv":
            x = self.patches(x).flatten(2).transpose(1, 2)
        else:
            x = self.patches(_cut(x, self.embed))
        if self.tokens:
            x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
        x = self.blocks(x + self.place)
        if self.flat is not None:
            n, t, c = x.shape
            x = self.flat(x.reshape(n * t, c)).reshape(n, t, c)
        out: torch.Tensor = self.classes(HEADS[self.head](self.last(x)))
        return out


def _cases() -> list[Any]:
    """Return each form by each exporter; dynamo takes seconds, so that one of it is enough."""
    forms = [
        *[("conv", head, True) for head in HEADS],
        ("conv", "mean", False),
        ("unfold", "slice", False),
        ("reshape", "mean", False),
    ]
    long = [form for form in forms if form != ("conv", "slice", True)]
    script = [pytest.param(*form, False, id=f"{'-'.join(map(str, form))}-script") for form in forms]
    return script + [
        pytest.param(
            *form, True, id=f"{'-'.join(map(str, form))}-dynamo",
            marks=[pytest.mark.exhaustive] if form in long else [],
        )
        for form in forms
    ]  # fmt: skip


@pytest.mark.parametrize(("embed", "head", "flat", "dynamo"), _cases())
def test_both_exporters_give_the_last_layer_that_tells(
    embed: str, head: str, flat: bool, dynamo: bool
) -> None:
    """Behind a class token that is what the last attention reads, else the last normalisation."""
    torch.manual_seed(0)
    net = _ViT(embed, head, flat).eval()
    proto = export(net, torch.randn(2, 3, 16, 12), dynamo=dynamo, feature=False)
    found = catalog(load(proto))
    assert found.input_layout is not None and found.input_layout.axes == "NCHW"
    assert found.feature is not None and found.feature.layout is not None
    if not dynamo and head in ("chunk", "split"):  # a sequence of tensors, which is not read
        assert any("could not be read" in warning for warning in found.warnings)
        return
    if head == "mean" and flat:  # the class token would be mixed with its batch: none is here
        assert found.feature.op in ("Add", "LayerNormalization")
        return
    assert found.feature.op == "LayerNormalization"
    layout = found.feature.layout
    assert (layout.axes, layout.grid, layout.prefix) == ("NTC", (4, 3), int(head != "mean"))
    behind = {c.name for c in found.candidates[found.candidates.index(found.feature) + 1 :]}
    norms = sum(c.op == "LayerNormalization" and c.name in behind for c in found.candidates)
    assert norms == (0 if head == "mean" else 2)
