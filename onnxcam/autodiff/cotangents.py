"""What is special about a cotangent, as kinds with names.

Behind a global pool every position has the same gradient, behind a class token all rows but one
are zero, and the gradient of a class begins as a one-hot row. A rule that writes such a cotangent
makes it here, and its kind is kept with it; a rule or a method that knows a shorter way for a kind
asks here (``as_...``). Nobody looks at the node that happens to lie before: a kind holds for what
a rule has said, in whatever nodes it was written. Who does not ask computes with the whole tensor.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxcam.analysis.layout.rows import Rows
from onnxcam.graph import quirks
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, elem_type, shape_of

_SHARE = 4  # rows are few when they are at most one in this many


@dataclass(frozen=True)
class Repeated:
    """The same all along some axes.

    Attributes:
        source: What is repeated: it broadcasts to the cotangent.
    """

    source: Tensor


@dataclass(frozen=True)
class OneHot:
    """Rows that are 1 at one place and 0 elsewhere.

    Attributes:
        index: The place of each row, int64 [N].
    """

    index: Tensor


@dataclass(frozen=True)
class BetweenZeros:
    """Zero but for a part.

    Attributes:
        part: What is not zero.
        pads: How many zeros lie around it: before it on every axis, then behind it.
    """

    part: Tensor
    pads: tuple[int, ...]


@dataclass(frozen=True)
class Scaled:
    """A product.

    Attributes:
        rest: The cotangent before.
        factor: What it was multiplied with.
    """

    rest: Tensor
    factor: Tensor


@dataclass(frozen=True)
class Zero:
    """Zero everywhere."""


@dataclass(frozen=True)
class Parts:
    """A sequence whose tensors are known one by one.

    Attributes:
        tensors: In their order.
    """

    tensors: tuple[Tensor, ...]


# ---- what rules write


def repeated(op: Emitter, source: Tensor, shape: Tensor) -> Tensor:
    """Return a tensor broadcast to a shape, an int64 vector."""
    return op.mark(op.Expand(source, shape), Repeated(source))


@quirks.works_around(quirks.EVALUATED_DEPTH)
def one_hot(op: Emitter, index: Tensor, depth: int | Tensor, dtype: Any) -> Tensor:
    """Return rows [N, depth] that are 1 at ``index`` (int64 [N], in range) and 0 elsewhere."""
    size = op.const(depth, np.int64) if isinstance(depth, int) else op.scalar(depth)
    wide = np.dtype(dtype) == np.float64  # ONNX Runtime has no OneHot of doubles
    rows = op.OneHot(index, size, np.array([0, 1], np.float32 if wide else dtype), axis=-1)
    return op.mark(op.cast(rows, np.float64) if wide else rows, OneHot(index))


def between_zeros(op: Emitter, part: Tensor, pads: Sequence[int | Tensor]) -> Tensor:
    """Return a part between zeros; ``pads`` as Pad has them: all befores, then all behinds.

    A pad is an int, or an int64 [1] tensor.
    """
    known = tuple(p for p in pads if isinstance(p, int))
    if len(known) < len(pads):
        return op.Pad(part, pads=op.dims(*pads))
    if not any(known):
        return part
    return op.mark(op.Pad(part, pads=list(known)), BetweenZeros(part, known))


def scaled(op: Emitter, dy: Tensor, factor: Tensor) -> Tensor:
    """Return dy times a tensor of the forward pass."""
    return op.mark(op.Mul(dy, factor), Scaled(dy, factor))


def zeros_like(op: Emitter, x: Tensor) -> Tensor:
    """Return zeros of the shape and dtype of a tensor."""
    return op.mark(op.zeros_like(x), Zero())


def zeros_of_shape(op: Emitter, shape: Sequence[int | Tensor], dtype: Any) -> Tensor:
    """Return zeros of a shape, whose entries are ints or int64 [1] tensors."""
    size = op.dims(*shape) if shape else None
    zero = op.const(np.zeros((), dtype))
    return op.mark(zero if size is None else repeated(op, zero, size), Zero())


def sequence_of(op: Emitter, parts: Sequence[Tensor], like: Tensor) -> Tensor:
    """Return the sequence of these tensors; ``like`` tells the dtype of an empty one."""
    if parts:
        return op.mark(op.SequenceConstruct(*parts), Parts(tuple(parts)))
    return op.mark(op.SequenceEmpty(dtype=elem_type(dtype_of(like) or np.float32)), Parts(()))


# ---- what the walk, rules and methods ask


@quirks.works_around(quirks.EMPTY_EXPAND)
def filled(tensors: Iterable[Tensor]) -> set[int]:
    """Return the ids of the tensors that are not empty: what is has no cotangent."""
    return {id(t) for t in tensors if 0 not in (shape_of(t) or ())}


def as_narrow(op: Emitter, dy: Tensor, axes: Sequence[int]) -> Tensor | None:
    """Return dy with just these axes as 1, where it is the same all along them."""
    kind = op.marked(dy, Repeated)
    large, small = shape_of(dy), None if kind is None else shape_of(kind.source)
    if kind is None or large is None or small is None or len(large) != len(small):
        return None
    same = all(
        s == 1 if i in axes else s == big and s is not None
        for i, (big, s) in enumerate(zip(large, small, strict=True))
    )
    return kind.source if same else None


def as_addend(op: Emitter, dy: Tensor) -> Tensor:
    """Return what stands for dy in a sum with a tensor of its shape: less, where it is repeated."""
    kind = op.marked(dy, Repeated)
    return dy if kind is None else kind.source


def as_one_hot(op: Emitter, dy: Tensor) -> tuple[Tensor, Tensor | None] | None:
    """Return where rows are not 0, each at one place, and what they are there.

    Returns:
        The index, int64 [N], and the values, [N, 1], None for 1; None where dy is no such matrix.
    """
    kind, product = op.marked(dy, OneHot), as_scaled(op, dy)
    if kind is not None or product is None:
        return None if kind is None else (kind.index, None)
    kind = op.marked(product.rest, OneHot)
    return None if kind is None else (kind.index, op.ReduceSum(dy, axes=[1], keepdims=1))


def as_rows(op: Emitter, dy: Tensor) -> tuple[Tensor, Rows] | None:
    """Return the rows of dy that are not zero, and which they are, where they are few."""
    kind, shape = op.marked(dy, BetweenZeros), shape_of(dy)
    if kind is None or shape is None or min(kind.pads) < 0:
        return None
    before, behind = np.reshape(kind.pads, (2, -1)).tolist()
    axes = [i for i, pads in enumerate(zip(before, behind, strict=True)) if any(pads)]
    whole = shape[axes[0]] if len(axes) == 1 else None
    if not isinstance(whole, int):
        return None
    rows = Rows(axes[0], before[axes[0]], whole - behind[axes[0]])
    return (kind.part, rows) if (rows.stop - rows.start) * _SHARE <= whole else None


def as_scaled(op: Emitter, dy: Tensor) -> Scaled | None:
    """Return what dy is the product of."""
    return op.marked(dy, Scaled)


def is_zero(op: Emitter, dy: Tensor) -> bool:
    """Tell whether dy is known to be zero everywhere."""
    return op.marked(dy, Zero) is not None


def as_parts(op: Emitter, dy: Tensor) -> list[Tensor] | None:
    """Return the tensors of a sequence, where they are known one by one."""
    kind = op.marked(dy, Parts)
    return None if kind is None else list(kind.tensors)
