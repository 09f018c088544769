"""Sequences of tensors, and optional values. The cotangent of a sequence is a sequence."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxcam.autodiff.control.sequences import (
    at,
    each,
    elements,
    length,
    within,
    without,
    zeros,
)
from onnxcam.autodiff.cotangents import as_parts, sequence_of
from onnxcam.autodiff.registry import NodeView, nondiff, vjp
from onnxcam.graph.emit import Emitter, Tensor, const_value

nondiff("SequenceLength", "SequenceEmpty", "OptionalHasElement", why="the output is no float value")


@vjp("SequenceConstruct")
def sequence_construct(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor]:
    """dx_i = dy[i]."""
    return [at(op, dy, i) for i in range(len(node.inputs))]


@vjp("SequenceAt")
def sequence_at(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor | None, ...]:
    """ds = zeros with dy at the place that was read."""
    sequence = node.inputs[0]
    place = _counted(op, node.inputs[1], _length(op, sequence))
    return within(op, without(op, zeros(op, sequence), place), dy, place), None


@vjp("SequenceInsert")
def sequence_insert(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor | None, ...]:
    """dx = dy at the place of the insertion, ds = the rest of dy."""
    place = _counted(op, node.input(2), _length(op, node.inputs[0]))
    return without(op, dy, place), at(op, dy, place), None


@vjp("SequenceErase")
def sequence_erase(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor | None, ...]:
    """ds = dy with zeros inserted where a tensor was taken out."""
    sequence = node.inputs[0]
    length = _length(op, sequence)
    place = _counted(op, node.input(1), length, last=1)
    erased = zeros(op, at(op, sequence, place, elements(sequence)))
    return within(op, dy, erased, place), None


@vjp("SplitToSequence")
def split_to_sequence(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor | None, ...]:
    """dx = the parts of dy side by side."""
    stacked = node.input(1) is None and not node.attr("keepdims")
    axis = int(node.attr("axis"))
    dx = _joined(op, dy, axis, stacked=stacked)
    return (dx, None)[: len(node.inputs)]


@vjp("ConcatFromSequence")
def concat_from_sequence(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """ds = dy in parts of the sizes of the tensors."""
    sequence, axis = node.inputs[0], int(node.attr("axis"))
    if node.attr("new_axis"):
        return op.SplitToSequence(dy, axis=axis, keepdims=0)
    parts = elements(sequence)
    if parts is not None:
        sizes = op.dims(*(op.dim(x, axis) for x in parts))
        pieces: Any = op.Split(dy, sizes, axis=axis, _outputs=len(parts))
        return sequence_of(op, list(pieces) if len(parts) > 1 else [pieces], sequence)
    sizes = each(op, lambda child, x: _size(child, x, axis), sequence)
    return op.SplitToSequence(dy, op.ConcatFromSequence(sizes, axis=0), axis=axis)


@vjp("Optional", "OptionalGetElement")
def optional(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor]:
    """dx = dy: the cotangent of an optional value is that of its value."""
    return [dy] * len(node.inputs)


def _size(op: Emitter, x: Tensor, axis: int) -> Tensor:
    size = op.dim(x, axis)
    return op.Identity(op.const(np.array([size], np.int64))) if isinstance(size, int) else size


def _joined(op: Emitter, dy: Tensor, axis: int, *, stacked: bool) -> Tensor:
    parts = as_parts(op, dy)
    if not parts:
        return op.ConcatFromSequence(dy, axis=axis, new_axis=int(stacked))
    if stacked:
        parts = [op.Unsqueeze(x, axes=[axis]) for x in parts]
    return op.Concat(*parts, axis=axis)


def _length(op: Emitter, sequence: Tensor) -> int | Tensor:
    count = length(sequence)
    return op.SequenceLength(sequence) if count is None else count


def _counted(
    op: Emitter, place: Tensor | None, length: int | Tensor, last: int = 0
) -> Tensor | int:
    """Return a place counted from the front; an omitted one is ``length - last``."""
    if place is None:
        return length - last if isinstance(length, int) else op.Sub(length, last)
    value = const_value(place)
    if value is not None and value >= 0:
        return int(value)
    if value is not None and isinstance(length, int):
        return int(value) + length
    place = op.cast(place, np.dtype(np.int64))
    return op.Where(op.Less(place, 0), op.Add(place, length), place)
