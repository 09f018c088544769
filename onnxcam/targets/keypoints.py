"""Targets of pose and landmark models: one key point, from heatmaps or as coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from onnxcam.errors import UsageError
from onnxcam.graph.emit import Emitter, Tensor, shape_of
from onnxcam.targets.positions import at_position, by_position, flat, of_class
from onnxcam.targets.target import Outputs, Target

_COORDINATES = (2, 3)  # numbers of a point: x and y, and how visible it is


@dataclass(frozen=True)
class Keypoint(Target):
    """Why a key point lies where it does.

    Of heatmaps [N, K, H, W] it is the value of the point's map at its peak; of coordinates
    [N, K, 2], [N, K, 3] or [N, 2 K] it is the coordinate, or the sum of x and y.

    Attributes:
        point: Which of them, from 0.
        along: Of coordinates: "x" or "y"; None for their sum.
    """

    point: int = 0
    along: Literal["x", "y"] | None = None
    of_class: ClassVar[bool] = False

    def __init__(self, point: int, along: Literal["x", "y"] | None = None) -> None:
        if point < 0 or along not in (None, "x", "y"):
            raise UsageError(
                f"no key point {point}{'' if along is None else f' along {along}'}",
                "count them from 0, and say 'x' or 'y', or neither",
            )
        object.__setattr__(self, "cls", None)
        object.__setattr__(self, "point", int(point))
        object.__setattr__(self, "along", along)

    @property
    def quantity(self) -> str:
        """What it is, in words."""
        return f"{self.along or 'peak or place'} of key point {self.point}"

    @property
    def turns(self) -> bool:
        """Whether it means the same in a mirrored input."""
        return False

    def emit(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor:
        """y_k(p), p = argmax of y_k in the explained input; or x_k, y_k, or their sum.

        Raises:
            UsageError: There are no such points, or the scores are neither.
        """
        shape = list(shape_of(outputs.tensor) or ())
        if len(shape) == 4:
            return at_position(op, self._heat(op, outputs, index), self.chosen(op, outputs, index))
        if outputs.reduction.final in ("Softmax", "LogSoftmax"):
            raise UsageError(
                f"the scores {outputs.reduction.name!r} {shape} are of classes, of which a "
                f"{outputs.reduction.final} makes probabilities: no coordinates of key points",
                "explain a class, or name the coordinates as `reduction_layer`",
            )
        numbers = self._numbers(op, outputs.tensor, shape, outputs)
        if self.along is not None:
            return op.Gather(numbers, np.int64("xy".index(self.along)), axis=1)
        return op.ReduceSum(op.Slice(numbers, starts=[0], ends=[2], axes=[1]), axes=[1], keepdims=0)

    def choice(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor | None:
        """Return the peak of the point's heatmap, int64 [N, 1]; None where it has coordinates."""
        if len(shape_of(outputs.tensor) or ()) != 4:
            return None
        return op.ArgMax(self._heat(op, outputs, index), axis=1, keepdims=1)

    def _heat(self, op: Emitter, outputs: Outputs, index: Tensor) -> Tensor:
        """Return the heatmap of the point, float [N, A]."""
        if self.along is not None:
            raise UsageError(
                f"the scores {outputs.reduction.name!r} are heatmaps, which have a peak and no "
                "coordinates",
                f"say Keypoint({self.point})",
            )
        maps = flat(op, by_position(op, outputs))
        self._check((shape_of(maps) or (None, None))[1], outputs)
        return of_class(op, maps, op.Add(op.Mul(index, 0), np.int64(self.point)))

    def _numbers(
        self, op: Emitter, tensor: Tensor, shape: Sequence[object], outputs: Outputs
    ) -> Tensor:
        """Return the numbers of the point, float [N, 2 or 3]."""
        if len(shape) == 3 and shape[2] in _COORDINATES:
            self._check(shape[1], outputs)
            return op.Gather(tensor, np.int64(self.point), axis=1)
        size = shape[1] if len(shape) == 2 else None
        if not isinstance(size, int) or size % 2:
            raise UsageError(
                f"the scores {outputs.reduction.name!r} {list(shape)} are no key points",
                "name heatmaps [N, K, H, W], or coordinates [N, K, 2] or [N, 2 K], as "
                "`reduction_layer`",
            )
        self._check(size // 2, outputs)
        first = 2 * self.point
        return op.Slice(tensor, starts=[first], ends=[first + 2], axes=[1])

    def _check(self, count: object, outputs: Outputs) -> None:
        if isinstance(count, int) and self.point >= count:
            raise UsageError(
                f"there is no key point {self.point}: {outputs.reduction.name!r} has {count}",
                f"give one from 0 to {count - 1}",
            )
