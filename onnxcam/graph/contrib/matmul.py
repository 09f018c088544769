"""Matrix products with a transposition, a scale or an activation fused into them."""

from __future__ import annotations

from onnxcam.graph.contrib.activation import activated
from onnxcam.graph.contrib.definitions import define, rank_of
from onnxcam.graph.emit import Emitter, Tensor


@define("FusedMatMul", "TransposeMatMul", "FusedMatMulActivation")
def fused_matmul(
    op: Emitter,
    a: Tensor,
    b: Tensor,
    *,
    alpha: float = 1.0,
    trans_a: int = 0,
    trans_b: int = 0,
    trans_batch_a: int = 0,
    trans_batch_b: int = 0,
    activation: str = "",
    activation_alpha: float | None = None,
    activation_beta: float | None = None,
    activation_gamma: float | None = None,
    activation_axis: int | None = None,
) -> Tensor:
    """y = activation(alpha a' b')."""
    left = _transposed(op, a, trans_a, trans_batch_a)
    right = _transposed(op, b, trans_b, trans_batch_b)
    y = op.MatMul(left, right)
    y = y if alpha == 1 else op.Mul(y, alpha)
    if activation == "Softmax":
        return op.Softmax(y, axis=-1 if activation_axis is None else activation_axis)
    return activated(op, y, activation, activation_alpha, activation_beta, activation_gamma)


def _transposed(op: Emitter, x: Tensor, matrix: int, batch: int) -> Tensor:
    """Move the first axis behind the batch axes, then swap the last two."""
    rank = rank_of(x) if matrix or batch else 0
    if rank < 2:  # a vector is not transposed
        return x
    perm = [*range(1, rank - 1), 0, rank - 1] if batch else list(range(rank))
    if matrix:
        perm[-2:] = perm[:-3:-1]
    return x if perm == list(range(rank)) else op.Transpose(x, perm=perm)


@define("FusedGemm")
def fused_gemm(
    op: Emitter,
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    trans_a: int = 0,
    trans_b: int = 0,
    activation: str = "",
    activation_alpha: float | None = None,
    activation_beta: float | None = None,
    activation_gamma: float | None = None,
) -> Tensor:
    """y = activation(alpha a' b' + beta c)."""
    y = op.Gemm(a, b, c, alpha=alpha, beta=beta, transA=trans_a, transB=trans_b)
    return activated(op, y, activation, activation_alpha, activation_beta, activation_gamma)
