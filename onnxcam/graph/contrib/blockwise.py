"""Weights of a few bits each, packed into bytes and scaled block by block."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from onnxcam.errors import UnsupportedOp
from onnxcam.graph.contrib.definitions import define, rank_of
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, is_float

_Maybe = Tensor | None

# The sixteen values of the two 4-bit formats of bitsandbytes, QLoRA (arXiv:2305.14314), appendix E.
_FP4 = (0.0, 0.005208333333, 0.66666667, 1.0, 0.33333333, 0.5, 0.16666667, 0.25)
_NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
    0.7229568362236023, 1.0,
)  # fmt: skip


def unpacked(op: Emitter, x: Tensor, bits: int, like: Tensor) -> Tensor:
    """Return the numbers of ``bits`` bits that bytes hold, lowest first, along a new last axis.

    They are floats of the dtype of ``like``: quotients and remainders of bytes are exact there.
    """
    if 8 % bits:
        raise UnsupportedOp(f"weights of {bits} bits have no definition")
    whole = op.cast(x, like)
    above = [whole, *(op.Floor(op.Mul(whole, 2.0**-shift)) for shift in range(bits, 8, bits))]
    fields = [op.Sub(a, op.Mul(b, 2.0**bits)) for a, b in pairwise(above)]
    return op.Concat(*[op.Unsqueeze(f, axes=[-1]) for f in [*fields, above[-1]]], axis=-1)


@define("MatMulNBits")
def matmul_nbits(
    op: Emitter,
    a: Tensor,
    b: Tensor,
    scales: Tensor,
    zero_points: _Maybe = None,
    g_idx: _Maybe = None,
    bias: _Maybe = None,
    *,
    k: int,
    n: int,
    block_size: int,
    bits: int = 4,
    accuracy_level: int = 0,
    weight_prepacked: int = 0,
) -> Tensor:
    """y = a w^T + bias, w = (b - zero) scale in blocks along its rows."""
    if g_idx is not None or weight_prepacked:
        raise UnsupportedOp("MatMulNBits with g_idx or prepacked weights has no definition")
    blocks = -(-k // block_size)
    steps = op.Reshape(unpacked(op, b, bits, a), op.dims([n, blocks, block_size]))
    zero: Tensor | float = 2.0 ** (bits - 1)
    if zero_points is not None:
        zero = _zeros(op, zero_points, bits, n, blocks, a)
    scale = op.Reshape(op.cast(scales, a), op.dims([n, blocks, 1]))
    w = op.Reshape(op.Mul(op.Sub(steps, zero), scale), op.dims([n, -1]))
    w = w if k == blocks * block_size else op.Slice(w, starts=[0], ends=[k], axes=[1])
    y = op.MatMul(a, op.Transpose(w, perm=[1, 0]))
    return y if bias is None else op.Add(y, bias)


def _zeros(
    op: Emitter, zero_points: Tensor, bits: int, rows: int, blocks: int, like: Tensor
) -> Tensor:
    """Return zero points as [rows, blocks, 1]; bytes hold several, floats one each."""
    if not is_float(zero_points):
        fields = op.Reshape(unpacked(op, zero_points, bits, like), op.dims([rows, -1]))
        zero_points = op.Slice(fields, starts=[0], ends=[blocks], axes=[1])
    return op.Reshape(op.cast(zero_points, like), op.dims([rows, blocks, 1]))


@define("MatMulBnb4")
def matmul_bnb4(
    op: Emitter,
    a: Tensor,
    b: Tensor,
    absmax: Tensor,
    *,
    k: int,
    n: int,
    block_size: int,
    quant_type: int,
    trans_b: int = 1,
    training_mode: int = 0,
) -> Tensor:
    """y = a w^T, w = table[b] absmax in blocks along all of w; the upper half of a byte first."""
    table = _NF4 if quant_type == 1 else (*_FP4, *(-v for v in _FP4))
    pairs = unpacked(op, b, 4, a)
    indices = op.Cast(op.Gather(pairs, op.const(np.array([1, 0])), axis=-1), to=7)
    values = op.Gather(op.const(np.array(table), dtype_of(a) or np.float32), indices, axis=0)
    flat = op.Slice(op.Reshape(values, op.dims(-1)), starts=[0], ends=[n * k], axes=[0])
    owner = op.const(np.arange(n * k) // block_size)
    w = op.Reshape(op.Mul(flat, op.Gather(op.cast(absmax, a), owner, axis=0)), op.dims([n, k]))
    return op.MatMul(a, op.Transpose(w, perm=[1, 0]) if trans_b else w)


@define("GatherBlockQuantized")
def gather_block_quantized(
    op: Emitter,
    data: Tensor,
    indices: Tensor,
    scales: Tensor,
    zero_points: _Maybe = None,
    *,
    bits: int = 4,
    block_size: int = 128,
    gather_axis: int = 0,
    quantize_axis: int = 1,
) -> Tensor:
    """The chosen slices of data, as (data - zero) scale in blocks along ``quantize_axis``."""
    kind = dtype_of(data)
    packed = kind is not None and kind.name == "uint8"
    rank = rank_of(data)
    axis, chosen = quantize_axis % rank, gather_axis % rank
    if kind is None or "float" in kind.name or (packed and axis != rank - 1):
        raise UnsupportedOp(f"GatherBlockQuantized on {kind} along axis {axis} has no definition")

    def steps(x: Tensor) -> Tensor:
        if not packed:
            return op.cast(x, scales)
        return op.Reshape(unpacked(op, x, bits, scales), op.dims([0] * (rank - 1), -1))

    values = steps(data)
    length = op.dim(values, axis)
    if not isinstance(length, int):
        raise UnsupportedOp("GatherBlockQuantized on data of unknown shape has no definition")
    owner = op.const(np.arange(length) // block_size)
    zero: Tensor | float = 2.0 ** (bits - 1) if packed else 0.0
    if zero_points is not None:
        zero = op.Gather(steps(zero_points), owner, axis=axis)
    table = op.Mul(op.Sub(values, zero), op.Gather(scales, owner, axis=axis))
    return op.Gather(table, indices, axis=chosen)
