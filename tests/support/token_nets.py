"""Small vision transformers in the spellings that are in use, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from architectures.transformers import Attention
from torch import Tensor, nn

DIM, HEADS, PATCH, SIZE, CLASSES = 12, 3, 8, (32, 40), 4
GRID = (4, 5)


class SeparateAttention(nn.Module):
    """Query, key and value from layers of their own, as Hugging Face writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(DIM, DIM) for _ in range(4))

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], HEADS, DIM // HEADS).permute(0, 2, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (self._heads(f(x)) for f in (self.q, self.k, self.v))
        weights = (q @ k.transpose(-1, -2) / (DIM // HEADS) ** 0.5).softmax(-1)
        y = (weights @ v).permute(0, 2, 1, 3).contiguous()
        return self.out(y.view(*y.shape[:2], DIM))


class TorchAttention(nn.Module):
    """torch's own module: tokens first, a batch behind."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(DIM, HEADS)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(0, 1)
        return self.inner(x, x, x, need_weights=False)[0].transpose(0, 1)


class Block(nn.Module):
    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.norm1, self.norm2, self.attention = nn.LayerNorm(DIM), nn.LayerNorm(DIM), attention
        self.mlp = nn.Sequential(nn.Linear(DIM, 24), nn.GELU(), nn.Linear(24, DIM))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    """A vision transformer.

    Args:
        prefix: Class tokens.
        registers: Register tokens, put behind the class tokens after the positions are added.
        pool: What the classifier reads.
        late: The positions are added before the class token is there.
        attention: Makes the attention of a block.
    """

    def __init__(
        self,
        prefix: int = 1,
        registers: int = 0,
        pool: str = "token",
        late: bool = False,
        attention: Callable[[], nn.Module] = lambda: Attention(DIM, HEADS, "spelled"),
    ) -> None:
        super().__init__()
        self.prefix, self.registers, self.pool, self.late = prefix, registers, pool, late
        cells = GRID[0] * GRID[1]
        self.patches = nn.Conv2d(3, DIM, PATCH, PATCH)
        self.tokens = nn.Parameter(torch.empty(1, prefix, DIM)) if prefix else None
        self.register = nn.Parameter(torch.empty(1, registers, DIM)) if registers else None
        self.position = nn.Parameter(torch.empty(1, cells + (0 if late else prefix), DIM))
        self.blocks = nn.ModuleList(Block(attention()) for _ in range(2))
        self.norm = nn.LayerNorm(DIM)
        self.head = nn.Linear(2 * DIM if pool == "both" else DIM, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        extra = [] if self.tokens is None else [self.tokens.expand(x.shape[0], -1, -1)]
        if self.late:
            x = torch.cat([*extra, x + self.position], 1)
        else:
            x = torch.cat([*extra, x], 1) + self.position
        if self.register is not None:
            register = self.register.expand(x.shape[0], -1, -1)
            x = torch.cat([x[:, : self.prefix], register, x[:, self.prefix :]], 1)
        for block in self.blocks:
            x = block(x)
        return self.head(self._pooled(self.norm(x)))

    def _pooled(self, x: Tensor) -> Tensor:
        before = self.prefix + self.registers
        if self.pool == "token":
            return x[:, 0]
        if self.pool == "tokens":
            return (x[:, 0] + x[:, 1]) / 2
        mean = x[:, before:].mean(1)
        return torch.cat([x[:, 0], mean], 1) if self.pool == "both" else mean


@dataclass(frozen=True)
class Case:
    """A transformer, and what onnxcam should find in it.

    Attributes:
        make: Makes the network.
        before: Class and register tokens before the grid.
        last: The classifier reads class tokens only, so that the layer is the last block's norm1;
            else it is the final norm.
    """

    make: Callable[[], Any]
    before: int
    last: bool = True


CASES = {
    "vit": Case(Vit, 1),
    "fused": Case(lambda: Vit(attention=lambda: Attention(DIM, HEADS, "fused")), 1),
    "separate": Case(lambda: Vit(attention=SeparateAttention), 1),
    "torch": Case(lambda: Vit(attention=TorchAttention), 1),
    "distilled": Case(lambda: Vit(2, pool="tokens"), 2),
    "late_positions": Case(lambda: Vit(late=True), 1),
    "registers": Case(lambda: Vit(1, 4), 5),
    "mean": Case(lambda: Vit(0, pool="mean"), 0, last=False),
    "mean_of_patches": Case(lambda: Vit(1, 2, pool="mean"), 3, last=False),
    "token_and_mean": Case(lambda: Vit(1, pool="both"), 1, last=False),
}
