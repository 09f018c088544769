"""The arithmetic of cotangents, which are tensors or, for sequences, sequences of tensors.

A sequence that was just constructed from tensors is taken apart again while the graph is written:
then nothing of it is left to do at run time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from onnxcam.graph.emit import (
    Emitter,
    Tensor,
    const_value,
    dtype_of,
    elem_type,
    is_sequence,
    shape_of,
)

_SMALL = 4096  # elements of a constant that is worth looking at


def zeros(op: Emitter, like: Tensor) -> Tensor:
    """Return zeros of the shape of a value; for a sequence, of its length and shapes."""
    if not is_sequence(like):
        return op.zeros_like(like)
    parts = elements(like)
    if parts is not None:
        return construct(op, [zeros(op, x) for x in parts], like)
    sizes = pieces(like)
    if sizes is not None:
        return construct(op, [_zero_piece(op, like, size) for size in sizes], like)
    return each(op, lambda child, x: child.zeros_like(x), like)


def add(op: Emitter, a: Tensor, b: Tensor) -> Tensor:
    """Return the sum of two cotangents of one value."""
    if not is_sequence(a):
        a, b = (b, a) if _unrepeated(a) is not a else (a, b)
        return op.Add(a, _unrepeated(b))
    parts = elements(a), elements(b)
    if parts[0] is not None and parts[1] is not None:
        pairs = zip(parts[0], parts[1], strict=True)
        sums = [x if _is_zero(y) else y if _is_zero(x) else op.Add(x, y) for x, y in pairs]
        return construct(op, sums, a)
    return each(op, lambda child, x, y: child.Add(x, y), a, b)


def _unrepeated(x: Tensor) -> Tensor:
    """Return what an Expand has repeated, which Add repeats on its own; else the tensor."""
    node = x.inputs[0] if x.inputs else None
    return node.inputs[0] if node is not None and node.op == "Expand" else x


def construct(op: Emitter, parts: list[Tensor], like: Tensor) -> Tensor:
    """Return the sequence of these tensors; ``like`` tells the dtype of an empty one."""
    if not parts:
        return op.SequenceEmpty(dtype=elem_type(dtype_of(like) or np.float32))
    return op.SequenceConstruct(*parts)


def elements(sequence: Tensor) -> list[Tensor] | None:
    """Return the tensors that a sequence was constructed from, None where it was not."""
    node = sequence.inputs[0] if sequence.inputs else None
    if node is None or node.op not in ("SequenceConstruct", "SequenceEmpty"):
        return None
    return list(node.inputs)


def pieces(sequence: Tensor) -> list[int] | None:
    """Return the sizes of what a tensor was split into, None where it was not or they vary."""
    node = sequence.inputs[0] if sequence.inputs else None
    if node is None or node.op != "SplitToSequence":
        return None
    given = node.inputs[1] if len(node.inputs) > 1 and node.inputs[1].name else None
    sizes = None if given is None else const_value(given)
    if sizes is not None and sizes.ndim:
        return [int(size) for size in sizes]
    shape = shape_of(node.inputs[0])
    total = None if shape is None else shape[node.attrs.get("axis", 0)]
    if not isinstance(total, int) or (given is not None and sizes is None):
        return None
    size = 1 if sizes is None else int(sizes)
    return [min(size, total - start) for start in range(0, total, size)]


def _zero_piece(op: Emitter, sequence: Tensor, size: int) -> Tensor:
    node = sequence.inputs[0]
    x, axis = node.inputs[0], int(node.attrs.get("axis", 0))
    dims: list[int | Tensor] = [op.dim(x, i) for i in range(len(shape_of(x) or ()))]
    if len(node.inputs) < 2 and not node.attrs.get("keepdims", 1):
        del dims[axis]
    else:
        dims[axis] = size
    zero = np.zeros((), dtype_of(x))
    return op.Expand(zero, op.dims(*dims)) if dims else op.const(zero)


def length(sequence: Tensor) -> int | None:
    """Return the length of a sequence that was just constructed or split, where it is known."""
    parts = elements(sequence) or pieces(sequence)
    return None if parts is None else len(parts)


def at(op: Emitter, sequence: Tensor, place: Tensor | int) -> Tensor:
    """Return one tensor of a sequence."""
    parts, index = elements(sequence), _known(place)
    if parts is not None and index is not None and -len(parts) <= index < len(parts):
        return parts[index]
    return op.SequenceAt(sequence, place)


def without(op: Emitter, sequence: Tensor, place: Tensor | int) -> Tensor:
    """Return a sequence without one of its tensors."""
    parts, index = elements(sequence), _known(place)
    if parts is not None and index is not None and -len(parts) <= index < len(parts):
        index %= len(parts)
        return construct(op, [*parts[:index], *parts[index + 1 :]], sequence)
    return op.SequenceErase(sequence, place)


def within(op: Emitter, sequence: Tensor, tensor: Tensor, place: Tensor | int) -> Tensor:
    """Return a sequence with one tensor more, at a place that is not negative."""
    parts, index = elements(sequence), _known(place)
    if parts is not None and index is not None and index <= len(parts):
        return construct(op, [*parts[:index], tensor, *parts[index:]], sequence)
    return op.SequenceInsert(sequence, tensor, place)


def each(op: Emitter, function: Callable[..., Tensor], *sequences: Tensor) -> Tensor:
    """Return the sequence of what ``function(emitter, *tensors)`` makes of every tensor."""
    inputs = [op.variable("element", dtype_of(s), shape_of(s)) for s in sequences]
    child = op.body(inputs, name="each")
    child.hoist = False
    result = function(child, *inputs)
    made = op.SequenceMap(*sequences, body=child.close([result]))
    made.dtype, made.shape, made.type = result.dtype, result.shape, "sequence_type"
    return made


def _known(place: Tensor | int) -> int | None:
    if isinstance(place, int):
        return place
    value = const_value(place)
    return None if value is None else int(value)


def _is_zero(x: Tensor) -> bool:
    node = x.inputs[0] if x.inputs else None
    if node is not None and node.op == "ConstantOfShape":
        value = node.attrs.get("value")
        return value is None or not np.any(value.values)
    value = const_value(node.inputs[0] if node is not None and node.op == "Expand" else x)
    return value is not None and value.size <= _SMALL and not np.any(value)
