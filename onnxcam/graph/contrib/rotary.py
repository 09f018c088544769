"""Rotary position embedding."""

from __future__ import annotations

import numpy as np

from onnxcam.errors import UnsupportedOp
from onnxcam.graph.contrib.definitions import define, rank_of
from onnxcam.graph.emit import Emitter, Tensor

END = np.iinfo(np.int64).max


@define("RotaryEmbedding")
def rotary_embedding(
    op: Emitter,
    x: Tensor,
    position_ids: Tensor,
    cos_cache: Tensor,
    sin_cache: Tensor,
    *,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
    scale: float = 1.0,
    is_packed_batching: int = 0,
) -> Tensor:
    """Each pair of numbers turned by its position's angle; x is [B, S, N H] or [B, N, S, H]."""
    if is_packed_batching:
        raise UnsupportedOp("RotaryEmbedding with is_packed_batching has no definition")
    if rank_of(x) == 4:
        positions = _positions(op, position_ids, op.dim(x, 2))
        return rotated(op, x, positions, cos_cache, sin_cache, interleaved)
    head = op.dim(cos_cache, 1)
    size = op.dims(head * 2) if isinstance(head, int) else op.Mul(head, 2)
    split = op.dims([0, 0, num_heads, -1]) if num_heads else op.dims([0, 0, -1], size)
    heads = op.Transpose(op.Reshape(x, split), perm=[0, 2, 1, 3])
    positions = _positions(op, position_ids, op.dim(x, 1))
    turned = rotated(op, heads, positions, cos_cache, sin_cache, interleaved)
    return op.typed(op.Reshape(op.Transpose(turned, perm=[0, 2, 1, 3]), op.shape(x)), x)


def _positions(op: Emitter, ids: Tensor, length: int | Tensor) -> Tensor:
    """Return [B or 1, S] positions: as given, or counted from a single offset."""
    if rank_of(ids) == 2:
        return ids
    return op.Unsqueeze(op.Add(ids, counted(op, length)), axes=[0])


def counted(op: Emitter, length: int | Tensor) -> Tensor:
    """Return 0, 1, ..., length - 1 as int64."""
    if isinstance(length, int):
        return op.const(np.arange(length))
    zero, one = op.const(np.int64(0)), op.const(np.int64(1))
    return op.Range(zero, op.Squeeze(length, axes=[0]), one)


def rotated(
    op: Emitter,
    x: Tensor,
    positions: Tensor,
    cos_cache: Tensor,
    sin_cache: Tensor,
    interleaved: int,
) -> Tensor:
    """Return [B, N, S, H] heads turned by the angles of their positions [B or 1, S].

    The first twice as many numbers of a head as the caches have columns are pairs: halves of
    them, or neighbours where they are interleaved. The rest stays.
    """
    cos, sin = (
        op.Unsqueeze(op.Gather(cache, positions, axis=0), axes=[1])
        for cache in (cos_cache, sin_cache)
    )
    half = op.dim(cos_cache, 1)
    pairs = op.dims(half), op.dims(2 * half) if isinstance(half, int) else op.Mul(half, 2)
    turning = op.Slice(x, starts=[0], ends=pairs[1], axes=[3])
    if interleaved:
        a, b = (op.Slice(turning, starts=[i], ends=[END], axes=[3], steps=[2]) for i in (0, 1))
    else:
        a = op.Slice(turning, starts=[0], ends=pairs[0], axes=[3])
        b = op.Slice(turning, starts=pairs[0], ends=[END], axes=[3])
    real = op.Sub(op.Mul(a, cos), op.Mul(b, sin))
    imaginary = op.Add(op.Mul(b, cos), op.Mul(a, sin))
    rest = op.Slice(x, starts=pairs[1], ends=[END], axes=[3])
    if not interleaved:
        return op.typed(op.Concat(real, imaginary, rest, axis=3), x)
    both = op.Concat(*[op.Unsqueeze(t, axes=[4]) for t in (real, imaginary)], axis=4)
    flat = op.Reshape(both, op.dims([0, 0, 0], pairs[1]))
    return op.typed(op.Concat(flat, rest, axis=3), x)
