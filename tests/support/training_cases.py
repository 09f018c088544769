"""Graphs that onnxruntime-training alone gets wrong; each is in docs/ort-training.md."""

from __future__ import annotations

from typing import Any

import numpy as np

I64 = np.int64
MASK = np.array([[1, 0, 1], [0, 1, 1]], bool)
IMAGE = "float[N,2,5,5] x, float[2,2,3,3] w) => (float[N,2,a,b] y"
CASES: dict[str, tuple[str, dict[str, Any], str, str]] = {  # graph, feeds, wrt, outputs
    "conv-same": (f"({IMAGE}) {{ y = Conv<auto_pad='SAME_UPPER', strides=[2,2]>(x, w) }}",
                  {"x": (3, 2, 5, 5), "w": (2, 2, 3, 3)}, "x w", "y"),
    "conv-transpose-same": (
        f"({IMAGE}) {{ y = ConvTranspose<auto_pad='SAME_LOWER', strides=[2,2]>(x, w) }}",
        {"x": (3, 2, 5, 5), "w": (2, 2, 3, 3)}, "x w", "y"),
    "average-pool-batch": (
        "(float[N,2,6,6] x) => (float[N,2,a,b] y)"
        " { y = AveragePool<kernel_shape=[3,3], auto_pad='SAME_UPPER', strides=[2,2]>(x) }",
        {"x": (3, 2, 6, 6)}, "x", "y"),
    "average-pool-space": (
        "(float[1,2,H,W] x) => (float[1,2,a,b] y)"
        " { y = AveragePool<kernel_shape=[2,2], strides=[2,2]>(x) }",
        {"x": (1, 2, 6, 6)}, "x", "y"),
    "average-pool-dilated": (
        "(float[1,2,9,9] x) => (float[1,2,a,b] y)"
        " { y = AveragePool<kernel_shape=[3,3], dilations=[2,2]>(x) }",
        {"x": (1, 2, 9, 9)}, "x", "y"),
    "gelu-tanh": ("(float[5] x) => (float[5] y) { y = Gelu<approximate='tanh'>(x) }",
                  {"x": (5,)}, "x", "y"),
    "split-unused": ("(float[2,6] x) => (float[2,3] y) { y, z = Split<axis=1, num_outputs=2>(x) }",
                     {"x": (2, 6)}, "x", "y"),
    "add-symbolic": ("(float[N,M] x, float[3] b) => (float[N,3] y) { y = Add(x, b) }",
                     {"x": (2, 1), "b": (3,)}, "x b", "y"),
    "mul-symbolic": ("(float[N,M] x, float[K] b) => (float[N,L] y) { y = Mul(x, b) }",
                     {"x": (2, 1), "b": (3,)}, "x b", "y"),
    "max-symbolic": ("(float[N] x, float[M] z) => (float[K] y) { y = Max(x, z) }",
                     {"x": (1,), "z": (4,)}, "x z", "y"),
    "matmul-symbolic": ("(float[N,2,3] a, float[M,3,4] b) => (float[K,2,4] y) { y = MatMul(a, b) }",
                        {"a": (1, 2, 3), "b": (5, 3, 4)}, "a b", "y"),
    "gemm-symbolic": (
        "(float[2,3] a, float[3,4] b, float[M] c) => (float[2,4] y) { y = Gemm(a, b, c) }",
        {"a": (2, 3), "b": (3, 4), "c": (1,)}, "a b c", "y"),
    "expand-symbolic": ("(float[N,M] x, int64[2] s) => (float[2,K] y) { y = Expand(x, s) }",
                        {"x": (1, 3), "s": I64([2, 3])}, "x", "y"),
    "where-broadcast": (
        "(bool[2,3] c, float[3] x, float[M,1] z) => (float[2,3] y) { y = Where(c, x, z) }",
        {"c": MASK, "x": (3,), "z": (2, 1)}, "x z", "y"),
    "pow-broadcast": ("(float[3] x, float[2,1] e) => (float[2,3] y) { a = Abs(x) y = Pow(a, e) }",
                      {"x": (3,), "e": (2, 1)}, "x", "y"),
    "pow-integer": ("(float[N] x, int64[1] e) => (float[N] y) { y = Pow(x, e) }",
                    {"x": (3,), "e": I64([3])}, "x", "y"),
    "pad-axes": ("(float[2,3] x, int64[2] p, int64[1] a) => (float[2,M] y) { y = Pad(x, p, , a) }",
                 {"x": (2, 3), "p": I64([1, 2]), "a": I64([-1])}, "x", "y"),
    "mul-twice": ("(float[3] x) => (float[3] y) { y = Mul(x, x) }", {"x": (3,)}, "x", "y"),
    "concat-twice": ("(float[3] x) => (float[9] y) { y = Concat<axis=0>(x, x, x) }",
                     {"x": (3,)}, "x", "y"),
    "matmul-twice": ("(float[3,3] x) => (float[3,3] y) { y = MatMul(x, x) }",
                     {"x": (3, 3)}, "x", "y"),
    "matmul-vector": ("(float[N,3,4] a, float[4] b) => (float[N,3] y) { y = MatMul(a, b) }",
                      {"a": (2, 3, 4), "b": (4,)}, "a b", "y"),
    "matmul-vectors": ("(float[4] a, float[4] b) => (float y) { y = MatMul(a, b) }",
                       {"a": (4,), "b": (4,)}, "a b", "y"),
    "layer-norm-no-bias": (
        "(float[N,3] x, float[3] s) => (float[N,3] z)"
        " { y = LayerNormalization(x, s) z = LayerNormalization(y, s) }",
        {"x": (2, 3), "s": (3,)}, "x s", "z"),
    "layer-norm-double": (
        "(double[N,3] x, double[3] s) => (double[N,3] y)"
        " { y = LayerNormalization<stash_type=11>(x, s) }",
        {"x": np.linspace(-1, 1, 6).reshape(2, 3) ** 2, "s": np.array([1.0, 2, 3])}, "x s", "y"),
    "output-inside-output": ("(float[3] x) => (float[3] a, float[3] y) { a = Exp(x) y = Sin(a) }",
                             {"x": (3,)}, "x a", "a y"),
    "wrt-before-wrt": (
        "(float[3] x) => (float[3] y) { a = Exp(x) b = Sin(a) y = Mul(b, x) }",
        {"x": (3,)}, "a x y", "y"),
    "its-own-names": (
        "(float[3] t0, float[3] t1_grad) => (float[3] t0_grad)"
        " { t1 = Exp(t0) t0_grad = Mul(t1, t1_grad) }",
        {"t0": (3,), "t1_grad": (3,)}, "t0 t1_grad t1", "t0_grad"),
    "independent": (
        "(float[3] x, float[2] z) => (float[3] y, float[2] u) { y = Exp(x) u = Sin(z) }",
        {"x": (3,), "z": (2,)}, "x z", "y"),
    "empty": (
        "(float[0,3,4] x, int64[3] s) => (float[3,4,0] y) { y = Reshape<allowzero=1>(x, s) }",
        {"x": (0, 3, 4), "s": np.array([3, 4, 0])}, "x", "y"),
    "nothing-depends": (
        "(float[3] x) => (float[3] y) { s = Shape(x) y = ConstantOfShape(s) }",
        {"x": (3,)}, "x", "y"),
    "flat-branch": (
        "(float[3] x) => (float[3] y) { a = Round(x) b = Exp(a) c = Sin(x) y = Add(b, c) }",
        {"x": (3,)}, "x", "y"),
    "batch-norm-weights": (
        "(float[N,3,H] x, float[3] s, float[3] b, float[3] m, float[3] v) => (float[N,3,H] y)"
        " { y = BatchNormalization(x, s, b, m, v) }",
        {"x": (2, 3, 4), "s": (3,), "b": (3,), "m": (3,), "v": np.float32([1, 2, 3])},
        "x s b m v", "y"),
    "dropout": ("(float[3] x, float r) => (float[3] y) { y = Dropout(x, r) }",
                {"x": (3,), "r": np.full((), 0.5, "f4")}, "x r", "y"),
    "moves": (
        "(float[N,4] x, int64[1] k, int64[3,2] i, int64[2] r, int64[1] one) => (float[P,Q] y)"
        " { a = Trilu<upper=0>(x) b, j = TopK<axis=1>(a, k) c = GatherElements<axis=1>(b, i)"
        " d = Tile(c, r) e = Slice(d, one, k, one) f = LeakyRelu(e) g = LogSoftmax(f)"
        " y = Reciprocal(g) }",
        {"x": (3, 4), "k": I64([3]), "i": I64([[1, 0], [-1, 2], [2, 2]]), "r": I64([1, 3]),
         "one": I64([1])}, "x", "y"),
    "quotients": ("(float[N,4] x, float[4] b) => (float[N,4] y)"
                  " { c = Div(x, x) d = Div(c, b) e = Div(b, x) f = Sub(d, e) y = Min(f, x, b) }",
                  {"x": (3, 4), "b": (4,)}, "x b", "y"),
    "microsoft": (
        "(float[N,4] x, float[4] b) => (float[N,4] y) { c = com.microsoft.Gelu(x)"
        " d = com.microsoft.FastGelu(c, b) e = com.microsoft.BiasGelu(d, b)"
        " y = com.microsoft.QuickGelu<alpha=1.7>(e) }", {"x": (3, 4), "b": (4,)}, "x b", "y"),
    "sum-mean": (
        "(float[N,3] x, float[1,3] z) => (float[N,3] y)"
        " { a = Sum(x, z, x) b = Mean(a, z) c = Sum(b) y = HardSigmoid(c) }",
        {"x": (2, 3), "z": (1, 3)}, "x z", "y"),
}  # fmt: skip

