"""A data set opened: listed, joined with boxes and masks that lie elsewhere, a part selected."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from onnxcam.audit.data import registry
from onnxcam.audit.data.packed import Samples, lines_of
from onnxcam.audit.data.readers.coco import boxes_of, read_coco
from onnxcam.audit.data.readers.folders import masks_of
from onnxcam.audit.data.readers.voc import objects
from onnxcam.audit.data.sample import Box, Sample
from onnxcam.audit.data.sound import MOST, sound, well_formed
from onnxcam.errors import InputError, UsageError


@dataclass(frozen=True)
class Selection:
    """Which samples of a data set are taken.

    Attributes:
        count: How many, drawn without putting back; None for all.
        seed: Of the draw.
    """

    count: int | None = None
    seed: int = 0

    @property
    def rule(self) -> str:
        """The rule in words."""
        if self.count is None:
            return "all samples"
        return f"{self.count} samples, drawn without replacement by NumPy's PCG64, seed {self.seed}"


@dataclass(frozen=True)
class Listing:
    """What of a data set is audited.

    Attributes:
        samples: The samples, in the data set's order.
        form: The reader's name.
        place: Where the data set lies.
        total: How many samples it has.
        rule: How those here were chosen.
    """

    samples: Samples
    form: str
    place: Path
    total: int
    rule: str

    @property
    def digest(self) -> str:
        """The sha256 of what the data set says of all these samples, in their order."""
        return hashlib.sha256(self.samples.lines).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """Return what the data manifest says of the whole."""
        labels = Counter(s.label for s in self.samples if s.label is not None)
        return {
            "place": str(self.place),
            "format": self.form,
            "selection": self.rule,
            "samples_in_data_set": self.total,
            "samples_selected": len(self.samples),
            "labelled": sum(labels.values()),
            "classes": len(labels),
            "with_object": sum(bool(s.boxes or s.mask) for s in self.samples),
            "listing_sha256": self.digest,
        }


def open_data(
    place: Path,
    *,
    form: str | None = None,
    slices: Sequence[str] = (),
    boxes: Path | None = None,
    masks: Path | None = None,
    selection: Selection | None = None,
) -> Listing:
    """List a data set.

    Args:
        place: Its file or folder.
        form: Its form, a reader's name; None finds it.
        slices: Columns whose values are groups of samples.
        boxes: COCO's JSON, or a folder of VOC's XML files, with the objects of samples, by the
            name of the file without its ending.
        masks: A folder of masks, by the same.
        selection: Which samples are taken; None takes all.

    Raises:
        OnnxcamError: Of the kind that fits: it is no data set, is empty, or cannot be read.
    """
    reader = registry.find(place, form)
    with well_formed(place, reader.name):
        said = islice(reader.read(place, tuple(slices)), MOST + 1)
        found = Samples(lines_of(map(sound, said)))
    if len(found) > MOST:
        raise InputError(f"{place} holds more than {MOST:,} samples", "audit it in parts")
    if not found:
        raise UsageError(f"{place} holds no sample", "check the path of the data")
    twice = [name for name, count in Counter(s.id for s in found).items() if count > 1]
    if twice:
        raise UsageError(f"{place} holds {twice[0]!r} twice", "give every sample a name of its own")
    if slices and not found[0].slices:
        raise UsageError(
            f"data of the form {reader.name} has no columns", "give a CSV as the data for slices"
        )
    selection = selection or Selection()
    taken = _selected(found, selection)
    if boxes is not None or masks is not None:
        taken = Samples(lines_of(map(sound, _joined(taken, boxes, masks))))
    return Listing(taken, reader.name, place.absolute(), len(found), selection.rule)


def _selected(found: Samples, selection: Selection) -> Samples:
    if selection.count is None or selection.count >= len(found):
        return found
    if selection.count < 1:
        raise UsageError(f"a sample of {selection.count}", "give 1 or more as `sample`")
    rng = np.random.default_rng(selection.seed)
    picks = np.sort(rng.choice(len(found), selection.count, replace=False))
    return Samples(lines_of(found[int(i)] for i in picks))


def _joined(found: Iterable[Sample], boxes: Path | None, masks: Path | None) -> Iterator[Sample]:
    drawn = {} if masks is None else masks_of(masks)
    placed = {} if boxes is None else _boxes(boxes)
    for sample in found:
        stem = sample.file.stem if sample.kind == "file" else sample.id
        yield replace(
            sample,
            boxes=placed.get(stem, sample.boxes),
            mask=drawn.get(stem, sample.mask),
        )


def _boxes(place: Path) -> dict[str, tuple[Box, ...]]:
    with well_formed(place, "voc" if place.is_dir() else "coco"):
        return _placed(place)


def _placed(place: Path) -> dict[str, tuple[Box, ...]]:
    if place.is_dir():
        return {path.stem: objects(path)[1] for path in sorted(place.glob("*.xml"))}
    said = read_coco(place)
    found, _ = boxes_of(said, place)
    return {Path(i["file_name"]).stem: tuple(found.get(i["id"], ())) for i in said["images"]}
