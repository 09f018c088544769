"""Small Swin transformers, as torchvision and timm write both versions, with random weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own habit

DIM, HEADS, WINDOW, SHIFT, CLASSES = 8, 2, 3, 1, 4
SIZE = (48, 40)  # 12 x 10 patches, padded to 12 x 12; merged 6 x 5, padded to 6 x 6
GRID = (6, 5)


class WindowAttention(nn.Module):
    """Attention in windows of [N, H, W, C] that are padded, rolled and put into the batch.

    Args:
        dim: Channels.
        shift: Positions that the windows are moved by.
        cosine: As the second version has it: cosines of unit queries and keys.
        square: Windows are [n, 3, 3, C] before they are [n, 9, C], as timm writes it.
    """

    def __init__(self, dim: int, shift: int, cosine: bool, square: bool) -> None:
        super().__init__()
        self.shift, self.cosine, self.square = shift, cosine, square
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.bias = nn.Parameter(torch.empty(HEADS, WINDOW**2, WINDOW**2))

    def _attended(self, x: Tensor) -> Tensor:
        n, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(n, tokens, 3, HEADS, dim // HEADS).permute(2, 0, 3, 1, 4)
        if self.cosine:
            q, k, v = qkv.unbind(0)
            scores = 4 * F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
        else:
            q, k, v = qkv[0], qkv[1], qkv[2]
            scores = q * (dim // HEADS) ** -0.5 @ k.transpose(-2, -1)
        y = (scores + self.bias).softmax(-1) @ v
        return self.out(y.transpose(1, 2).reshape(n, tokens, dim))

    def forward(self, x: Tensor) -> Tensor:
        _, h, w, c = x.shape
        x = F.pad(x, (0, 0, 0, -w % WINDOW, 0, -h % WINDOW))
        _, high, wide, _ = x.shape
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        x = x.view(-1, high // WINDOW, WINDOW, wide // WINDOW, WINDOW, c).permute(0, 1, 3, 2, 4, 5)
        x = x.reshape(-1, WINDOW, WINDOW, c) if self.square else x
        x = self._attended(x.reshape(-1, WINDOW**2, c))
        x = x.view(-1, WINDOW, WINDOW, c) if self.square else x
        x = x.view(-1, high // WINDOW, wide // WINDOW, WINDOW, WINDOW, c)
        x = x.permute(0, 1, 3, 2, 4, 5).reshape(-1, high, wide, c)
        if self.shift:
            x = torch.roll(x, (self.shift, self.shift), (1, 2))
        return x[:, :h, :w]


class Block(nn.Module):
    """A block: normalised before attention and network, in the second version behind them.

    Where windows are square the network works on tokens, as timm has it.
    """

    def __init__(self, dim: int, shift: int, second: bool, square: bool) -> None:
        super().__init__()
        self.second, self.square = second, square
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))
        mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        self.parts = nn.ModuleList([WindowAttention(dim, shift, second, square), mlp])

    def forward(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        for norm, part in zip(self.norms, self.parts, strict=True):
            x = x + (norm(part(x)) if self.second else part(norm(x)))
            x = x.reshape(n, -1, c) if self.square and part is self.parts[0] else x
        return x.reshape(n, h, w, c)


class Merge(nn.Module):
    """Four neighbours become one position: by slices as torchvision, by axes as timm has it."""

    def __init__(self, dim: int, slices: bool) -> None:
        super().__init__()
        self.slices = slices
        self.norm, self.reduce = nn.LayerNorm(4 * dim), nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        if self.slices:
            x = torch.cat([x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)], -1)
        else:
            x = x.reshape(n, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 4, 2, 5).flatten(3)
        return self.reduce(self.norm(x))


class Swin(nn.Module):
    """Two stages of two blocks.

    Args:
        second: The second version.
        timm: Written as timm does; as torchvision does otherwise.
    """

    def __init__(self, second: bool, timm: bool) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, DIM, 4, 4)
        stages = []
        for dim in (DIM, 2 * DIM):
            stages += [Block(dim, shift, second, timm) for shift in (0, SHIFT)]
        self.body = nn.Sequential(*stages[:2], Merge(DIM, not timm), *stages[2:])
        self.norm, self.head = nn.LayerNorm(2 * DIM), nn.Linear(2 * DIM, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.body(self.patches(x).permute(0, 2, 3, 1)))
        return self.head(x.mean((1, 2)))
