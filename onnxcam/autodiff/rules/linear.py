"""Matrix products."""

from __future__ import annotations

from onnxcam.autodiff.broadcast import unbroadcast
from onnxcam.autodiff.cotangents import as_one_hot
from onnxcam.autodiff.registry import NodeView, vjp
from onnxcam.autodiff.rules._moves import reshaped
from onnxcam.graph import quirks
from onnxcam.graph.emit import Emitter, Tensor, const_value, shape_of
from onnxcam.graph.ops import Trait, has


@vjp("Gemm", broadcasts=True)
def gemm(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """y = alpha A' B' + beta C: dA' = alpha dy B'^T, dB' = alpha A'^T dy, dC = beta dy."""
    a, b = node.inputs[:2]
    ta, tb = int(node.attr("transA")), int(node.attr("transB"))
    alpha, beta = node.attr("alpha"), node.attr("beta")
    rows = as_one_hot(op, dy)
    if rows is not None and not ta and alpha == 1:
        da = _picked(op, rows, b, axis=0 if tb else 1)
    elif ta:
        da = _gemm(op, b, dy, alpha, tb, 1)
    elif _is_square_constant(b):
        da = _gemm(op, dy, _transposed(op, b), alpha, 0, tb)
    else:
        da = _gemm(op, dy, b, alpha, 0, 1 - tb)
    db = _gemm(op, dy, a, alpha, 1, ta) if tb else _gemm(op, a, dy, alpha, 1 - ta, 0)
    dc = dy if beta == 1 else op.Mul(dy, beta)
    grads: list[Tensor | None] = [da, db, dc]
    return grads[: len(node.inputs)]


def _gemm(op: Emitter, a: Tensor, b: Tensor, alpha: float, ta: int, tb: int) -> Tensor:
    """Return alpha A' B'; before opset 11 there must be something to add."""
    nothing = 0 if op.schema("Gemm").min_input == 3 else None
    return op.Gemm(a, b, nothing, alpha=alpha, transA=ta, transB=tb)


@vjp("MatMul")
def matmul(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor, ...]:
    """dA = dy B^T, dB = A^T dy, summed over broadcast batch dimensions; vectors as NumPy has it."""
    a, b = node.inputs
    rank_a, rank_b = _rank(a), _rank(b)
    left = op.Unsqueeze(a, axes=[0]) if rank_a == 1 else a
    right = op.Unsqueeze(b, axes=[1]) if rank_b == 1 else b
    if rank_b == 1:
        dy = op.Unsqueeze(dy, axes=[-1])
    if rank_a == 1:
        dy = op.Unsqueeze(dy, axes=[-2])
    rows = as_one_hot(op, dy)
    if rows is not None and rank_a == rank_b == 2:
        da = _picked(op, rows, b, axis=1)
    else:
        da = unbroadcast(op, op.MatMul(dy, _transposed(op, right)), left)
    if rank_b == 2 and (rank_a or 0) > 2:  # one product over all rows, not one for each matrix
        db = op.MatMul(_transposed(op, _rows(op, left)), _rows(op, dy))
    else:
        db = unbroadcast(op, op.MatMul(_transposed(op, left), dy), right)
    if rank_a == 1:
        da = op.Reshape(da, op.shape(a))
    if rank_b == 1:
        db = op.Reshape(db, op.shape(b))
    return da, db


def _picked(
    op: Emitter, rows: tuple[Tensor, Tensor | None], weights: Tensor, *, axis: int
) -> Tensor:
    """Return dy W for a one-hot dy: the weights of one class, without reading the others."""
    index, values = rows
    picked = _dequantised(op, index, weights, axis) or op.Gather(weights, index, axis=axis)
    picked = op.Transpose(picked, perm=[1, 0]) if axis else picked
    return picked if values is None else op.Mul(picked, values)


def _dequantised(op: Emitter, index: Tensor, weights: Tensor, axis: int) -> Tensor | None:
    """Return what is picked of quantised weights: those are reals then, not all of them.

    None where the weights are reals already, or their scales lie in blocks.
    """
    node = weights.inputs[0] if weights.inputs else None
    if node is None or not has(node, Trait.DEQUANTISES) or node.attrs.get("block_size"):
        return None
    along = int(node.attrs.get("axis", 1)) % 2
    parts: list[Tensor | None] = [op.Gather(node.inputs[0], index, axis=axis)]
    for part in node.inputs[1:]:
        shape = shape_of(part) if part.name else ()
        if shape is None or len(shape) > 1:
            return None
        spread = bool(shape) and along == axis
        parts.append(op.Gather(part, index, axis=0) if spread else part)
    return op.again(node, [p if p is not None and p.name else None for p in parts], node.attrs)[0]


def _rank(x: Tensor) -> int | None:
    shape = shape_of(x)
    return None if shape is None else len(shape)


def _transposed(op: Emitter, x: Tensor) -> Tensor:
    """Swap the last two dimensions; what is of unknown rank is taken to have two."""
    rank = _rank(x)
    if _is_square_constant(x):
        stack = op.Transpose(op.Unsqueeze(x, axes=[0]), perm=[0, 2, 1])
        return op.Squeeze(stack, axes=[0])
    if rank is not None:
        return op.Transpose(x, perm=[*range(rank - 2), rank - 1, rank - 2])
    rows, columns = op.dim(x, -2), op.dim(x, -1)
    batch = op.Slice(op.Shape(x), starts=[0], ends=[-2], axes=[0])
    count = op.ReduceProd(batch, axes=[0], keepdims=1)
    swapped = op.Transpose(reshaped(op, x, op.dims(count, rows, columns)), perm=[0, 2, 1])
    return reshaped(op, swapped, op.dims(batch, columns, rows))


@quirks.works_around(quirks.PACKED_SQUARE)
def _is_square_constant(x: Tensor) -> bool:
    """Tell whether a matrix is one that must not be multiplied with transposed in place."""
    shape = shape_of(x) or ()
    return len(shape) == 2 and shape[0] == shape[1] and const_value(x) is not None


def _rows(op: Emitter, x: Tensor) -> Tensor:
    """Return a stack of matrices as one: [..., n, k] -> [?, k]."""
    return op.Reshape(x, op.dims(-1, op.dim(x, -1)))
