"""The arithmetic of cotangents, which are tensors or, for sequences, sequences of tensors.

A sequence that is constructed from tensors is taken apart again while the graph is written: then
nothing of it is left to do at run time.
"""

from __future__ import annotations

from collections.abc import Callable

from onnxcam.autodiff.cotangents import (
    as_addend,
    as_parts,
    is_zero,
    sequence_of,
    zeros_like,
    zeros_of_shape,
)
from onnxcam.graph.emit import Emitter, Tensor, const_value, dtype_of, is_sequence, shape_of


def zeros(op: Emitter, like: Tensor) -> Tensor:
    """Return zeros of the shape of a value; for a sequence, of its length and shapes."""
    if not is_sequence(like):
        return zeros_like(op, like)
    parts = elements(like)
    if parts is not None:
        return sequence_of(op, [zeros(op, x) for x in parts], like)
    sizes = pieces(like)
    if sizes is not None:
        return sequence_of(op, [_zero_piece(op, like, size) for size in sizes], like)
    return each(op, lambda child, x: child.zeros_like(x), like)


def add(op: Emitter, a: Tensor, b: Tensor) -> Tensor:
    """Return the sum of two cotangents of one value."""
    if not is_sequence(a):
        a, b = (b, a) if as_addend(op, a) is not a else (a, b)
        return op.Add(a, as_addend(op, b))
    parts = as_parts(op, a), as_parts(op, b)
    if parts[0] is not None and parts[1] is not None:
        pairs = zip(parts[0], parts[1], strict=True)
        sums = [x if is_zero(op, y) else y if is_zero(op, x) else op.Add(x, y) for x, y in pairs]
        return sequence_of(op, sums, a)
    return each(op, lambda child, x, y: child.Add(x, y), a, b)


def elements(sequence: Tensor) -> list[Tensor] | None:
    """Return the tensors that a model's sequence is constructed from, None where it is not."""
    node = sequence.inputs[0] if sequence.inputs else None
    if node is None or node.op not in ("SequenceConstruct", "SequenceEmpty"):
        return None
    return list(node.inputs)


def pieces(sequence: Tensor) -> list[int] | None:
    """Return the sizes of what a model splits a tensor into, None where they are not known."""
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
    return zeros_of_shape(op, dims, dtype_of(x))


def length(sequence: Tensor) -> int | None:
    """Return the length of a sequence that a model constructs or splits, where it is known."""
    parts = elements(sequence) or pieces(sequence)
    return None if parts is None else len(parts)


def at(op: Emitter, dy: Tensor, place: Tensor | int, parts: list[Tensor] | None = None) -> Tensor:
    """Return one tensor of a sequence, whose parts are a cotangent's where none are given."""
    parts, index = as_parts(op, dy) if parts is None else parts, _known(place)
    if parts is not None and index is not None and -len(parts) <= index < len(parts):
        return parts[index]
    return op.SequenceAt(dy, place)


def without(op: Emitter, dy: Tensor, place: Tensor | int) -> Tensor:
    """Return a cotangent without one of its tensors."""
    parts, index = as_parts(op, dy), _known(place)
    if parts is not None and index is not None and -len(parts) <= index < len(parts):
        index %= len(parts)
        return sequence_of(op, [*parts[:index], *parts[index + 1 :]], dy)
    return op.SequenceErase(dy, place)


def within(op: Emitter, dy: Tensor, tensor: Tensor, place: Tensor | int) -> Tensor:
    """Return a cotangent with one tensor more, at a place that is not negative."""
    parts, index = as_parts(op, dy), _known(place)
    if parts is not None and index is not None and index <= len(parts):
        return sequence_of(op, [*parts[:index], tensor, *parts[index:]], dy)
    return op.SequenceInsert(dy, tensor, place)


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
