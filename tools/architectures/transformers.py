"""Transformers: ViT, DeiT, Swin, a text encoder; and ConvNeXt, which is built like one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own habit

from architectures.parts import Network, Pair, Residual

Attend: TypeAlias = Literal["fused", "spelled"]


class Attention(nn.Module):
    """Self-attention, by torch's one function or spelled out with a softmax."""

    def __init__(self, dim: int, heads: int, attend: Attend) -> None:
        super().__init__()
        self.heads, self.attend = heads, attend
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(n, tokens, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if self.attend == "fused":
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            scores = (q * (dim // self.heads) ** -0.5) @ k.transpose(-2, -1)
            y = scores.softmax(-1) @ v
        return self.out(y.transpose(1, 2).reshape(n, tokens, dim))


def encoder_block(dim: int, heads: int, attend: Attend) -> nn.Sequential:
    """Return a pre-normalised transformer block."""
    return nn.Sequential(
        Residual(nn.Sequential(nn.LayerNorm(dim, 1e-6), Attention(dim, heads, attend))),
        Residual(nn.Sequential(nn.LayerNorm(dim, 1e-6), _mlp(dim, 4 * dim))),
    )


def _mlp(dim: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))


class _Embed(nn.Module):
    """Patches as tokens behind a class token (and, in DeiT, one for distillation)."""

    def __init__(self, dim: int, patch: int, size: int, extra: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, dim, patch, patch)
        self.extra = nn.Parameter(torch.empty(1, extra, dim))
        self.position = nn.Parameter(torch.empty(1, extra + (size // patch) ** 2, dim))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return torch.cat([self.extra.expand(x.shape[0], -1, -1), tokens], 1) + self.position


class _Tokens(nn.Module):
    """The class token through the classifier; the mean of both heads where there are two."""

    def __init__(self, dim: int, classes: int, tokens: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, 1e-6)
        self.heads = nn.ModuleList(nn.Linear(dim, classes) for _ in range(tokens))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        ys = [head(x[:, i]) for i, head in enumerate(self.heads)]
        return ys[0] if len(ys) == 1 else (ys[0] + ys[1]) / 2


def vit(
    dim: int, depth: int, heads: int, patch: int, size: int, classes: int, attend: Attend = "fused"
) -> Network:
    """ViT (Dosovitskiy 2020): the feature is what the last block is given."""
    blocks = [encoder_block(dim, heads, attend) for _ in range(depth)]
    body = nn.Sequential(_Embed(dim, patch, size, 1), *blocks[:-1])
    return Network(body, nn.Sequential(blocks[-1], _Tokens(dim, classes, 1)))


def deit(dim: int, depth: int, heads: int, patch: int, size: int, classes: int) -> Network:
    """DeiT (Touvron 2020) with its distillation token."""
    blocks = [encoder_block(dim, heads, "spelled") for _ in range(depth)]
    body = nn.Sequential(_Embed(dim, patch, size, 2), *blocks[:-1])
    return Network(body, nn.Sequential(blocks[-1], _Tokens(dim, classes, 2)))


class _ChannelsLast(nn.Module):
    """A normalisation over the channels of [N, C, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, 1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _ConvNeXtBlock(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.mlp = nn.Sequential(nn.LayerNorm(dim, 1e-6), _mlp(dim, 4 * dim))
        self.scale = nn.Parameter(torch.empty(dim))

    def forward(self, x: Tensor) -> Tensor:
        y = self.mlp(self.depthwise(x).permute(0, 2, 3, 1)) * self.scale
        return x + y.permute(0, 3, 1, 2)


def convnext(widths: Sequence[int], depths: Sequence[int], classes: int) -> Network:
    """ConvNeXt (Liu 2022): depthwise 7x7 convolutions, layer normalisation, scaled residuals."""
    layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, 4), _ChannelsLast(widths[0])]
    for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        if i:
            layers += [_ChannelsLast(widths[i - 1]), nn.Conv2d(widths[i - 1], width, 2, 2)]
        layers += [_ConvNeXtBlock(width) for _ in range(depth)]
    head = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), _ChannelsLast(widths[-1]), nn.Flatten(),
        nn.Linear(widths[-1], classes),
    )  # fmt: skip
    return Network(nn.Sequential(*layers), head)


class _WindowAttention(nn.Module):
    """Attention inside windows of [N, H, W, C], shifted by half a window or not."""

    def __init__(self, dim: int, heads: int, grid: int, window: int, shift: int) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.bias = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        at = torch.stack(torch.meshgrid(*[torch.arange(window)] * 2, indexing="ij")).flatten(1)
        apart = at[:, :, None] - at[:, None] + window - 1
        self.register_buffer("index", apart[0] * (2 * window - 1) + apart[1])
        self.register_buffer("mask", self._mask(grid) if shift else None)

    def _mask(self, grid: int) -> Tensor:
        """Return -100 between positions that the shift has brought together, else 0."""
        w = self.window
        stripe = torch.zeros(grid)
        stripe[-w:] = 1
        stripe[-self.shift :] = 2
        area = self._windows((stripe[:, None] * 3 + stripe)[None, :, :, None]).squeeze(-1)
        return torch.where(area[:, None] == area[:, :, None], 0.0, -100.0)

    def _windows(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        k = self.window
        x = x.view(n, h // k, k, w // k, k, c).permute(0, 1, 3, 2, 4, 5)
        return x.reshape(-1, k * k, c)

    def forward(self, x: Tensor) -> Tensor:
        n, h, w, dim = x.shape
        k = self.window
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        qkv = self.qkv(self._windows(x)).reshape(-1, k * k, 3, self.heads, dim // self.heads)
        q, key, v = qkv.permute(2, 0, 3, 1, 4)
        scores = q * (dim // self.heads) ** -0.5 @ key.transpose(-2, -1)
        bias = self.bias[self.index.view(-1)].view(k * k, k * k, self.heads)
        scores = scores + bias.permute(2, 0, 1)
        if self.mask is not None:
            count = len(self.mask)
            scores = scores.view(n, count, self.heads, k * k, k * k) + self.mask[None, :, None]
            scores = scores.view(-1, self.heads, k * k, k * k)
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(-1, k * k, dim)
        y = self.out(y).view(n, h // k, w // k, k, k, dim)
        y = y.permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, dim)
        return torch.roll(y, (self.shift, self.shift), (1, 2)) if self.shift else y


class _Merge(nn.Module):
    """Four neighbours become one position of twice the channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.reduce = nn.Sequential(nn.LayerNorm(4 * dim), nn.Linear(4 * dim, 2 * dim, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        corners = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        return self.reduce(torch.cat(corners, -1))


class _Permute(nn.Module):
    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.order)


def swin(
    dim: int, depths: Sequence[int], heads: Sequence[int], window: int, grid: int, classes: int
) -> Network:
    """Swin (Liu 2021): attention in windows that move, patches that merge."""
    layers: list[nn.Module] = [nn.Conv2d(3, dim, 4, 4), _Permute(0, 2, 3, 1), nn.LayerNorm(dim)]
    for i, (depth, head_count) in enumerate(zip(depths, heads, strict=True)):
        if i:
            layers.append(_Merge(dim))
            dim, grid = 2 * dim, grid // 2
        for j in range(depth):
            shift = window // 2 if j % 2 and grid > window else 0
            attention = _WindowAttention(dim, head_count, grid, window, shift)
            layers += [
                Residual(nn.Sequential(nn.LayerNorm(dim), attention)),
                Residual(nn.Sequential(nn.LayerNorm(dim), _mlp(dim, 4 * dim))),
            ]
    head = nn.Sequential(
        nn.LayerNorm(dim), _Permute(0, 3, 1, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(dim, classes),
    )  # fmt: skip
    return Network(nn.Sequential(*layers), head)


class TextEncoder(nn.Module):
    """torch's own encoder over words; padding (word 0) is masked. The feature: the embeddings."""

    def __init__(self, words: int, dim: int, heads: int, depth: int, classes: int) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(words, dim), nn.Embedding(64, dim)
        layer = nn.TransformerEncoderLayer(
            dim, heads, 2 * dim, activation=F.gelu, batch_first=True, norm_first=False
        )
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.out = nn.Linear(dim, classes)

    def forward(self, x: Tensor) -> Pair:
        feature = self.words(x) + self.positions(torch.arange(x.shape[1], device=x.device))
        y = self.encoder(feature, src_key_padding_mask=x == 0)
        return self.out(torch.tanh(y[:, 0])), feature
