"""Models and photographs with boxes that `tools/sweep.py` explains."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
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
    "bird": [*range(7, 25), *range(80, 101), *range(127, 147)], "horse": [339],
    "boat": [472, 510, 554, 576, 625, 628, 780, 814, 871, 914], "chair": [423, 559, 765],
    "car": [436, 468, 511, 609, 627, 656, 661, 751, 817], "couch": [831], "bed": [564],
    "bottle": [440, 720, 737, 898, 907], "cup": [504, 967, 968], "bowl": [659, 809],
    "wine glass": [572], "spoon": [910], "potted plant": [738], "dining table": [532],
    "tv": [664, 782, 851], "cell phone": [487], "microwave": [651], "oven": [766, 827],
    "refrigerator": [760], "sink": [896], "tennis racket": [752], "backpack": [414],
    "handbag": [636, 748], "tie": [457, 906], "sandwich": [933], "skis": [795],
    "sports ball": [429, 430, 522, 574, 722, 768, 805, 852, 890],
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
    """Yield the boxed photographs of a shared folder, in turn its own and those of COCO.

    So that few of them are of both. A photograph of several kinds of objects comes once for each.
    """
    own, coco = _own(shared), _coco(shared)
    here = {each.name for each in own}
    for pair in zip_longest(own, (each for each in coco if each.name not in here)):
        yield from (each for each in pair if each is not None)


def _own(shared: Path) -> list[Boxed]:
    held = json.loads((shared / "images" / "boxes.json").read_text())
    return [
        Boxed(
            f"coco {int(Path(each['file']).stem)}",  # they are of COCO, and may be there again
            shared / "images" / each["file"],
            (each["imagenet"],),
            tuple(map(tuple, each["boxes"])),
        )
        for each in held
    ]


def _coco(shared: Path) -> Iterator[Boxed]:
    """Yield each photograph with each kind that ImageNet has classes of, the largest first."""
    held = json.loads((shared / "data" / "coco" / "instances.json").read_text())
    names = {c["id"]: c["name"] for c in held["categories"]}
    for image in held["images"]:
        place, size = shared / "data" / "coco" / "images", image["width"] * image["height"]
        found: dict[str, list[Any]] = {}
        for annotation in held["annotations"]:
            if annotation["image_id"] == image["id"]:
                found.setdefault(names[annotation["category_id"]], []).append(annotation)
        shares = {name: sum(a["area"] for a in each) / size for name, each in found.items()}
        for name in sorted(found, key=lambda n: -shares[n]):
            if name in COCO and 0.03 < shares[name] < 0.5:
                boxes = tuple(tuple(a["bbox"]) for a in found[name])
                classes = tuple(COCO[name])
                yield Boxed(f"coco {image['id']}", place / image["file_name"], classes, boxes)


def usable(explain: Explainer[Any], boxed: Iterator[Boxed]) -> list[tuple[Boxed, int]]:
    """Return inputs whose object a model sees, best first, and the class that it calls it.

    Its probability must be a twentieth at least, and between 2 and 60 % of what the model sees lie
    in boxes: a map of anything hits a box that is everywhere. Of a photograph's kinds of objects
    the one counts that is seen best.
    """
    found: dict[str, tuple[float, Boxed, int]] = {}
    for each in boxed:
        map = explain(each.picture)
        likely = explain.predict(map.tensor[None])[0]
        best = max(each.classes, key=lambda k: likely[k])
        share = each.mask(map.map.shape, map.box).mean()
        rival = found[each.name][0] if each.name in found else 0.05
        if likely[best] >= rival and 0.02 <= share <= 0.6:
            found[each.name] = float(likely[best]), each, best
    seen = sorted(found.values(), key=lambda f: -f[0])
    return [(each, best) for _, each, best in seen]


def digits() -> Iterator[Boxed]:
    """Yield pictures of the transformer's kind, which it was not trained on."""
    from sweep.digits_vit import pictures

    x, labels, boxes = pictures(60, 7)
    for k, (picture, label, box) in enumerate(zip(x, labels, boxes, strict=True)):
        yield Boxed(f"digit {k}", picture[None], (int(label),), (tuple(box),))
