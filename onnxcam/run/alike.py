"""How much what a detector finds in other inputs is like what it found in one: D-RISE's measure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from onnxcam.errors import UsageError
from onnxcam.run.groups import Batch
from onnxcam.run.overlap import overlap

if TYPE_CHECKING:  # what is no detector does not look for one
    from onnxcam.run.detections import Finder

Array: TypeAlias = np.ndarray[Any, Any]


class Alike:
    """Compares boxes run by run: rows are matched anew in each, by place and class.

    Petsiuk et al., Black-box Explanation of Object Detectors via Saliency Maps, CVPR 2021,
    equations 2 to 5: s(t, j) = IoU(t, j) cos(p_t, p_j) o_j, and of an input the largest over its
    boxes j. Deviation: o_j is how sure the model is of the box's surest class, which holds the
    objectness where the model says one; heads without it would be as sure of an empty box.

    Args:
        finder: Runs the detector; None where the model is none.
        feeds: The input as it is, and the model's other inputs.
        wanted: What is explained: classes, each by its surest box, or rows.
        of_class: Whether these are classes.

    Attributes:
        alone: Whether inputs must be run one by one.

    Raises:
        UsageError: The model is no detector, or how it writes its boxes is not known.
    """

    def __init__(
        self,
        finder: Finder | None,
        feeds: Mapping[str, Array],
        wanted: Sequence[int],
        of_class: bool,
    ) -> None:
        if finder is None:
            raise UsageError(
                "d-rise compares the boxes of a detector, and this model says none",
                "use `method='rise'`, or say what its outputs are as `detector`",
            )
        said, self._finder = finder.of_feeds(dict(feeds)), finder
        self.alone = finder.detector.alone
        size = finder.size(feeds[finder.catalog.input])
        self._readers = finder.readers(said, size)
        boxes, chances = self._found(said)
        self._own = [_row(boxes[0], chances[0], index, of_class) for index in wanted]

    def of(self, feeds: Mapping[str, Array]) -> Array:
        """Return how much the boxes of inputs are like each of those wanted, float64 [N, K].

        Args:
            feeds: The inputs and the model's other inputs.
        """
        boxes, chances = self._found(self._finder.of_feeds(dict(feeds)))
        return np.array(
            [
                [_similarity(places, sure, *own) for own in self._own]
                for places, sure in zip(boxes, chances, strict=True)
            ]
        )

    def each(
        self, name: str, inputs: Array, whole: Batch, others: Mapping[str, Array]
    ) -> Iterator[Array]:
        """Yield the same of each of some inputs, float64 [K].

        Args:
            name: Name of the model's input.
            inputs: In its axes.
            whole: The batch that it takes.
            others: What is fed to the other inputs.
        """
        for part in np.split(inputs, inputs.shape[whole.axis] if self.alone else 1, whole.axis):
            found = self.of({name: whole.filled(part), **others})
            yield from found[: part.shape[whole.axis]]

    def _found(self, said: dict[str, Array]) -> tuple[Array, Array]:
        """Return boxes [N, R, 4] in pixels of the input and probabilities of classes [N, R, C]."""
        boxes, chances = self._finder.rows(said, self._readers)
        if boxes is None:
            raise UsageError(
                "d-rise compares boxes, and how this model writes its boxes is not known",
                "say its format and unit as `detector`, or use `method='rise'`",
            )
        return boxes, np.maximum(chances, 0)  # a class for nothing is below 0


def _row(boxes: Array, chances: Array, index: int, of_class: bool) -> tuple[Array, Array]:
    """Return the box and the probabilities of what is explained."""
    if of_class:
        index = int(chances[:, index].argmax()) if len(chances) else 0
    if index >= len(boxes):
        raise UsageError(
            f"there is no box {index}: the model says {len(boxes)}", "explain one that it finds"
        )
    return boxes[index], chances[index]


def _similarity(boxes: Array, chances: Array, box: Array, own: Array) -> float:
    """Return the largest similarity of boxes [R, 4] with one; 0 where there are none."""
    if not len(boxes):
        return 0.0
    both = min(len(own), chances.shape[1])  # behind suppression classes that were not seen lack
    sizes = np.linalg.norm(chances, axis=1) * np.linalg.norm(own)
    product = chances[:, :both] @ own[:both]
    cosine = np.divide(product, sizes, out=np.zeros(len(boxes)), where=sizes > 0)
    return float((overlap(boxes, box) * cosine * chances.max(1)).max())
