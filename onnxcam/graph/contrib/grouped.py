"""Grouped-query attention with a cache: what decoders of language models run on."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from onnxcam.errors import UnsupportedOp
from onnxcam.graph.contrib.attention import causal as sees
from onnxcam.graph.contrib.attention import join_heads, lowest, scores, split_heads
from onnxcam.graph.contrib.definitions import define
from onnxcam.graph.contrib.rotary import END, counted, rotated
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, shape_of

_Maybe = Tensor | None


@define("GroupQueryAttention")
def group_query_attention(
    op: Emitter, query: Tensor, key: _Maybe, value: _Maybe, past_key: _Maybe, past_value: _Maybe,
    seqlens_k: Tensor, total_sequence_length: Tensor, cos_cache: _Maybe = None,
    sin_cache: _Maybe = None, position_ids: _Maybe = None, attention_bias: _Maybe = None,
    head_sink: _Maybe = None, k_scale: _Maybe = None, v_scale: _Maybe = None,
    q_norm_weight: _Maybe = None, k_norm_weight: _Maybe = None, *, num_heads: int,
    kv_num_heads: int, scale: float | None = None, softcap: float = 0.0, do_rotary: int = 0,
    rotary_interleaved: int = 0, local_window_size: int = -1, smooth_softmax: int = 0,
    causal: int = 1, kv_cache_bit_width: int = 0, k_quant_type: str = "NONE",
    v_quant_type: str = "NONE", sliding_window_cache: int = 0, qk_output: int = 0,
    qk_norm_epsilon: float = 1e-6,
) -> tuple[_Maybe, ...]:  # fmt: skip
    """Attention of new tokens with those in the cache; each key serves several queries' heads."""
    odd = {"a quantised cache": k_scale or v_scale, "normalised queries": q_norm_weight,
           "a sliding cache": sliding_window_cache}  # fmt: skip
    for name, present in odd.items():
        if present:
            raise UnsupportedOp(f"GroupQueryAttention with {name} has no definition")
    q, k, v = _heads(op, query, key, value, num_heads, kv_num_heads)
    new = op.dims(op.dim(q, 2))
    seen = _seen(op, seqlens_k, total_sequence_length, new)
    if do_rotary:
        assert cos_cache is not None and sin_cache is not None, "a rotation has its tables"
        positions = op.Add(seen, counted(op, op.dim(q, 2)))
        q, k = (rotated(op, t, positions, cos_cache, sin_cache, rotary_interleaved)
                for t in (q, k))  # fmt: skip
    k, v = (_cached(op, past, t, seen, total_sequence_length)
            for past, t in ((past_key, k), (past_value, v)))  # fmt: skip
    x = _grouped_scores(op, q, k, scale, num_heads, kv_num_heads)
    x = op.Mul(op.Tanh(op.Div(x, softcap)), softcap) if softcap > 0 else x
    x = x if attention_bias is None else op.Add(x, attention_bias)
    visible = _visible(op, seen, q, k, local_window_size if causal else None, new)
    hidden = op.Where(visible, x, op.const(lowest(x), dtype_of(x) or np.float32))
    p = _softmax(op, hidden, head_sink, smooth_softmax)
    qk = (None, op.Mul(x, op.cast(visible, x)), p)[qk_output]
    y = _grouped_values(op, p, v, num_heads, kv_num_heads)
    return (y if key is None else op.typed(y, query)), k, v, qk


