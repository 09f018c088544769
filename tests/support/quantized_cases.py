"""Nodes on quantised tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from support.contrib_case import Case, bytes_, f32, normal, signed

_RNG = np.random.default_rng(2)
_VECTOR = f32([0.01, 0.02, 0.03, 0.04, 0.05])
_ONES = {"steps": 1}  # a rounding that falls the other way


def _zero(dtype: Any, value: Any) -> np.ndarray:
    return np.array(value, dtype)


def _sums(n: int) -> np.ndarray:
    return _RNG.integers(-2000, 2000, n).astype(np.int32)


def _quantized(dtype: Any) -> list[Case]:
    q, z = (bytes_, _zero(dtype, 120)) if dtype is np.uint8 else (signed, _zero(dtype, -3))
    xs, ys = {"xs": f32(0.02), "xz": z}, {"ys": f32(0.01), "yz": z}

    def unary(op_type: str, x: np.ndarray, **more: Any) -> Case:
        return Case(op_type, {"x": x, **xs, **ys}, more, **_ONES)

    pair = {"x": q(2, 3), **xs, "b": q(2, 3), "bs": f32(0.03), "bz": z, "ys": f32(0.06), "yz": z}
    window = {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "strides": [2, 1]}
    return [
        Case("QLinearAdd", {**pair, "b": q(3)}, **_ONES),
        Case("QLinearMul", pair, **_ONES),
        Case("QLinearWhere", {"c": _RNG.random((2, 3)) > 0.5, **pair}, **_ONES),
        Case("QLinearConcat", {"ys": f32(0.03), "yz": z, "x": q(2, 3), **xs, "b": q(2, 4),
                               "bs": f32(0.03), "bz": z}, {"axis": 1}, **_ONES),
        unary("QLinearSigmoid", q(2, 30)),
        unary("QLinearLeakyRelu", q(2, 30), alpha=0.2),
        unary("QLinearSoftmax", q(2, 3, 4), opset=13, axis=1),
        unary("QLinearSoftmax", q(2, 3, 4), opset=11, axis=1),
        unary("QLinearAveragePool", q(2, 3, 5, 6), **window),
        unary("QLinearAveragePool", q(2, 5, 6, 3), channels_last=1, count_include_pad=1, **window),
        unary("QLinearGlobalAveragePool", q(2, 3, 5, 6)),
        unary("QLinearGlobalAveragePool", q(2, 5, 6, 3), channels_last=1),
        Case("NhwcMaxPool", {"x": q(1, 6, 5, 4)}, {"kernel_shape": [2, 3], "strides": [2, 1]}),
        *_products(q, z, xs),
    ]  # fmt: skip


def _products(q: Any, z: np.ndarray, xs: dict[str, Any]) -> list[Case]:
    scales, zeros = f32([0.01, 0.02, 0.03] * 2), np.zeros(6, np.int8)
    conv = {"x": q(1, 4, 6, 5), **xs, "w": signed(6, 2, 3, 3), "ws": scales, "wz": zeros,
            "ys": f32(1.0), "yz": z, "b": _sums(6)}  # fmt: skip
    columns = {"bs": _VECTOR, "bz": np.arange(5, dtype=np.int8)}
    row = {"x": q(3, 4), **xs, "b": signed(4, 5), **columns}
    turned = {"x": q(4, 3), **xs, "b": signed(5, 4), **columns}
    out = {"ys": f32(0.3), "yz": z}
    one = {"bs": f32(0.01), "bz": np.array(3, np.int8)}
    batch = q(2, 3, 4)
    return [
        *[Case("QLinearConv", conv, {"group": 2, "pads": [1, 1, 0, 0]}, domain=d, **_ONES)
          for d in ("", "com.microsoft")],
        Case("QLinearConv", {**conv, "wz": np.array(0, np.int8)}, {"group": 2}, domain="", **_ONES),
        Case("QLinearConv", {"x": q(1, 6, 5, 4), **xs, "w": signed(6, 4, 3, 3), "ws": f32(0.02),
                             "wz": np.array(0, np.int8), "ys": f32(1.0), "yz": z},
             {"channels_last": 1}, **_ONES),
        Case("QLinearMatMul", {"x": batch, **xs, "b": signed(4, 5), **columns, **out}, domain="",
             **_ONES),
        Case("QGemm", {**row, "c": _sums(5), **out}, {"alpha": 0.5}, **_ONES),
        Case("QGemm", {**turned, "c": _sums(15).reshape(3, 5)}, {"transA": 1, "transB": 1}),
        Case("QGemm", {**row, **one}),
        Case("MatMulIntegerToFloat", {"x": batch, "b": signed(4, 5), "xs": f32(0.02),
                                      "bs": _VECTOR, "xz": z, "bz": columns["bz"],
                                      "bias": normal(5)}),
        Case("MatMulIntegerToFloat", {"x": q(3, 4), "b": signed(4, 5), "xs": f32(0.02),
                                      "bs": f32(0.05)}),
        Case("MatMulInteger", {"x": batch, "b": signed(4, 5), "xz": z, "bz": columns["bz"]},
             domain=""),
        Case("MatMulInteger", {"x": q(3, 4), "b": signed(4, 5)}, domain=""),
    ]  # fmt: skip


def _dynamic() -> list[Case]:
    lstm = []
    for d, direction in ((1, "forward"), (2, "bidirectional")):
        for shape in ((d,), (d, 16)):
            scale = np.abs(normal(*shape)) * 0.01
            zero = np.zeros(shape, np.int8)
            feeds = {"x": normal(5, 2, 3), "w": signed(d, 3, 16), "r": signed(d, 4, 16),
                     "b": normal(d, 32), "lens": None, "h": None, "c": None, "p": None,
                     "ws": scale, "wz": zero, "rs": scale, "rz": zero}  # fmt: skip
            lstm.append(Case("DynamicQuantizeLSTM", feeds,
                             {"hidden_size": 4, "direction": direction}, ("y", "yh", "yc"),
                             tolerance=3e-2))  # fmt: skip
    tables = {"w": bytes_(5, 8), "p": bytes_(4, 8), "e": bytes_(2, 8), "g": bytes_(8),
              "b": bytes_(8)}  # fmt: skip
    rest = {f"{k}s": f32(0.01) for k in tables} | {
        f"{k}z": np.array(v, np.uint8) for k, v in zip(tables, (120, 111, 3, 10, 99), strict=True)
    }
    ids, segments = np.int32([[1, 2, 0], [3, 0, 1]]), np.int32([[0, 1, 0], [1, 1, 1]])
    return [
        *lstm,
        Case("DynamicQuantizeMatMul", {"x": normal(2, 3, 4), "b": signed(4, 5), "bs": _VECTOR,
                                       "bz": np.arange(5, dtype=np.int8), "bias": normal(5)}),
        Case("DynamicQuantizeMatMul", {"x": normal(3, 4), "b": bytes_(4, 5), "bs": f32(0.05),
                                       "bz": np.array(3, np.uint8)}),
        Case("QEmbedLayerNormalization", {"i": ids, "s": segments, **tables,
                                          "m": np.int32([[1, 1, 0], [1, 1, 1]]), **rest}, {},
             ("y", "index"), tolerance=1e-4),
        *[Case("ConvInteger", {"x": bytes_(1, 4, 6, 5), "w": bytes_(6, 2, 3, 3), **zeros},
               {"group": 2, "strides": [2, 1]}, domain="")
          for zeros in ({}, {"xz": np.array(3, np.uint8), "wz": np.array(120, np.uint8)})],
    ]  # fmt: skip


QUANTIZED = [*_quantized(np.uint8), *_quantized(np.int8), *_dynamic()]
