"""Nodes of attention: masks, biases, pasts and caches in every form that ONNX Runtime takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from support.contrib_case import Case, bytes_, f32, i32, normal, signed

_RNG = np.random.default_rng(1)


def _attention() -> list[Case]:
    f, b, s, n, h = normal, 2, 3, 2, 4
    d = n * h
    three = (f(b, s, 5), f(5, 3 * d), f(3 * d))
    x, w, bias = three
    raw = i32(_RNG.random((b, s, s)) > 0.4)
    raw[:, :, 0] = 1
    masks = {
        "ends": i32([2, 3]), "ends and starts": i32([3, 2, 1, 0]),
        "of keys": i32([[1, 1, 0], [1, 0, 1]]), "none": i32([[1], [1]]), "of pairs": raw,
    }  # fmt: skip
    past, three_out = f(2, b, n, 2, h), ("y", "k2", "v2")
    q, k, v = f(b, s, d), f(b, s, d), f(b, s, d)
    cases = []
    for one_way in (0, 1):
        base = {"num_heads": n, "unidirectional": one_way}
        cases += [
            Case("Attention", {"x": x, "w": w, "b": bias}, {**base, "scale": 0.3}),
            *[Case("Attention", {"x": x, "w": w, "b": bias, "m": m}, base) for m in masks.values()],
            Case("Attention", {"x": x, "w": w, "b": bias, "m": masks["of keys"]},
                 {**base, "mask_filter_value": -1.5}),
            Case("Attention", {"x": x, "w": w, "b": bias, "m": None, "p": past}, base,
                 ("y", "present")),
            Case("Attention", {"x": x, "w": w, "b": bias, "m": None, "p": None,
                               "ab": f(1, n, s, s)}, base),
            Case("Attention", {"x": x, "w": f(5, 2 * d + 6), "b": f(2 * d + 6)},
                 {**base, "qkv_hidden_sizes": [d, d, 6]}),
            Case("MultiHeadAttention", {"q": q, "k": k, "v": f(b, s, 6)}, base),
            Case("MultiHeadAttention", {"q": q, "k": k, "v": v, "b": f(3 * d)},
                 {**base, "scale": 0.3}, three_out),
            *[Case("MultiHeadAttention", {"q": q, "k": k, "v": v, "b": None, "m": masks[m]}, base)
              for m in ("ends", "of keys", "of pairs")],
            Case("MultiHeadAttention", {"q": q, "k": k, "v": v, "b": None, "m": None,
                                        "ab": f(1, 1, s, s)}, base),
            Case("MultiHeadAttention", {"q": q, "k": k, "v": v, "b": f(3 * d), "m": None,
                                        "ab": None, "pk": f(b, n, 2, h), "pv": f(b, n, 2, h)},
                 base, three_out),
            Case("MultiHeadAttention", {"q": q, "k": f(b, n, s, h), "v": f(b, n, s, h),
                                        "b": f(3 * d)}, base),
        ]  # fmt: skip
    cases += [
        Case("MultiHeadAttention", {"q": q, "k": f(b, 5, d), "v": f(b, 5, d)}, {"num_heads": n}),
        Case("QAttention", {"x": bytes_(b, s, 5), "w": signed(5, 3 * d), "b": f(3 * d),
                            "xs": f32(0.02), "ws": f32(0.01), "m": masks["ends"],
                            "xz": np.array(120, np.uint8), "wz": np.array(3, np.int8)},
             {"num_heads": n}, tolerance=1e-4),
    ]  # fmt: skip
    return cases + _rotary()


def _rotary() -> list[Case]:
    f = normal
    caches = {"c": f(10, 2), "s": f(10, 2)}
    each, offset = np.array([[1, 2, 3], [0, 4, 2]]), np.array([2])
    return [
        Case("RotaryEmbedding", {"x": x, "p": p, **caches}, {"interleaved": i, **more})
        for i in (0, 1)
        for x, p, more in (
            (f(2, 3, 8), each, {}),
            (f(2, 3, 8), offset, {}),
            (f(2, 2, 3, 4), offset, {}),
            (f(2, 3, 20), offset, {"num_heads": 2, "rotary_embedding_dim": 4}),
        )
    ]


def _grouped() -> list[Case]:
    f, n, k, h = normal, 4, 2, 16
    heads = {"num_heads": n, "kv_num_heads": k}
    three = ("y", "pk2", "pv2")
    caches = {"c": f(20, 8), "s": f(20, 8)}

    def tokens(batch: int, length: int, past: int, ends: list[int], total: int) -> dict[str, Any]:
        cache = {"pk": f(batch, k, past, h), "pv": f(batch, k, past, h)}
        flat = {"q": f(batch, length, n * h), "k": f(batch, length, k * h),
                "v": f(batch, length, k * h)}  # fmt: skip
        return {**flat, **cache, "ends": i32(ends), "total": i32(total)}

    prompt, step = tokens(2, 4, 0, [3, 3], 4), tokens(2, 1, 5, [5, 5], 6)
    ragged, chunk = tokens(2, 1, 5, [3, 5], 6), tokens(1, 3, 4, [6], 7)
    packed = {"q": f(2, 4, (n + 2 * k) * h), "k": None, "v": None, "pk": None, "pv": None,
              "ends": i32([3, 3]), "total": i32(4)}  # fmt: skip
    settings = [
        {}, {"local_window_size": 2}, {"softcap": 1.5}, {"smooth_softmax": 1}, {"do_rotary": 1},
        {"do_rotary": 1, "rotary_interleaved": 1}, {"scale": 0.2}, {"causal": 0},
    ]  # fmt: skip
    cases = [
        Case("GroupQueryAttention", {**feeds, **(caches if "do_rotary" in more else {})},
             {**heads, **more}, three)
        for more in settings
        for feeds in (prompt, packed, step, ragged, chunk)
    ]  # fmt: skip
    late = {"c": None, "s": None, "pi": None}
    return [
        *cases,
        Case("GroupQueryAttention", {**chunk, **late, "ab": f(1, n, 3, 7)}, heads, three),
        Case("GroupQueryAttention", {**chunk, **late, "ab": None, "sink": f(n)}, heads, three),
        Case("GroupQueryAttention", packed, {**heads, "qk_output": 1}, (*three, "qk")),
        Case("GroupQueryAttention", packed, {**heads, "qk_output": 2}, (*three, "qk")),
    ]


ATTENTION = [*_attention(), *_grouped()]
