"""Targets of segmentation: a class over its pixels, or over those of a mask."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from onnxcam.errors import UsageError
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, shape_of
from onnxcam.targets.positions import by_position, of_class, rank_of
from onnxcam.targets.target import Class, Outputs, Target

Mask: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Region(Target):
    """The scores of a class over some of the pixels, summed: Seg-Grad-CAM's target.

    Vinogradova, Dibrov and Myers, Towards Interpretable Semantic Segmentation via
    Gradient-weighted Class Activation Mapping, AAAI 2020, equation 2.

    Args:
        cls: The class: index or label; None for the one with the highest sum of scores.
        where: "predicted" for the pixels where this class is the highest (a single class: above
            0) in the explained input, whatever a method changes in it; or a mask of the size of
            the scores or of the model's input, [H, W] ([W], [D, H, W]): 0 is outside. One of the
            input's size is read at the middles of the cells of the scores; where it meets none of
            these, the cells that it touches count.

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

    @property
    def turns(self) -> bool:
        """Whether it means the same in a mirrored input."""
        return self.where == "predicted"

    def emit(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor:
        """Sum over the pixels p of the region of y_c(p); predicted ones are those of the input.

        Raises:
            UsageError: The scores have no positions, or the mask is of another size.
        """
        scores = by_position(op, outputs)
        own = of_class(op, scores, index)
        if self.where != "predicted":
            mask = op.const(self._mask((shape_of(scores) or ())[2:], outputs.size))
        else:
            mask = self.chosen(op, outputs, index)
        chosen = op.Mul(own, op.cast(mask, dtype_of(own) or np.dtype(np.float32)))
        return op.ReduceSum(chosen, axes=list(range(1, rank_of(own))), keepdims=0)

    def choice(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor | None:
        """Return the pixels that are predicted to be of the class, bool [N, *positions]."""
        if self.where != "predicted":
            return None
        scores = by_position(op, outputs)
        if (shape_of(scores) or (0, 0))[1] == 1:
            # Of the largest of one: y times (y > 0) would be a ReLU of the network to a deconvnet.
            return op.Greater(op.ReduceMax(scores, axes=[1], keepdims=0), 0)
        column = op.Reshape(index, [-1, *[1] * (rank_of(scores) - 2)])
        return op.Equal(op.ArgMax(scores, axis=1, keepdims=0), column)

    def _mask(self, positions: Sequence[object], whole: Sequence[object]) -> Mask:
        assert isinstance(self.where, tuple)
        size, data = self.where
        mask: Mask = np.frombuffer(data, np.bool_).reshape(size)
        if _fits(size, positions):
            return mask[None]
        if whole and _fits(size, whole) and all(isinstance(d, int) for d in positions):
            return _sampled(mask, [d for d in positions if isinstance(d, int)])[None]
        beside = f", the input {list(whole)}" if whole else ""
        raise UsageError(
            f"the mask is {list(size)}, the positions of the scores are {list(positions)}{beside}",
            "give a mask of one of these sizes" if whole else "give a mask of that size",
        )


def _fits(size: Sequence[int], wanted: Sequence[object]) -> bool:
    return len(size) == len(wanted) and all(
        not isinstance(w, int) or w == s for w, s in zip(wanted, size, strict=True)
    )


def _sampled(mask: Mask, size: Sequence[int]) -> Mask:
    """Return a mask on a coarser or finer grid: at the middles of its cells, or all it touches."""
    picks = [
        np.minimum(((np.arange(n) + 0.5) * old / n).astype(int), old - 1)
        for n, old in zip(size, mask.shape, strict=True)
    ]
    found: Mask = mask[np.ix_(*picks)]
    if found.any():
        return found
    touched = np.zeros(size, np.bool_)
    cells = [
        (place * n // old) for place, n, old in zip(np.nonzero(mask), size, mask.shape, strict=True)
    ]
    touched[tuple(cells)] = True
    return touched


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
