"""COCO's JSON: images, categories, and annotations with boxes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from onnxcam.audit.data.places import name_of
from onnxcam.audit.data.registry import reader
from onnxcam.audit.data.sample import Box, Sample
from onnxcam.audit.data.sound import inside
from onnxcam.errors import InputError, plain
from onnxcam.files import regular
from onnxcam.inputs.labels import parse_json

_FOLDERS = ("", "images", "../images", "val2017", "train2017", "../val2017", "../train2017")
_FIELDS = {
    "images": ("id", "file_name"), "categories": ("id", "name"),
    "annotations": ("image_id", "category_id"),
}  # fmt: skip
_MOST = 4_000_000_000  # bytes; COCO's own are 0.5 GB


def _is_coco(place: Path) -> bool:
    if place.is_dir():
        return (place / "instances.json").is_file()
    return place.suffix.lower() == ".json" and place.is_file()


@reader("coco", claims=_is_coco, rank=20)
def coco(place: Path, slices: tuple[str, ...]) -> Iterator[Sample]:
    """COCO's JSON beside its pictures; a picture with objects of one category has that label."""
    path = place / "instances.json" if place.is_dir() else place
    said = read_coco(path)
    boxes, labels = boxes_of(said, path)
    for image in said["images"]:
        file = _file(path.parent, str(image["file_name"]))
        classes = labels.get(image["id"], set())
        label = next(iter(classes)) if len(classes) == 1 else None
        groups = {name: plain(image.get(name, "")) for name in slices}
        found = tuple(boxes.get(image["id"], ()))
        yield Sample(name_of(file, path.parent), file, label=label, slices=groups, boxes=found)


def read_coco(path: Path) -> dict[str, Any]:
    """Return what a COCO file says.

    Raises:
        InputError: It cannot be read, or is none.
    """
    try:
        regular(path, _MOST)
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error})", "give COCO's JSON") from error
    said = parse_json(text, path)
    if not isinstance(said, dict) or not {"images", "annotations"} <= said.keys():
        raise InputError(f"{path} has no images and annotations", "give COCO's JSON")
    for part, fields in _FIELDS.items():
        rows = said.get(part, [])
        if not isinstance(rows, list):
            raise InputError(f"{path}: {part} are no list", "give COCO's JSON")
        for number, row in enumerate(rows):
            if not isinstance(row, dict) or not all(_is_plain(row.get(f)) for f in fields):
                raise InputError(
                    f"{path}: number {number} of {part} has no {' and '.join(fields)}",
                    "give COCO's instances",
                )
    return said


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float)


def boxes_of(said: dict[str, Any], path: Path) -> tuple[dict[Any, list[Box]], dict[Any, set[str]]]:
    """Return the boxes and the labels of the objects by the number of their picture."""
    names = {c["id"]: plain(c["name"]) for c in said.get("categories", ())}
    boxes: dict[Any, list[Box]] = {}
    labels: dict[Any, set[str]] = {}
    for each in said["annotations"]:
        try:
            x, y, width, height = (float(v) for v in each["bbox"])
            image, category = each["image_id"], each["category_id"]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}: annotation {each.get('id')} has no box, picture or category ({error!r})",
                "give COCO's instances",
            ) from None
        boxes.setdefault(image, []).append((x, y, x + width, y + height))
        labels.setdefault(image, set()).add(names.get(category, str(category)))
    return boxes, labels


def _file(folder: Path, name: str) -> Path:
    """Return where a picture lies: beside the JSON, or where COCO has its pictures."""
    inside(folder, name)
    places = [folder / part / name for part in _FOLDERS]
    return next((p for p in places if p.is_file()), places[0])
