"""Matrix products."""

from __future__ import annotations

from onnxcam.autodiff.engine import unbroadcast
from onnxcam.autodiff.registry import NodeView, vjp
from onnxcam.emit import Emitter, Tensor, shape_of


@vjp("Gemm")
def gemm(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor | None, ...]:
    """y = alpha A' B' + beta C: dA' = alpha dy B'^T, dB' = alpha A'^T dy, dC = beta dy."""
    a, b, c = node.inputs[0], node.inputs[1], node.input(2)
    ta, tb = int(node.attr("transA")), int(node.attr("transB"))
    alpha, beta = node.attr("alpha"), node.attr("beta")
    if ta:
        da = op.Gemm(b, dy, alpha=alpha, transA=tb, transB=1)
    else:
        da = op.Gemm(dy, b, alpha=alpha, transB=1 - tb)
    if tb:
        db = op.Gemm(dy, a, alpha=alpha, transA=1, transB=ta)
    else:
        db = op.Gemm(a, dy, alpha=alpha, transA=1 - ta)
    if c is None:
        return da, db, None
    dc = dy if beta == 1 else op.Mul(dy, beta)
    return da, db, unbroadcast(op, dc, c)


@vjp("MatMul")
def matmul(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor, ...]:
    """dA = dy B^T, dB = A^T dy, summed over broadcast batch dimensions; vectors as NumPy has it."""
    a, b = node.inputs
    rank_a, rank_b = (len(shape_of(t) or ()) for t in (a, b))
    left = op.Unsqueeze(a, axes=[0]) if rank_a == 1 else a
    right = op.Unsqueeze(b, axes=[1]) if rank_b == 1 else b
    if rank_b == 1:
        dy = op.Unsqueeze(dy, axes=[-1])
    if rank_a == 1:
        dy = op.Unsqueeze(dy, axes=[-2])
    da = unbroadcast(op, op.MatMul(dy, _transposed(op, right)), left)
    db = unbroadcast(op, op.MatMul(_transposed(op, left), dy), right)
    if rank_a == 1:
        da = op.Reshape(da, op.shape(a))
    if rank_b == 1:
        db = op.Reshape(db, op.shape(b))
    return da, db


def _transposed(op: Emitter, x: Tensor) -> Tensor:
    rank = len(shape_of(x) or ())
    return op.Transpose(x, perm=[*range(rank - 2), rank - 1, rank - 2])
