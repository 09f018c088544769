"""What the outputs of a model hold, and which of several hold scores of classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from onnxcam.analysis.layers.axes import Axes
from onnxcam.analysis.layers.embeddings import is_unit_length
from onnxcam.analysis.layers.heads import Behind
from onnxcam.analysis.layers.path import ancestors
from onnxcam.graph.emit import Tensor, const_value
from onnxcam.graph.ops import Trait, has

PLACES = re.compile(r"box|bbox|landmark|keypoint|coord|regress|delta", re.IGNORECASE)
_COORDINATES = 4


@dataclass(frozen=True)
class Reading:
    """What an output holds.

    Attributes:
        output: The output.
        found: The tensor with its scores.
        axes: The meaning of that tensor's axes.
        unlike: Why it holds no scores of classes, empty where it does.
    """

    output: Tensor
    found: Behind
    axes: Axes
    unlike: str = ""

    @property
    def order(self) -> tuple[bool, bool, bool]:
        """What speaks for it, the lowest for most: the first output of these is chosen."""
        final = self.found.final
        certain = final is not None and (final != "Sigmoid" or self.axes.count != 1)
        return bool(self.unlike), self.axes.positions, not certain

    @property
    def words(self) -> str:
        """What the output holds, in words."""
        count = self.axes.count
        classes = "scores" if count is None else f"scores of {count} class{'es' * (count != 1)}"
        where = " at each position" if self.axes.positions else ""
        return f"{self.output.name}: {self.unlike or f'{classes}{where}'}"


def told_apart(readings: Sequence[Reading]) -> list[Reading]:
    """Say which of several outputs hold no scores of classes."""
    if len(readings) < 2:
        return list(readings)
    used = _used(readings)
    told = [replace(r, unlike=_unlike(r, used, readings)) for r in readings]
    four = [is_boxes(r) for r in told]
    if all(f or r.unlike for f, r in zip(four, told, strict=True)):
        return told
    return [
        replace(r, unlike=r.unlike or ("boxes, by its size" if f else ""))
        for f, r in zip(four, told, strict=True)
    ]


def _unlike(reading: Reading, used: set[int], readings: Sequence[Reading]) -> str:
    if reading.axes.chosen:
        return "weights of positions"
    if id(reading.output) in used:
        return "what another output is made of"
    if any(_sums_up(reading, r) for r in readings if r is not reading):
        return "what sums up the classes of another output"
    if is_unit_length(reading.output):
        return "an embedding of length one"
    if reading.found.final != "Softmax" and PLACES.search(str(reading.output.name)):
        return "places, by its name"
    return ""


def _used(readings: Sequence[Reading]) -> set[int]:
    """Return the ids of the outputs that the scores of other outputs are made of.

    Scores of classes are no such output where one number sums them up: their largest, their
    energy, their entropy.
    """
    inner = [r for r in readings if r.output.outputs]
    if not inner:
        return set()
    scores = {id(r.found.tensor): r for r in readings if not r.output.outputs}
    above = {place: {id(t) for t in ancestors(r.found.tensor)} for place, r in scores.items()}
    found = set()
    for reading in inner:
        place = id(reading.output)
        made = [r for other, r in scores.items() if place in above[other] and place != other]
        if made and place not in scores and not all(_sums_up(r, reading) for r in made):
            found.add(place)
    return found


def _sums_up(whole: Reading, classes: Reading) -> bool:
    """Tell whether a score is one number for an input that is made of its classes' scores alone."""
    if whole.axes.count not in (None, 1) or whole.axes.positions or classes.axes.positions:
        return False
    if classes.axes.count in (None, 1):
        return False
    stack, seen = [whole.found.tensor], {id(classes.output)}
    while stack:
        tensor = stack.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        if const_value(tensor) is None and not tensor.inputs:
            return False  # an input of the model
        if any(has(node, Trait.PRODUCT) for node in tensor.inputs):
            return False
        stack.extend(t for node in tensor.inputs for t in node.inputs if t.name)
    return True


def is_boxes(reading: Reading) -> bool:
    """Tell whether an output holds four numbers for each position."""
    count = reading.axes.count == _COORDINATES and reading.found.final != "Softmax"
    return count and reading.axes.positions
