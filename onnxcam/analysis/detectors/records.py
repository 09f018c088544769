"""What is known of a detector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnxcam.analysis.detectors.coding import Coding
from onnxcam.analysis.layers import Candidate, Catalog

FORMS: Mapping[str, str] = {
    "xyxy": "left, top, right, bottom",
    "yxyx": "top, left, bottom, right",
    "cxcywh": "centre, width and height",
    "xywh": "left, top, width and height",
    "ltrb": "distances of the four edges from the middle of the cell",
    "cxcywh-offset": "centre from the middle of the cell, width and height",
    "deltas": "SSD, RetinaNet, Faster R-CNN: centre and logarithm of the size, against an anchor",
    "edge-deltas": "MTCNN: how far each edge is from that of an anchor, in parts of its size",
    "yolov3": "a Sigmoid from the cell's corner, and the logarithm of the size against an anchor",
    "yolov5": "YOLOv5 and v7 before their last arithmetic: 2s - 0.5, and (2s)^2 times an anchor",
    "yolox": "from the cell's corner, and the logarithm of the size, in steps of the grid",
    "fastestdet": "tanh from the cell's corner, and a Sigmoid of the whole input",
}
UNITS: Mapping[str, str] = {
    "pixels": "pixels of the model's input",
    "normalised": "parts of its width and height",
    "cells": "steps of the grid of the scale",
}


@dataclass(frozen=True)
class Head:
    """A tensor with scores of classes at positions.

    Attributes:
        name: Its name.
        batch: Axis of the inputs, None for none.
        classes: Axis of the classes, None for one class without an axis.
        first: The row of the first class, where others stand before.
        last: The row behind the last class, where others follow; None for all.
        anything: The row of the probability that there is anything; None for none.
        space: Axes of the positions in the order of space, where they stand in another; else ().
        each: How many boxes of a cell stand in the axis of the classes, one behind the other.
    """

    name: str
    batch: int | None
    classes: int | None
    first: int = 0
    last: int | None = None
    anything: int | None = None
    space: tuple[int, ...] = ()
    each: int = 1


@dataclass(frozen=True)
class Boxes:
    """A tensor with boxes at positions, of which four rows are the numbers of a box.

    Attributes:
        name: Its name.
        batch: Axis of the inputs, None for none.
        axis: Axis of the numbers.
        first: The first of the four.
        space: Axes of the positions, as of a :class:`Head`.
        each: How many boxes of a cell stand in the axis, one behind the other.
        bins: How many bins of a distribution each number is the mean of; 0 for a plain number.
    """

    name: str
    batch: int | None
    axis: int
    first: int = 0
    space: tuple[int, ...] = ()
    each: int = 1
    bins: int = 0


@dataclass(frozen=True)
class Scale:
    """One of the feature maps that a detector's boxes are read off.

    Attributes:
        grid: Its height and width, None where it has none: queries of a transformer.
        channels: How many channels the convolution has that makes its scores.
        layer: The layer whose map shows what its boxes are made of, None where there is none.
    """

    grid: tuple[int, int] | None
    channels: int
    layer: Candidate | None


@dataclass(frozen=True)
class Column:
    """Numbers of the rows that suppression left.

    Attributes:
        name: The tensor: [(N,) R] or [(N,) R, K]; [1, 1, R, K] of rank 4.
        first: Which of its K columns, where it has these.
        rank: How many axes it has.
    """

    name: str
    first: int | None
    rank: int


@dataclass(frozen=True)
class Rows:
    """The findings that a model returns behind its own suppression.

    Attributes:
        scores: Their probabilities.
        boxes: Their boxes, four columns.
        classes: Their classes, None where there is one.
        anything: The probability that there is anything, which that of the class is to be
            multiplied with; None for none.
        letters: What each column is where they are of one tensor, as of
            :class:`onnxcam.analysis.detectors.columns.Order`; else "".
        sure: Whether the graph or a caller says so; else a run must show it.
    """

    scores: Column
    boxes: Column
    classes: Column | None
    anything: Column | None = None
    letters: str = ""
    sure: bool = True


@dataclass(frozen=True)
class Detector:
    """Where a detector says what it finds.

    Attributes:
        heads: Its scores, one tensor a scale where these are not joined; none where only those
            of ``rows`` are known, as of a detector that scores proposals.
        boxes: Its boxes, as many tensors as ``heads``; none where they are not found.
        final: "Softmax" or "Sigmoid" where that makes probabilities of the scores; "" where they
            are probabilities.
        background: Whether one of the classes stands for nothing: the first or the last.
        nothing: Which, counted from the end where it is negative; None where nothing says it.
        scales: Its feature maps, in the order of the positions.
        rows: What suppression left, where that is in the model.
        form: How a box is written, one of :data:`FORMS`; None where nothing says it.
        unit: What its numbers count, one of :data:`UNITS`; None where nothing says it.
        coding: What else is declared of how a box is written.
        catalogs: The layers before each of its heads, where these are several: not all lie before
            the first.
        single: Whether the scores are those of the reduction layer.
        classes: How many classes it has, None where that is not known.
        corners: False where the graph says that boxes are no corners; None where it does not.
        taken: The boxes that the model's suppression takes, and whether as centre and size; None
            where that is not known.
        unread: The output with rows that suppression left, where these are not understood; else "".
    """

    heads: tuple[Head, ...]
    boxes: tuple[Boxes, ...] = ()
    final: str = ""
    background: bool = False
    scales: tuple[Scale, ...] = ()
    rows: Rows | None = None
    form: str | None = None
    unit: str | None = None
    coding: Coding = Coding()  # noqa: RUF009 - frozen
    catalogs: tuple[Catalog, ...] = ()
    single: bool = True
    classes: int | None = None
    corners: bool | None = None
    taken: tuple[str, bool] | None = None
    nothing: int | None = None
    unread: str = ""

    @property
    def alone(self) -> bool:
        """Whether inputs must be run one by one: what is left of them is not told apart."""
        return self.rows is not None and self.rows.boxes.rank != 3

    def leads(self, feature: Candidate) -> bool:
        """Tell whether a layer lies before one of its heads, where these are several."""
        return any(feature in each.candidates for each in self.catalogs)

    @property
    def layers(self) -> tuple[Candidate, ...]:
        """The layers of its scales that a map can be made of, each once."""
        found = {s.layer.name: s.layer for s in self.scales if s.layer is not None}
        return tuple(found.values())

    @property
    def words(self) -> dict[str, str]:
        """What a reader of a list of layers must know: boxes, scales and rows, in words."""
        boxes = [f"{b.name}, rows {b.first} to {b.first + 3} of axis {b.axis}" for b in self.boxes]
        scales = [
            f"{'queries' if s.grid is None else f'{s.grid[0]} x {s.grid[1]}'} at {s.layer.name}"
            for s in self.scales
            if s.layer is not None
        ]
        said = {"boxes": "; ".join(boxes), "scales": ", ".join(scales)}
        if self.rows is not None:
            said["boxes"] = f"{self.rows.boxes.name}, the rows that its suppression leaves"
        return {name: text for name, text in said.items() if text}

    @property
    def key(self) -> str:
        """All of it as text, for the name of a compiled model."""
        named = tuple((s.grid, s.layer and s.layer.name) for s in self.scales)
        return repr((self.heads, self.boxes, self.final, self.background, self.nothing, named,
                     self.rows, self.form, self.unit, self.coding))  # fmt: skip
