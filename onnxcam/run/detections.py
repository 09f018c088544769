"""What a detector finds in inputs: one run of it, before any of its boxes is explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from onnxcam.analysis.detectors import Detector
from onnxcam.analysis.detectors import detector as detector_of
from onnxcam.analysis.detectors.decoding import Decoding, decoding
from onnxcam.analysis.layers import Catalog
from onnxcam.compose.slopes import objectness
from onnxcam.errors import InputError
from onnxcam.inputs import Prepared
from onnxcam.model.draft import Draft
from onnxcam.model.model import Model
from onnxcam.output.detection import Detected
from onnxcam.run.feeds import Feeds
from onnxcam.run.groups import batch_of
from onnxcam.run.session import Device, Session
from onnxcam.run.settling import settled
from onnxcam.targets.found import found

Array: TypeAlias = np.ndarray[Any, Any]
_SURE, _LOGITS, _BOXES = (f"onnxcam.found.{x}" for x in ("sure", "logits", "boxes"))
_KEPT, _KEPT_BOXES, _KEPT_CLASSES = (f"onnxcam.kept.{x}" for x in ("scores", "boxes", "classes"))


@dataclass(frozen=True)
class Findings:
    """What is found in one input.

    Attributes:
        sure: Probabilities, float [C, A].
        boxes: Of these, float [A, 4]: left, top, right, bottom in pixels of the input; None where
            they are not known.
        rows: How sure each box is that can be asked for: behind the model's own suppression where
            it has one. Float [R].
        classes: Their classes, int [R].
        places: Their boxes, float [R, 4], or None.
        kept: Whether the model suppressed boxes itself.
        view: Left, top, right, bottom of the input in pixels of the picture, and the input's height
            and width.
        labels: Names of the classes, or None.
        alone: Whether nothing is known of boxes that the model's suppression took away.
    """

    sure: Array
    boxes: Array | None
    rows: Array
    classes: Array
    places: Array | None
    kept: bool
    view: tuple[tuple[float, float, float, float], tuple[int, int]]
    labels: tuple[str, ...] | None
    alone: bool = False

    def row(self, row: int) -> Detected:
        """Return the finding of a row."""
        box = None if self.places is None else self.places[row]
        return self._made(row, int(self.classes[row]), float(self.rows[row]), box)

    def of_class(self, cls: int) -> Detected:
        """Return the surest finding of a class; of any with -1.

        Raises:
            InputError: There is none, where the model keeps findings alone.
        """
        if self.alone and not (len(self.rows) if cls < 0 else (self.classes == cls).any()):
            what = "of any class" if cls < 0 else f"of class {cls}"
            raise InputError(
                f"the model finds nothing {what} in this input", "explain another class or input"
            )
        if cls < 0:
            cls = int(self.sure.max(1).argmax())
        own = np.flatnonzero(self.classes == cls) if self.kept else np.zeros(0, int)
        if len(own):
            return self.row(int(own[self.rows[own].argmax()]))
        place = int(self.sure[cls].argmax())
        box = None if self.boxes is None else self.boxes[place]
        return self._made(place, cls, float(self.sure[cls, place]), box)

    def over(self, least: float, same: float, cls: int | None = None) -> list[int]:
        """Return the rows of all findings, the surest first; what overlaps a surer one is none."""
        order = [int(r) for r in np.argsort(-self.rows, kind="stable") if self.rows[r] >= least]
        order = [r for r in order if cls in (None, -1, self.classes[r])]
        places = self.places
        if self.kept or places is None:
            return order
        left: list[int] = []
        for row in order:
            alike = [r for r in left if self.classes[r] == self.classes[row]]
            if not alike or overlap(places[alike], places[row]).max() <= same:
                left.append(row)
        return left

    def at(self, box: Sequence[float], cls: int | None) -> tuple[int, float] | None:
        """Return the row that is meant by a place of the picture, and how much its box overlaps it.

        Of all boxes it is the one whose overlap, times its probability, is the largest.
        """
        if self.places is None or not len(self.places):
            return None
        shared = overlap(self.places, self._inside(box))
        shared = np.where((cls is None) | (self.classes == cls), shared, 0)
        row = int((shared * self.rows).argmax())
        return row, float(shared[row])

    def _inside(self, box: Sequence[float]) -> Array:
        """Return a box of the picture in pixels of the input."""
        (left, top, right, bottom), (height, width) = self.view
        step = np.array([(right - left) / width, (bottom - top) / height] * 2)
        inside: Array = (np.asarray(box, float) - np.array([left, top] * 2)) / step
        return inside

    def _made(self, row: int, cls: int, sure: float, box: Array | None) -> Detected:
        label = self.labels[cls] if self.labels and cls < len(self.labels) else None
        place = None
        if box is not None and np.isfinite(box).all():
            (left, top, right, bottom), (height, width) = self.view
            step = np.array([(right - left) / width, (bottom - top) / height] * 2)
            edges = box * step + np.array([left, top] * 2)
            place = (float(edges[0]), float(edges[1]), float(edges[2]), float(edges[3]))
        return Detected(row, cls, label, sure, place)


@dataclass(frozen=True, eq=False)
class Finder:
    """Runs a detector.

    Attributes:
        model: The model.
        catalog: Its layers.
        detector: Where it says what it finds.
        device: Where to run.
        threads: Threads of ONNX Runtime; None lets it decide.
    """

    model: Model
    catalog: Catalog
    detector: Detector
    device: Device
    threads: int | None

    @cached_property
    def _session(self) -> Session:
        draft, detector = Draft(self.model), self.detector
        reduction = self.catalog.reduction
        anything = objectness(draft, reduction) if detector.single else None
        made = found(draft, detector, draft.tensor(reduction.name), anything)
        op = draft.op
        draft.output(op.cast(made.sure, np.float32), _LOGITS if made.logits else _SURE)
        if made.boxes is not None:
            draft.output(op.cast(made.boxes, np.float32), _BOXES)
        if made.kept is not None:
            draft.output(op.cast(made.kept.scores, np.float32), _KEPT)
            draft.output(op.cast(made.kept.boxes, np.float32), _KEPT_BOXES)
            draft.output(made.kept.classes, _KEPT_CLASSES)
        return Session(draft.finish(), device=self.device, threads=self.threads)

    def run(self, batch: Sequence[Prepared]) -> dict[str, Array]:
        """Return what a run says, by the names of outputs.

        Raises:
            InputError: An input is missing, or ONNX Runtime fails.
        """
        whole = batch_of(self.model, self.catalog)
        given = np.concatenate([p.tensor for p in batch], whole.axis)
        others, _ = Feeds(self.model, self.catalog, self.catalog.input).of(batch)
        return self.of_feeds({self.catalog.input: whole.filled(given), **others})

    def of_feeds(self, feeds: dict[str, Array]) -> dict[str, Array]:
        """Return what a run on arrays says, by the names of outputs."""
        names = [
            n for n in self._session.outputs if n.startswith(("onnxcam.found", "onnxcam.kept"))
        ]
        return dict(zip(names, self._session.run(feeds, names), strict=True))

    def settled(self, said: dict[str, Array], size: tuple[int, int]) -> Detector:
        """Return the detector with what a run says of how its boxes are written."""
        raw = said.get(_KEPT_BOXES) if self.detector.rows is not None else said.get(_BOXES)
        if raw is None or self.detector.form is not None:
            return self.detector
        grid = self.detector.rows is None
        return settled(self.detector, raw, size, grid=grid)

    def findings(self, batch: Sequence[Prepared], labels: tuple[str, ...] | None) -> list[Findings]:
        """Return what is found in each of some inputs of one shape.

        Args:
            batch: The inputs, each with a batch axis of 1.
            labels: Names of the classes, None where nothing says them.
        """
        if self.detector.alone and len(batch) > 1:
            return [f for each in batch for f in self.findings([each], labels)]
        said, size = self.run(batch), self.size(batch[0].tensor)
        detector = self.settled(said, size)
        read = decoding(detector, size, said[_BOXES].shape[1] if _BOXES in said else None)
        kept = decoding(replace(detector, scales=()), size, None)
        return [self._of(said, n, each, size, read, kept, labels) for n, each in enumerate(batch)]

    def size(self, tensor: Array) -> tuple[int, int]:
        """Return height and width of an input; 1 and 1 where they are not known."""
        layout = self.catalog.input_layout
        sizes = None if layout is None else layout.sizes(tensor.shape)
        return (sizes[0], sizes[1]) if sizes is not None and len(sizes) == 2 else (1, 1)

    def _of(
        self,
        said: dict[str, Array],
        n: int,
        prepared: Prepared,
        size: tuple[int, int],
        read: Decoding | None,
        kept: Decoding | None,
        labels: tuple[str, ...] | None,
    ) -> Findings:
        if not self.detector.heads:
            sure = _by_class(said[_KEPT][n], said[_KEPT_CLASSES][n])
        else:
            sure = said[_SURE][n] if _SURE in said else _sigmoid(said[_LOGITS][n])
        boxes = read(said[_BOXES][n]) if read is not None and _BOXES in said else None
        rows, classes, places = sure.max(0), sure.argmax(0), boxes
        if _KEPT in said:
            rows, classes = said[_KEPT][n], said[_KEPT_CLASSES][n]
            places, boxes = None if kept is None else kept(said[_KEPT_BOXES][n]), None
        view = prepared.box or (0.0, 0.0, float(size[1]), float(size[0]))
        return Findings(sure, boxes, rows, classes, places, _KEPT in said, (view, size), labels,
                        not self.detector.heads)  # fmt: skip


def _by_class(scores: Array, classes: Array) -> Array:
    """Return scores of rows [R] as those of each class [C, R]; 0 of any other class."""
    sure = np.zeros((int(classes.max(initial=0)) + 1, len(scores)), scores.dtype)
    sure[classes, np.arange(len(scores))] = scores
    return sure


def _sigmoid(logits: Array) -> Array:
    """Return probabilities in double precision: the surest of two sure ones is still told."""
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))))


def overlap(boxes: Array, box: Array) -> Array:
    """Return the intersection over union of boxes [R, 4] with one, float [R]."""
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    shared = np.clip(high - low, 0, None).prod(1)
    areas = [np.clip(b[..., 2:] - b[..., :2], 0, None).prod(-1) for b in (boxes, np.asarray(box))]
    whole = areas[0] + areas[1] - shared
    share: Array = np.divide(shared, whole, out=np.zeros(len(boxes)), where=whole > 0)
    return share


def read_off(
    model: Model,
    catalog: Catalog,
    declared: Mapping[str, Any] | None,
    feeds: dict[str, Array],
) -> tuple[Detector | None, Decoding | None]:
    """Return where a model says what it finds, and how its boxes are read, where a run shows it.

    Args:
        model: The model.
        catalog: Its layers.
        declared: What a caller says of it, None for nothing.
        feeds: What to run it on.
    """
    known = detector_of(model, catalog, declared)
    if known is None:
        return None, None
    finder = Finder(model, catalog, known, "cpu", None)
    said, size = finder.of_feeds(feeds), finder.size(feeds[catalog.input])
    settled = finder.settled(said, size)
    if known.rows is not None:
        return settled, decoding(replace(settled, scales=()), size, None)
    count = said[_BOXES].shape[1] if _BOXES in said else None
    return settled, decoding(settled, size, count)
