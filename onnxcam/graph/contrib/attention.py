"""Multi-head attention. Shapes: B batch, S queries, T keys, N heads, H head size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from onnxcam.errors import UnsupportedOp
from onnxcam.graph.contrib.definitions import define, rank_of
from onnxcam.graph.contrib.quantized import real
from onnxcam.graph.contrib.rotary import END, counted
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, shape_of

Outputs = tuple[Tensor | None, ...]
_Maybe = Tensor | None


# ---- pieces


def split_heads(op: Emitter, x: Tensor, heads: int) -> Tensor:
    """Return [B, S, N H] as [B, N, S, H]."""
    return op.Transpose(op.Reshape(x, op.dims([0, 0, heads, -1])), perm=[0, 2, 1, 3])


def join_heads(op: Emitter, x: Tensor) -> Tensor:
    """Return [B, N, S, H] as [B, S, N H]."""
    return op.Reshape(op.Transpose(x, perm=[0, 2, 1, 3]), op.dims([0, 0, -1]))


def scores(op: Emitter, q: Tensor, k: Tensor, scale: float | None) -> Tensor:
    """Return q k^T scale; the scale is 1 / sqrt(H) where none (or 0) is given."""
    size = op.dim(q, -1)
    if scale:
        q = op.Mul(q, scale)
    elif isinstance(size, int):
        q = op.Mul(q, 1 / math.sqrt(size))
    else:
        q = op.Div(q, op.Sqrt(op.cast(size, q)))
    rank = rank_of(k)
    return op.MatMul(q, op.Transpose(k, perm=[*range(rank - 2), rank - 1, rank - 2]))


def blocked(op: Emitter, x: Tensor, allowed: Tensor, value: float) -> Tensor:
    """Return x plus ``value`` where a position is not allowed."""
    return op.Add(x, op.Mul(op.cast(op.Not(allowed), x), value))


def causal(op: Emitter, queries: Tensor, keys: Tensor) -> Tensor:
    """Tell for positions of queries [..., S] and keys [T] where a query may see a key."""
    return op.LessOrEqual(keys, op.Unsqueeze(queries, axes=[-1]))


def lowest(x: Tensor) -> float:
    """Return the lowest number of a tensor's dtype."""
    kind = dtype_of(x)
    return float(np.finfo(np.float32 if kind is None or kind.kind != "f" else kind).min)


def _visible(op: Emitter, mask: Tensor, batch: Tensor, total: Tensor) -> Tensor | None:
    """Return a mask in any of its forms as booleans that broadcast against [B, N, S, T].

    Args:
        op: Emitter.
        mask: [B] ends, [2 B] ends and starts, [B, T] or [B, S, T] of 0 and 1.
        batch: Number of batch entries, int64 [1].
        total: Positions of the keys, int64 [T].
    """
    rank = rank_of(mask)
    if rank in (2, 3):
        if (shape_of(mask) or ())[-1] == 1:  # what exporters write for "no mask"
            return None
        return op.Unsqueeze(op.Greater(mask, 0), axes=[1, 2] if rank == 2 else [1])
    if rank != 1:
        raise UnsupportedOp(f"an attention mask of rank {rank} has no definition")
    both = op.Concat(op.Cast(mask, to=7), op.Expand(op.const(np.zeros(1, np.int64)), batch), axis=0)
    twice = op.Mul(batch, 2)
    ends = op.Unsqueeze(op.Slice(both, starts=[0], ends=batch, axes=[0]), axes=[1, 2, 3])
    starts = op.Unsqueeze(op.Slice(both, starts=batch, ends=twice, axes=[0]), axes=[1, 2, 3])
    return op.And(op.Less(total, ends), op.GreaterOrEqual(total, starts))


