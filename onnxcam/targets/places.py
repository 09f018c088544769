"""Targets of models that score positions: the pixels of a class, and detections.

Such a model has scores [N, C, *positions]; a target takes some of them. Where they are taken from
is found in the graph, by what the model says, or fixed by the caller, and has no gradient.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from onnxcam.errors import UsageError
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, shape_of
from onnxcam.targets.classes import classes_only
from onnxcam.targets.target import Class, Outputs, Target


@dataclass(frozen=True)
class Region(Target):
    """The scores of a class over some of the pixels, summed: Seg-Grad-CAM's target.

    Vinogradova, Dibrov and Myers, Towards Interpretable Semantic Segmentation via
    Gradient-weighted Class Activation Mapping, AAAI 2020, equation 2.

    Args:
        cls: The class: index or label; None for the one with the highest sum of scores.
        where: "predicted" for the pixels where this class is the highest (a single class: above
            0), or a mask of the size of the scores, [H, W] ([W], [D, H, W]): 0 is outside.

    Raises:
        UsageError: The mask is empty, or something else than "predicted" is said.
    """

    where: Literal["predicted"] | tuple[tuple[int, ...], bytes] = "predicted"

    def __init__(self, cls: Class = None, where: ArrayLike = "predicted") -> None:
        object.__setattr__(self, "cls", cls)
        object.__setattr__(self, "where", "predicted" if _is_predicted(where) else _kept(where))

    @property
    def quantity(self) -> str:
        """What it is, in words."""
        if self.where == "predicted":
            return "score over its pixels"
        size, data = self.where
        shape = " x ".join(map(str, size))
        return f"score over a mask of {shape}, {hashlib.sha256(data).hexdigest()[:8]}"

    def emit(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor:
        """Sum over the pixels p of the region of y_c(p).

        Raises:
            UsageError: The scores have no positions, or the mask is of another size.
        """
        scores = by_position(op, outputs)
        own = of_class(op, scores, index)
        if self.where != "predicted":
            mask = op.const(self._mask(shape_of(scores) or ()))
        elif (shape_of(scores) or (0, 0))[1] == 1:
            mask = op.Greater(own, 0)
        else:
            column = op.Reshape(index, [-1, *[1] * (_rank(own) - 1)])
            mask = op.Equal(op.ArgMax(scores, axis=1, keepdims=0), column)
        chosen = op.Mul(own, op.cast(mask, dtype_of(own) or np.dtype(np.float32)))
        return op.ReduceSum(chosen, axes=list(range(1, _rank(own))), keepdims=0)

    def _mask(self, shape: Sequence[object]) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        assert isinstance(self.where, tuple)
        size, data = self.where
        wanted = tuple(shape[2:])
        fits = len(size) == len(wanted) and all(
            not isinstance(w, int) or w == s for w, s in zip(wanted, size, strict=True)
        )
        if not fits:
            raise UsageError(
                f"the mask is {list(size)}, the positions of the scores are {list(wanted)}",
                "give a mask of that size",
            )
        return np.frombuffer(data, np.bool_).reshape(1, *size)


@dataclass(frozen=True)
class Detection(Target):
    """The score of a class where it is surest: that of a detector's best finding.

    The position is the one with the highest probability of the class, multiplied with that of
    there being anything where the model says it. Grad-CAM weighs channels by their mean gradient,
    which knows no place; HiResCAM and Layer-CAM show where the detection is.
    """

    @property
    def quantity(self) -> str:
        """What it is, in words."""
        return "best detection"

    def emit(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor:
        """y_c(p), p = argmax over positions of p_c.

        Raises:
            UsageError: The scores have no positions.
        """
        scores = flat(op, by_position(op, outputs))
        own = of_class(op, scores, index)
        sure = own
        if outputs.reduction.final in ("Softmax", "LogSoftmax"):
            sure = of_class(op, op.Softmax(scores, axis=1), index)
        if outputs.objectness is not None:
            sure = sure if sure is not own else _probable(op, own, outputs)
            sure = op.Mul(sure, op.Reshape(outputs.objectness, [0, -1]))
        return at_position(op, own, op.ArgMax(sure, axis=1, keepdims=1))


@dataclass(frozen=True)
class Box(Target):
    """The score of one of a detector's boxes: that of its own highest class.

    Args:
        number: Which of the positions: the row of the boxes in the model's output.

    Raises:
        UsageError: It is negative.
    """

    number: int = 0
    of_class: ClassVar[bool] = False

    def __init__(self, number: int) -> None:
        if number < 0:
            raise UsageError(f"there is no box {number}", "count them from 0")
        object.__setattr__(self, "cls", None)
        object.__setattr__(self, "number", int(number))

    @property
    def quantity(self) -> str:
        """What it is, in words."""
        return f"score of box {self.number}"

    def emit(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor:
        """Max over c of y_c(p), at the box p.

        Raises:
            UsageError: The scores have no positions, or fewer.
        """
        scores = flat(op, by_position(op, outputs))
        count = (shape_of(scores) or (None, None, None))[2]
        if isinstance(count, int) and self.number >= count:
            raise UsageError(
                f"there is no box {self.number}: the scores {outputs.reduction.name!r} are of "
                f"{count}",
                f"give one from 0 to {count - 1}",
            )
        return op.ReduceMax(op.Gather(scores, np.int64(self.number), axis=2), axes=[1], keepdims=0)


def by_position(op: Emitter, outputs: Outputs) -> Tensor:
    """Return the scores as [N, C, *positions].

    Raises:
        UsageError: There is one for each class.
    """
    reduction = outputs.reduction
    tensor = classes_only(op, outputs.tensor, reduction)
    rank = _rank(tensor)
    own = [a for a in (reduction.batch_axis, reduction.class_axis) if a is not None]
    rest = [i for i in range(rank) if i not in own]
    if reduction.mixed:
        raise UsageError(
            f"the rows of {reduction.name!r} are not all classes",
            "name the tensor with the classes alone as `reduction_layer`",
        )
    if not rest:
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
    rank = _rank(scores)
    place = op.Reshape(index, [-1, *[1] * (rank - 1)])
    sizes = op.Shape(scores)
    parts = [op.Slice(sizes, starts=[a], ends=[b], axes=[0]) for a, b in ((0, 1), (2, rank))]
    shape = op.Concat(parts[0], np.array([1]), parts[1], axis=0)
    chosen = op.GatherElements(scores, op.Expand(place, shape), axis=1)
    return op.Squeeze(chosen, axes=[1])


def at_position(op: Emitter, values: Tensor, place: Tensor) -> Tensor:
    """Return one of the values [N, A] of each input, [N], by its place, int64 [N, 1]."""
    return op.Squeeze(op.GatherElements(values, place, axis=1), axes=[1])


def _probable(op: Emitter, own: Tensor, outputs: Outputs) -> Tensor:
    return op.Sigmoid(own) if outputs.reduction.final == "Sigmoid" else own


def _rank(tensor: Tensor) -> int:
    return len(shape_of(tensor) or ())


def _is_predicted(where: ArrayLike) -> bool:
    if isinstance(where, str) and where != "predicted":
        raise UsageError(f"no region {where!r}", "say 'predicted', or give a mask")
    return isinstance(where, str)


def _kept(where: ArrayLike) -> tuple[tuple[int, ...], bytes]:
    if isinstance(where, tuple) and len(where) == 2 and isinstance(where[1], bytes):
        return where  # kept already
    mask = np.asarray(where) != 0
    if not mask.any():
        raise UsageError("the mask is empty", "give one that is not 0 where the region is")
    return mask.shape, mask.tobytes()
