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
from onnxcam.inputs import Prepared
from onnxcam.model.draft import Draft
from onnxcam.model.model import Model
from onnxcam.run.feeds import Feeds
from onnxcam.run.findings import Findings
from onnxcam.run.groups import batch_of
from onnxcam.run.scores import by_class
from onnxcam.run.session import Device, Session
from onnxcam.run.settling import held, hold_columns, matched, settled
from onnxcam.targets.found import found

Array: TypeAlias = np.ndarray[Any, Any]
_SURE, _LOGITS, _BOXES = (f"onnxcam.found.{x}" for x in ("sure", "logits", "boxes"))
_KEPT, _KEPT_BOXES, _KEPT_CLASSES, _KEPT_NUMBERS, _TAKEN = (
    f"onnxcam.kept.{x}" for x in ("scores", "boxes", "classes", "numbers", "taken")
)


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
            draft.output(op.cast(made.kept.numbers, np.float32), _KEPT_NUMBERS)
            if detector.taken is not None:
                draft.output(op.cast(draft.tensor(detector.taken[0]), np.float32), _TAKEN)
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

    def counted(self, feeds: dict[str, Array]) -> bool:
        """Tell whether the class that is said at more positions is the last, and not the first."""
        sure = self.of_feeds(feeds)[_SURE]  # [N, C, A], 2 less for the class for nothing
        return bool(sure[:, -1].min() < sure[:, 0].min())

    def settled(self, said: dict[str, Array], size: tuple[int, int]) -> Detector:
        """Return the detector with what a run says of how its boxes are written."""
        raw, grid = said.get(_BOXES), self.detector.rows is None
        if not grid:
            hold_columns(self.detector, said[_KEPT], said[_KEPT_NUMBERS])
            raw = said[_KEPT_BOXES][said[_KEPT] > 0][None]  # the others fill the rows up
            if _TAKEN in said and self.detector.form is None:
                found = matched(self.detector, raw[0], said[_TAKEN].reshape(-1, 4), size)
                if found is not None:
                    return found
        if raw is None or self.detector.form is not None:
            return self.detector if raw is None else held(self.detector, raw, size, grid=grid)
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
        read, kept = self.readers(said, size)
        return [self._of(said, n, each, size, read, kept, labels) for n, each in enumerate(batch)]

    def readers(
        self, said: dict[str, Array], size: tuple[int, int]
    ) -> tuple[Decoding | None, Decoding | None]:
        """Return how boxes at positions are read, and those behind suppression."""
        detector = self.settled(said, size)
        read = decoding(detector, size, said[_BOXES].shape[1] if _BOXES in said else None)
        return read, decoding(replace(detector, scales=()), size, None)

    def rows(
        self, said: dict[str, Array], readers: tuple[Decoding | None, Decoding | None]
    ) -> tuple[Array | None, Array]:
        """Return the boxes of a run, as they can be asked for by their rows.

        Args:
            said: What a run says.
            readers: As of :meth:`readers`.

        Returns:
            The boxes, float [N, R, 4] in pixels of the input (None where they cannot be read), and
            the probabilities of their classes, float [N, R, C].
        """
        read, kept = readers
        if _KEPT in said:
            classes, scores = said[_KEPT_CLASSES], said[_KEPT]
            own = np.arange(max(1 + int(classes.max(initial=0)), self.detector.classes or 0))
            chances = scores[..., None] * (classes[..., None] == own)
            return None if kept is None else kept(said[_KEPT_BOXES]), chances
        chances = said[_SURE] if _SURE in said else _sigmoid(said[_LOGITS])
        boxes = read(said[_BOXES]) if read is not None and _BOXES in said else None
        return boxes, chances.transpose(0, 2, 1)

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
            sure = by_class(said[_KEPT][n], said[_KEPT_CLASSES][n])
        else:
            sure = said[_SURE][n] if _SURE in said else _sigmoid(said[_LOGITS][n])
        boxes = read(said[_BOXES][n]) if read is not None and _BOXES in said else None
        rows, classes, places = sure.max(0), sure.argmax(0), boxes
        if _KEPT in said:
            rows, classes = said[_KEPT][n], said[_KEPT_CLASSES][n]
            places, boxes = None if kept is None else kept(said[_KEPT_BOXES][n]), None
        view = prepared.box or (0.0, 0.0, float(size[1]), float(size[0]))
        logits, alone = said.get(_LOGITS), not self.detector.heads
        told = (_KEPT in said, (view, size), labels, alone, None if logits is None else logits[n])
        return Findings(sure, boxes, rows, classes, places, *told, self.detector.unread)


def _sigmoid(logits: Array) -> Array:
    """Return probabilities in double precision: the surest of two sure ones is still told."""
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))))


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
