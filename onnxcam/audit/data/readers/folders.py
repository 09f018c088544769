"""Folders of samples: one for each class, one for all, or pictures with masks beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from onnxcam.audit.data.places import below, has_samples, name_of
from onnxcam.audit.data.registry import reader
from onnxcam.audit.data.sample import Sample
from onnxcam.errors import plain

_IMAGES, _MASKS = ("images", "imgs", "JPEGImages"), ("masks", "labels", "SegmentationClass")


def _classes(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    folders = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    return [p for p in folders if has_samples(p)]


def _pair(folder: Path) -> tuple[Path, Path] | None:
    """Return the folders of pictures and masks, where a data set has these two."""
    images = next((folder / n for n in _IMAGES if has_samples(folder / n)), None)
    masks = next((folder / n for n in _MASKS if has_samples(folder / n)), None)
    return None if images is None or masks is None else (images, masks)


@reader("classes", claims=lambda p: len(_classes(p)) > 0, rank=60)
def classes(place: Path, slices: tuple[str, ...]) -> Iterator[Sample]:
    """A folder for each class, with its samples in it or in folders below."""
    for folder in _classes(place):
        for path in below(folder):
            yield Sample(name_of(path, place), path, label=plain(folder.name))


@reader("folder", claims=lambda p: has_samples(p, deep=False), rank=70)
def folder(place: Path, slices: tuple[str, ...]) -> Iterator[Sample]:
    """A folder of samples, without labels."""
    for path in below(place):
        yield Sample(name_of(path, place), path)


@reader("masks", claims=lambda p: p.is_dir() and _pair(p) is not None, rank=40)
def masks(place: Path, slices: tuple[str, ...]) -> Iterator[Sample]:
    """Two folders, `images` and `masks`: a mask has its picture's name and is black outside."""
    images, drawn = _pair(place) or (place, place)
    by_stem = masks_of(drawn)
    for path in below(images):
        yield Sample(name_of(path, place), path, mask=by_stem.get(path.stem))


def masks_of(folder: Path) -> dict[str, Path]:
    """Return the masks of a folder by the name, without ending, of their pictures."""
    return {path.stem.removesuffix("_mask"): path for path in below(folder)}
