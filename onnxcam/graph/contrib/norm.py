"""Normalisations, with the sum before them fused in."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxcam.graph import quirks
from onnxcam.graph.contrib.activation import quick_gelu
from onnxcam.graph.contrib.conv import to_channels_first, to_channels_last
from onnxcam.graph.contrib.definitions import Build, define, rank_of
from onnxcam.graph.contrib.quantized import real
from onnxcam.graph.emit import Emitter, Tensor

Outputs = tuple[Tensor | None, ...]


@quirks.works_around(quirks.NORM_WITHOUT_BIAS)
def layer_norm(
    op: Emitter, x: Tensor, gamma: Tensor, beta: Tensor | None, epsilon: float
) -> Outputs:
    """Return y = (x - mean) / sqrt(var + eps) * gamma + beta over the last axis, mean, 1 / std."""
    if op.opsets[""] >= 17:
        beta = op.zeros_like(gamma) if beta is None else beta
        made: Outputs = op.LayerNormalization(x, gamma, beta, epsilon=epsilon, axis=-1, _outputs=3)
        return made
    mean = op.ReduceMean(x, axes=[-1])
    centred = op.Sub(x, mean)
    inverse = _inverse_root(op, centred, epsilon)
    y = op.Mul(op.Mul(centred, inverse), gamma)
    return (y if beta is None else op.Add(y, beta)), mean, inverse


def rms_norm(op: Emitter, x: Tensor, gamma: Tensor, epsilon: float, axes: list[int]) -> Outputs:
    """Return y = x / sqrt(mean(x^2) + eps) * gamma, and 1 / rms."""
    inverse = _inverse_root(op, x, epsilon, axes)
    return op.Mul(op.Mul(x, inverse), op.cast(gamma, x)), inverse


def _inverse_root(op: Emitter, x: Tensor, epsilon: float, axes: list[int] | None = None) -> Tensor:
    squares = op.ReduceMean(op.Mul(x, x), axes=axes or [-1], keepdims=1)
    return op.Reciprocal(op.Sqrt(op.Add(squares, epsilon)))


@define("SimplifiedLayerNormalization", domain="")
def simplified_layer_norm(
    op: Emitter, x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Outputs:  # fmt: skip
    """y = x / sqrt(mean(x^2) + eps) * scale over the axes from ``axis``."""
    rank = rank_of(x)
    y, inverse = rms_norm(op, x, scale, epsilon, list(range(axis % rank, rank)))
    return y, inverse


@define("SkipLayerNormalization")
def skip_layer_norm(
    op: Emitter,
    x: Tensor,
    skip: Tensor,
    gamma: Tensor,
    beta: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    epsilon: float = 1e-12,
) -> Outputs:
    """y = layer_norm(x + skip + bias); the sum is the fourth output."""
    total = _sum(op, x, skip, bias)
    return *layer_norm(op, total, gamma, beta, epsilon), total


@define("SkipSimplifiedLayerNormalization")
def skip_simplified_layer_norm(
    op: Emitter,
    x: Tensor,
    skip: Tensor,
    gamma: Tensor,
    bias: Tensor | None = None,
    *,
    epsilon: float = 1e-12,
) -> Outputs:
    """y = rms_norm(x + skip + bias); the sum is the fourth output."""
    total = _sum(op, x, skip, bias)
    y, inverse = rms_norm(op, total, gamma, epsilon, [-1])
    return y, None, inverse, total


def _sum(op: Emitter, x: Tensor, skip: Tensor, bias: Tensor | None) -> Tensor:
    total = op.typed(op.Add(x, skip), x)
    return total if bias is None else op.typed(op.Add(total, bias), x)


@define("EmbedLayerNormalization")
def embed_layer_norm(
    op: Emitter,
    input_ids: Tensor,
    segment_ids: Tensor | None,
    word: Tensor,
    position: Tensor,
    segment: Tensor | None,
    gamma: Tensor,
    beta: Tensor,
    mask: Tensor | None = None,
    position_ids: Tensor | None = None,
    *,
    epsilon: float = 1e-12,
    mask_index_type: int = 0,
) -> Outputs:
    """y = layer_norm(word[ids] + position[ids] + segment[ids]); number of unmasked words; sum."""
    if position_ids is None:
        length = op.Squeeze(op.dims(op.dim(input_ids, 1)), axes=[0])
        position_ids = op.Range(op.const(0, "int64"), length, op.const(1, "int64"))
    total = op.Add(_rows(op, word, input_ids), _rows(op, position, position_ids))
    if segment_ids is not None and segment is not None:
        total = op.Add(total, _rows(op, segment, segment_ids))
    if mask is None:
        index = op.Cast(op.Mul(op.ReduceSum(input_ids, axes=[1], keepdims=0), 0), to=6)
    else:
        index = op.ReduceSum(mask, axes=[1], keepdims=0)
    return layer_norm(op, total, gamma, beta, epsilon)[0], index, total


def _rows(op: Emitter, table: Tensor, ids: Tensor) -> Tensor:
    return op.Gather(table, op.cast(ids, np.dtype(np.int64)))


@define("QEmbedLayerNormalization")
def qembed_layer_norm(
    op: Emitter, input_ids: Tensor, segment_ids: Tensor | None, word: Tensor, position: Tensor,
    segment: Tensor | None, gamma: Tensor, beta: Tensor, mask: Tensor | None, *scales_and_zeros:
    Tensor | None, epsilon: float = 1e-12,
) -> Outputs:  # fmt: skip
    """The same of dequantised tables; five scales follow the mask, then five zero points."""
    half = len(scales_and_zeros) // 2
    triples = zip(
        (word, position, segment, gamma, beta), scales_and_zeros[:half], scales_and_zeros[half:],
        strict=True,
    )  # fmt: skip
    tables: list[Any] = [
        x if x is None or scale is None else real(op, x, scale, zero) for x, scale, zero in triples
    ]
    embed: Build = embed_layer_norm
    made: Outputs = embed(op, input_ids, segment_ids, *tables, mask, epsilon=epsilon)
    return made[:2]


@define("GroupNorm")
def group_norm(
    op: Emitter, x: Tensor, gamma: Tensor, beta: Tensor, *, activation: int, groups: int,
    channels_last: int = 1, epsilon: float = 1e-5,
) -> Tensor:  # fmt: skip
    """y = silu?((x - mean) / sqrt(var + eps) * gamma + beta), statistics of each group."""
    first = to_channels_first(op, x) if channels_last else x
    flat = op.Reshape(first, op.const([0, groups, -1], "int64"))
    centred = op.Sub(flat, op.ReduceMean(flat, axes=[-1]))
    scaled = op.Mul(centred, _inverse_root(op, centred, epsilon))
    y = op.typed(op.Reshape(scaled, op.shape(first)), first)
    ahead = [-1, *[1] * (rank_of(x) - 2)]
    weight, shift = (op.Reshape(op.cast(t, x), op.const(ahead, "int64")) for t in (gamma, beta))
    y = op.Add(op.Mul(y, weight), shift)
    y = quick_gelu(op, y, alpha=1) if activation else y
    return to_channels_last(op, y, rank_of(x)) if channels_last else y


@define("SkipGroupNorm")
def skip_group_norm(
    op: Emitter,
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    skip: Tensor,
    bias: Tensor | None = None,
    *,
    activation: int,
    groups: int,
    channels_last: int = 1,
    epsilon: float = 1e-5,
) -> Outputs:
    """y = group_norm(s) of s = x + skip + bias; s is the second output."""
    if rank_of(skip) == 2:
        skip = op.Unsqueeze(skip, axes=[1, 2])
    total = _sum(op, x, skip, bias)
    y = group_norm(
        op, total, gamma, beta, activation=activation, groups=groups,
        channels_last=channels_last, epsilon=epsilon,
    )  # fmt: skip
    return y, total


@define("GatedRMSNorm")
def gated_rms_norm(
    op: Emitter, x: Tensor, scale: Tensor, gate: Tensor, *, activation: str = "silu",
    epsilon: float = 1e-5,
) -> Tensor:  # fmt: skip
    """y = x / sqrt(mean(x^2) + eps) * scale * activation(gate), over pieces as long as scale."""
    pieces = op.dims([0] * (rank_of(x) - 1), -1, op.dim(scale, 0))
    y, _ = rms_norm(op, op.Reshape(x, pieces), scale, epsilon, [-1])
    opened = op.Sigmoid(gate) if activation == "sigmoid" else quick_gelu(op, gate, alpha=1)
    return op.Mul(op.typed(op.Reshape(y, op.shape(x)), x), opened)
