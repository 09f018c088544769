"""Scores of a model that scores positions, by position: the pixels of a mask, a box, a key point.

Such a model has scores [N, C, *positions]; a target takes some of them. Where they are taken from
is found in the graph, by what the model says, or fixed by the caller, and has no gradient.
"""

from __future__ import annotations

from math import prod

import numpy as np

from onnxcam.errors import UsageError
from onnxcam.graph.emit import Emitter, Tensor, shape_of
from onnxcam.targets.classes import classes_only
from onnxcam.targets.target import Outputs


def by_position(op: Emitter, outputs: Outputs) -> Tensor:
    """Return the scores as [N, C, *positions].

    Raises:
        UsageError: There is one for each class.
    """
    reduction = outputs.reduction
    tensor = classes_only(op, outputs.tensor, reduction)
    rank = rank_of(tensor)
    own = [a for a in (reduction.batch_axis, reduction.class_axis) if a is not None]
    rest = list(reduction.space) or [i for i in range(rank) if i not in own]
    if reduction.mixed:
        raise UsageError(
            f"the rows of {reduction.name!r} are not all classes",
            "name the tensor with the classes alone as `reduction_layer`",
        )
    shape = shape_of(tensor) or ()
    alone = reduction.batch_axis is None and all(shape[i] == 1 for i in rest)
    if not rest or alone:
        raise UsageError(
            f"the scores {reduction.name!r} have no positions: there is one for each class",
            "explain the class, or name the scores at each position as `reduction_layer`",
        )
    if [*own, *rest] != list(range(rank)):
        tensor = op.Transpose(tensor, perm=[*own, *rest])
    named = (reduction.batch_axis, reduction.class_axis)
    missing = [i for i, axis in enumerate(named) if axis is None]
    return op.Unsqueeze(tensor, axes=missing) if missing else tensor


def flat(op: Emitter, scores: Tensor) -> Tensor:
    """Return scores [N, C, *positions] as [N, C, A]."""
    shape = shape_of(scores) or ()
    if len(shape) == 3:
        return scores
    sizes = [d for d in shape[2:] if isinstance(d, int)]
    made = op.Reshape(scores, [0, 0, -1])
    if len(sizes) == len(shape) - 2:
        made.shape = [shape[0], shape[1], prod(sizes)]
    return made


def of_class(op: Emitter, scores: Tensor, index: Tensor) -> Tensor:
    """Return the scores [N, *positions] of one class of each input, from [N, C, *positions]."""
    rank = rank_of(scores)
    place = op.Reshape(index, [-1, *[1] * (rank - 1)])
    sizes = op.Shape(scores)
    parts = [op.Slice(sizes, starts=[a], ends=[b], axes=[0]) for a, b in ((0, 1), (2, rank))]
    shape = op.Concat(parts[0], np.array([1]), parts[1], axis=0)
    chosen = op.GatherElements(scores, op.Expand(place, shape), axis=1)
    return op.Squeeze(chosen, axes=[1])


def at_position(op: Emitter, values: Tensor, place: Tensor) -> Tensor:
    """Return one of the values [N, A] of each input, [N], by its place, int64 [N, 1]."""
    return op.Squeeze(op.GatherElements(values, place, axis=1), axes=[1])


def rank_of(tensor: Tensor) -> int:
    """Return the number of axes of a tensor."""
    return len(shape_of(tensor) or ())