REFUSED: dict[str, tuple[str, str, str]] = {  # graph, wrt, words
    "unregistered": (
        "(float[2,3] x) => (float[2,2] y) { y = Einsum<equation='ij,kj->ik'>(x, x) }", "x",
        "has not been registered: Einsum for node product"),
    "pow-left-out": ("(float[3] x) => (float[3] y) { e = Exp(x) y = Pow(x, e) }", "x",
                     "of 2 gradients that flow to 'x' .* it gives 1"),
    "its-own-words": (
        "(float[4] x, int64[2] p) => (float[6] y) { y = Pad<mode='reflect'>(x, p) }", "x",
        "model: Pad gradient currently supports constant mode only"),
    "its-own-names": ("(float[3] x, float lo) => (float[3] y) { y = Clip(x, lo) }", "lo",
                      "Cannot compute the partial derivative for 'lo'"),
    "log-sum-exp": ("(float[2,3] x) => (float y) { y = ReduceLogSumExp<keepdims=0>(x) }", "x",
                    "Unsqueezed_Output"),
    "clip-left-out": (
        "(float[3] x, float lo) => (float[3] y) { a = Sin(lo) c = Clip(x, lo) y = Add(c, a) }",
        "lo", "of 2 gradients that flow to 'lo' .* it gives 1"),
    "pad-left-out": (
        "(float[3] x, int64[2] p, float v) => (float[5] y) { c = Pad(x, p, v) y = Add(c, v) }",
        "v", "of 2 gradients that flow to 'v' .* it gives 1"),
    "rounding": (
        "(float[3] x, float s, int8 z) => (float[3] y)"
        " { q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) y = Add(d, x) }", "x",
        "no gradient for integers, as 'q' is one"),
    "scatter-nd": (
        "(float[4] x, int64[2,1] i, float[2] u) => (float[4] y)"
        " { y = ScatterND<reduction='add'>(x, i, u) }", "x", "ScatterND node 'product'"),
    "scatter-elements": (
        "(float[4] x, int64[2] i, float[2] u) => (float[4] y)"
        " { y = ScatterElements<reduction='mul'>(x, i, u) }", "x", "without a reduction"),
    "layer-norm-statistics": (
        "(float[2,3] x, float[3] s) => (float[2,3] y)"
        " { a, mean, inv = LayerNormalization(x, s) y = Mul(a, inv) }", "x",
        "Mean or InvStdDev"),
    "training-batch-norm": (
        "(float[2,3] x, float[3] s) => (float[2,3] y)"
        " { y, m, v = BatchNormalization<training_mode=1>(x, s, s, s, s) }", "x",
        "training mode"),
    "training-dropout": (
        "(float[3] x, float r, bool t) => (float[3] y) { y = Dropout(x, r, t) }", "x",
        "may be in training mode"),
    "split-omitted": (
        "(float[6] x) => (float[3] y) { , y = Split<num_outputs=2>(x) }", "x", "leaves out"),
    "too-new": ("(float[3] x) => (float[3] y) { y = Swish(x) }", "x", "ends at opset 21, not 24"),
    "subgraph": (
        "(bool c, float[3] x) => (float[3] y)"
        " { y = If(c) <then_branch = t () => (float[3] a) { a = Exp(x) },"
        " else_branch = e () => (float[3] b) { b = Sin(x) }> }", "x", "no gradient for If"),
}  # fmt: skip