def _heads(
    op: Emitter, query: Tensor, key: _Maybe, value: _Maybe, heads: int, kv_heads: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values as [B, heads, S, H]; they may be packed into one tensor."""
    if key is not None:
        assert value is not None, "keys that are not packed come with values"
        return (
            split_heads(op, query, heads),
            split_heads(op, key, kv_heads),
            split_heads(op, value, kv_heads),
        )
    every = split_heads(op, query, heads + 2 * kv_heads)
    edges = [0, heads, heads + kv_heads, END]
    q, k, v = (op.Slice(every, starts=[a], ends=[b], axes=[1]) for a, b in pairwise(edges))
    return q, k, v


def _seen(op: Emitter, seqlens_k: Tensor, total: Tensor, new: Tensor) -> Tensor:
    """Return the number of cached tokens as int64 [B, 1]: none where all tokens are new."""
    lengths = op.Add(op.Reshape(op.Cast(seqlens_k, to=7), op.dims([-1, 1])), 1)
    all_new = op.Equal(op.Reshape(op.Cast(total, to=7), op.dims([1])), new)
    return op.Where(all_new, op.const(np.int64(0)), op.Sub(lengths, new))


def _cached(op: Emitter, past: _Maybe, x: Tensor, seen: Tensor, total: Tensor) -> Tensor:
    """Return the present [B, N, T, H]: the seen part of the past, then x, then zeros."""
    if past is None or (shape_of(past) or (0, 0, 0))[2] == 0:
        return x
    old, new = op.dims(op.dim(past, 2)), op.dims(op.dim(x, 2))
    length = op.Max(old, op.Reshape(op.Cast(total, to=7), op.dims([1])))
    places = counted(op, length)
    behind = op.Add(op.Sub(places, seen), old)
    inside = op.Min(op.Where(op.Less(places, seen), places, behind), op.Sub(op.Add(old, new), 1))
    both = op.Transpose(op.Concat(past, x, axis=2), perm=[0, 2, 1, 3])
    rows = op.GatherND(both, op.Unsqueeze(inside, axes=[2]), batch_dims=1)
    filled = op.cast(op.Less(places, op.Add(seen, new)), x)
    return op.Mul(op.Transpose(rows, perm=[0, 2, 1, 3]), op.Unsqueeze(filled, axes=[1, 3]))


def _visible(
    op: Emitter, seen: Tensor, q: Tensor, k: Tensor, window: int | None, new: Tensor
) -> Tensor:
    """Tell as [B, 1, S or 1, T] which keys a query sees; a window of None sees forward too."""
    keys = counted(op, op.dim(k, 2))
    if window is None:
        return op.Unsqueeze(op.Less(keys, op.Add(seen, new)), axes=[1, 2])
    queries = op.Add(seen, counted(op, op.dim(q, 2)))
    visible = sees(op, queries, keys)
    if window > 0:
        near = op.Greater(keys, op.Unsqueeze(op.Sub(queries, window), axes=[-1]))
        visible = op.And(visible, near)
    return op.Unsqueeze(visible, axes=[1])


def _grouped_scores(
    op: Emitter, q: Tensor, k: Tensor, scale: float | None, heads: int, kv_heads: int
) -> Tensor:
    """Return q k^T scale as [B, N, S, T]; the queries of a group share a key's head."""
    grouped = op.Reshape(q, op.dims([0, kv_heads, -1], op.dim(q, 3)))
    return op.Reshape(scores(op, grouped, k, scale), op.dims([0, heads, -1], op.dim(k, 2)))


def _grouped_values(op: Emitter, p: Tensor, v: Tensor, heads: int, kv_heads: int) -> Tensor:
    grouped = op.Reshape(p, op.dims([0, kv_heads, -1], op.dim(v, 2)))
    return join_heads(op, op.Reshape(op.MatMul(grouped, v), op.dims([0, heads, -1], op.dim(v, 3))))


def _softmax(op: Emitter, x: Tensor, sink: _Maybe, smooth: int) -> Tensor:
    """Return the Softmax, with one more entry in its sum: each head's sink, or 0 to smooth it."""
    if sink is None and smooth != 1:
        return op.Softmax(x, axis=-1)
    head = op.const(0, dtype_of(x)) if sink is None else op.Reshape(sink, op.dims([1, -1, 1, 1]))
    column = op.Expand(head, op.dims(*[op.dim(x, i) for i in range(3)], 1))
    p = op.Softmax(op.Concat(x, column, axis=-1), axis=-1)
    return op.Slice(p, starts=[0], ends=[-1], axes=[3])