def _attend(
    op: Emitter, q: Tensor, k: Tensor, v: Tensor, *, scale: float | None, mask: _Maybe,
    bias: _Maybe, unidirectional: int, mask_filter_value: float, past: Tensor | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return softmax(q k^T scale + bias + masks) v as [B, S, N H], and what the softmax is of."""
    x = scores(op, q, k, scale)
    x = x if bias is None else op.Add(x, bias)
    keys = counted(op, op.dim(k, 2))
    if mask is not None:
        visible = _visible(op, mask, op.dims(op.dim(q, 0)), keys)
        x = x if visible is None else blocked(op, x, visible, mask_filter_value)
    if unidirectional:
        queries = counted(op, op.dim(q, 2))
        queries = queries if past is None else op.Add(queries, op.dims(op.dim(past, -2)))
        x = op.Where(causal(op, queries, keys), x, op.const(lowest(x), dtype_of(x) or np.float32))
    return join_heads(op, op.MatMul(op.Softmax(x, axis=-1), v)), x


def _extended(op: Emitter, past: _Maybe, x: Tensor) -> Tensor:
    return x if past is None else op.Concat(past, x, axis=2)


# ---- operators


@define("Attention")
def attention(
    op: Emitter, x: Tensor, weights: Tensor, bias: _Maybe = None, mask_index: _Maybe = None,
    past: _Maybe = None, attention_bias: _Maybe = None, past_sequence_length: _Maybe = None, *,
    num_heads: int, unidirectional: int = 0, scale: float | None = None,
    mask_filter_value: float = -10000.0, qkv_hidden_sizes: Sequence[int] = (), do_rotary: int = 0,
    rotary_embedding_dim: int = 0, past_present_share_buffer: int = 0,
) -> Outputs:  # fmt: skip
    """Attention of x with itself; queries, keys and values are one product of x."""
    if do_rotary or past_present_share_buffer:
        raise UnsupportedOp("Attention with do_rotary or a shared buffer has no definition")
    product = op.MatMul(x, weights)
    product = product if bias is None else op.Add(product, bias)
    if qkv_hidden_sizes:
        parts = op.Split(product, split=list(qkv_hidden_sizes), axis=-1, _outputs=3)
        q, k, v = (split_heads(op, part, num_heads) for part in parts)
    else:
        pieces = op.Reshape(product, op.dims([0, 0, 3, num_heads, -1]))
        stacked = op.Transpose(pieces, perm=[2, 0, 3, 1, 4])
        q, k, v = (op.Gather(stacked, op.const(np.int64(i)), axis=0) for i in range(3))
    old_k, old_v = (
        None if past is None else op.Gather(past, op.const(np.int64(i)), axis=0) for i in (0, 1)
    )
    k, v = _extended(op, old_k, k), _extended(op, old_v, v)
    y, _ = _attend(
        op, q, k, v, scale=scale, mask=mask_index, bias=attention_bias, past=old_k,
        unidirectional=unidirectional, mask_filter_value=mask_filter_value,
    )  # fmt: skip
    present = None
    if not qkv_hidden_sizes or len(set(qkv_hidden_sizes)) == 1:
        present = op.Concat(*[op.Unsqueeze(t, axes=[0]) for t in (k, v)], axis=0)
    return y, present


@define("QAttention")
def qattention(
    op: Emitter,
    x: Tensor,
    weights: Tensor,
    bias: Tensor,
    x_scale: Tensor,
    w_scale: Tensor,
    mask_index: _Maybe = None,
    x_zero: _Maybe = None,
    w_zero: _Maybe = None,
    past: _Maybe = None,
    *,
    num_heads: int,
    unidirectional: int = 0,
    scale: float | None = None,
    mask_filter_value: float = -10000.0,
    do_rotary: int = 0,
    past_present_share_buffer: int = 0,
) -> Outputs:
    """Attention of dequantised x and weights."""
    made: Outputs = attention(
        op, real(op, x, x_scale, x_zero), real(op, weights, w_scale, w_zero, 1), bias, mask_index,
        past, num_heads=num_heads, unidirectional=unidirectional, scale=scale,
        mask_filter_value=mask_filter_value, do_rotary=do_rotary,
        past_present_share_buffer=past_present_share_buffer,
    )  # fmt: skip
    return made


@define("MultiHeadAttention")
def multi_head_attention(
    op: Emitter,
    query: Tensor,
    key: _Maybe = None,
    value: _Maybe = None,
    bias: _Maybe = None,
    key_padding_mask: _Maybe = None,
    attention_bias: _Maybe = None,
    past_key: _Maybe = None,
    past_value: _Maybe = None,
    past_sequence_length: _Maybe = None,
    cache_indirection: _Maybe = None,
    *,
    num_heads: int,
    unidirectional: int = 0,
    scale: float | None = None,
    mask_filter_value: float = -10000.0,
) -> Outputs:
    """Attention of projected queries, keys and values; the present keys and values; the scores."""
    if past_sequence_length is not None or cache_indirection is not None:
        raise UnsupportedOp("MultiHeadAttention with a shared buffer has no definition")
    q, k, v = _projections(op, query, key, value, bias, num_heads)
    k, v = _extended(op, past_key, k), _extended(op, past_value, v)
    y, x = _attend(
        op, q, k, v, scale=scale, mask=key_padding_mask, bias=attention_bias, past=past_key,
        unidirectional=unidirectional, mask_filter_value=mask_filter_value,
    )  # fmt: skip
    return y, k, v, x


def _projections(
    op: Emitter, query: Tensor, key: _Maybe, value: _Maybe, bias: _Maybe, heads: int
) -> list[Tensor]:
    """Return queries, keys and values as [B, N, S, H] from separate or packed inputs."""
    if key is None:  # [B, S, N, 3, H]
        flat = [_unpacked(op, query, i) for i in range(3)]
    elif rank_of(key) == 5:  # [B, L, N, 2, H]
        flat = [query, _unpacked(op, key, 0), _unpacked(op, key, 1)]
    else:
        assert value is not None, "keys that are not packed come with values"
        flat = [query, key, value]
    if bias is not None:
        flat = _biased(op, flat, bias)
    return [x if rank_of(x) == 4 else split_heads(op, x, heads) for x in flat]


def _unpacked(op: Emitter, x: Tensor, index: int) -> Tensor:
    """Return one of the tensors that are packed along axis 3, as [B, S, N H]."""
    return op.Reshape(op.Gather(x, op.const(np.int64(index)), axis=3), op.dims([0, 0, -1]))


def _biased(op: Emitter, flat: Sequence[Tensor], bias: Tensor) -> list[Tensor]:
    """Add the pieces of a bias [N H + N H + N Hv]; what is in heads already has had its own."""
    width = op.dims(op.dim(flat[0], 2))
    places = [(op.dims(0), width), (width, op.Mul(width, 2)), (op.Mul(width, 2), op.dims(END))]
    return [
        x if rank_of(x) == 4 else op.Add(x, op.Slice(bias, starts=a, ends=b, axes=op.dims(0)))
        for x, (a, b) in zip(flat, places, strict=True)
    ]
