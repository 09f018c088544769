"""Models and photographs with boxes that `tools/sweep.py` explains."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxcam import Explainer

# Categories of COCO that ImageNet has classes of, and these.
COCO = {
    "zebra": [340], "elephant": [385, 386], "bear": [294, 295, 296], "cat": [*range(281, 286)],
    "dog": [*range(151, 269)], "airplane": [404], "bus": [654, 779, 874],
    "train": [466, 705, 820], "stop sign": [919], "traffic light": [920], "umbrella": [879],
    "banana": [954], "orange": [950], "broccoli": [937], "pizza": [963], "laptop": [620, 681],
    "mouse": [673], "keyboard": [508], "remote": [761], "toilet": [861], "clock": [409, 892],
    "teddy bear": [850], "vase": [883], "bench": [703], "parking meter": [704],
    "motorcycle": [665, 670], "bicycle": [444, 671], "truck": [555, 569, 675, 717, 864, 867],
}  # fmt: skip


@dataclass(frozen=True)
class Boxed:
    """An input whose object is known.

    Attributes:
        name: Of the picture.
        picture: A file, or a ready tensor [1, ...].
        classes: What a model may call it.
        boxes: x, y, width, height in pixels of the picture.
    """

    name: str
    picture: Any
    classes: tuple[int, ...]
    boxes: tuple[tuple[float, ...], ...]

    def mask(self, shape: tuple[int, ...], seen: tuple[float, ...] | None) -> np.ndarray[Any, Any]:
        """Return where the boxes lie in a map, bool of its shape.

        Args:
            shape: Of the map.
            seen: The part of the picture that it lies over, x0, y0, x1, y1; None for all.
        """
        x0, y0, x1, y1 = seen or (0, 0, shape[1], shape[0])
        across, down = shape[1] / (x1 - x0), shape[0] / (y1 - y0)
        found = np.zeros(shape, bool)
        for x, y, width, height in self.boxes:
            rows = slice(max(0, round((y - y0) * down)), max(0, round((y + height - y0) * down)))
            columns = slice(max(0, round((x - x0) * across)),
                            max(0, round((x + width - x0) * across)))  # fmt: skip
            found[rows, columns] = True
        return found


def photographs(shared: Path) -> Iterator[Boxed]:
    """Yield the boxed photographs of a shared folder: its own, and COCO's of one category."""
    for each in json.loads((shared / "images" / "boxes.json").read_text()):
        place = shared / "images" / each["file"]
        yield Boxed(place.stem, place, (each["imagenet"],), tuple(map(tuple, each["boxes"])))
    coco = json.loads((shared / "data" / "coco" / "instances.json").read_text())
    names = {c["id"]: c["name"] for c in coco["categories"]}
    for image in coco["images"]:
        found: dict[str, list[Any]] = {}
        for annotation in coco["annotations"]:
            if annotation["image_id"] == image["id"] and names[annotation["category_id"]] in COCO:
                found.setdefault(names[annotation["category_id"]], []).append(annotation)
        size = image["width"] * image["height"]
        if len(found) == 1:
            ((name, held),) = found.items()
            if 0.03 < sum(a["area"] for a in held) / size < 0.5:
                place = shared / "data" / "coco" / "images" / image["file_name"]
                boxes = tuple(tuple(a["bbox"]) for a in held)
                yield Boxed(f"coco {image['id']}", place, tuple(COCO[name]), boxes)


def usable(explain: Explainer[Any], boxed: Iterator[Boxed], most: int) -> list[tuple[Boxed, int]]:
    """Return inputs whose object a model sees, and the class that it calls it.

    Its probability must be a fifth at least, and between 2 and 60 % of what the model sees lie in
    boxes: a map of anything hits a box that is everywhere.
    """
    found: list[tuple[Boxed, int]] = []
    for each in boxed:
        if len(found) == most:
            break
        map = explain(each.picture)
        likely = explain.predict(map.tensor[None])[0]
        best = max(each.classes, key=lambda k: likely[k])
        share = each.mask(map.map.shape, map.box).mean()
        if likely[best] >= 0.2 and 0.02 <= share <= 0.6:
            found.append((each, best))
    return found


def digits() -> Iterator[Boxed]:
    """Yield pictures of the transformer's kind, which it was not trained on."""
    from sweep.digits_vit import pictures

    x, labels, boxes = pictures(60, 7)
    for k, (picture, label, box) in enumerate(zip(x, labels, boxes, strict=True)):
        yield Boxed(f"digit {k}", picture[None], (int(label),), (tuple(box),))
