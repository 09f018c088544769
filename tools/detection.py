"""Measure how much of a box's map lies in the box, on real detectors and photographs.

python tools/detection.py --models ../shared/models --coco ../shared/data/coco

The share is that of the map's positive values, at the input's size, that lie in the decoded box of
the finding that is explained. Findings are those over 0.5 that suppression leaves. It writes
docs/detection.md between its marks; a test holds that every way is there, and the default above
its lines.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from onnxcam import Explainer
from onnxcam.inputs import InputSpec
from onnxcam.run.overlap import overlap
from onnxcam.targets import Box, Detections

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "detection.md"
MARKS = ("<!-- measured -->", "<!-- /measured -->")
WAYS: dict[str, dict[str, Any]] = {
    "default: hirescam, scales, sum": {},
    "hirescam, scales, max": {"method": "hirescam", "fuse": "max"},
    "hirescam, scales, mean": {"method": "hirescam", "fuse": "mean"},
    "hirescam, one layer": {"method": "hirescam", "one": True},
    "layercam, scales, sum": {"method": "layercam", "fuse": "sum"},
    "layercam, one layer": {"method": "layercam", "one": True},
    "gradcam, scales, sum": {"method": "gradcam", "fuse": "sum"},
    "gradcam, one layer": {"method": "gradcam", "one": True},
}
SIDE = 80  # of P-Net's input: faces of 80 of 512 pixels are its 12
FACE = InputSpec(channels="RGB", mean=(127.0,), std=(128.0,), labels=("nothing", "face"))
Finding = tuple[Any, int, Any, bool]  # a picture, a row, left top right bottom, is it in the truth


@dataclass(frozen=True)
class Subject:
    """A detector and what it finds.

    Attributes:
        name: What it is called.
        model: Its file.
        preprocess: How a picture becomes its input.
        found: Returns its findings, those on the astronaut first.
        detector: How its boxes are written, where the file leaves it to its user.
    """

    name: str
    model: Path
    preprocess: InputSpec
    found: Callable[[Subject, Path, int], list[Finding]]
    detector: dict[str, Any] | None = None


def share(map: np.ndarray, box: Sequence[float], size: tuple[int, int]) -> float:
    """Return the share of a map's positive values in a box.

    Args:
        map: float [H, W], over the whole picture.
        box: Left, top, right, bottom in pixels of the picture.
        size: Its height and width.
    """
    positive = np.maximum(map, 0)
    y, x = (n / s for n, s in zip(map.shape, size, strict=True))
    left, top, right, bottom = (round(max(e, 0) * f) for e, f in zip(box, (x, y) * 2, strict=True))
    return float(positive[top:bottom, left:right].sum() / max(positive.sum(), 1e-30))


def pictures(coco: Path, most: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the astronaut, and photographs with their names."""
    from skimage.data import astronaut

    yield "astronaut.png", astronaut()
    for path in sorted((coco / "images").iterdir())[:most]:
        yield path.name, np.asarray(Image.open(path).convert("RGB"))


@cache
def truth(coco: Path) -> dict[str, list[tuple[str, list[float]]]]:
    """Return the boxes of each photograph: a class, and left, top, right, bottom."""
    said = json.loads((coco / "instances.json").read_text())
    names = {c["id"]: c["name"] for c in said["categories"]}
    files = {i["id"]: i["file_name"] for i in said["images"]}
    boxes: dict[str, list[tuple[str, list[float]]]] = {}
    for a in said["annotations"]:
        x, y, w, h = a["bbox"]
        place = names[a["category_id"]], [x, y, x + w, y + h]
        boxes.setdefault(files[a["image_id"]], []).append(place)
    return boxes


def faces(subject: Subject, coco: Path, most: int) -> list[Finding]:
    """Return the faces that UltraFace finds; the truth of faces is their own box."""
    explain = Explainer(subject.model, preprocess=subject.preprocess, device="cpu", threads=1)
    found: list[Finding] = []
    for _, picture in pictures(coco, most):
        for each in explain(picture, Detections(over=0.5)):
            seen = each.detection
            found.append((picture, seen.row, seen.box, True))
    return found


def fastest(subject: Subject, coco: Path, most: int) -> list[Finding]:
    """Return what FastestDet finds, decoded as it is declared: its file leaves that to callers."""
    explain = Explainer(
        subject.model, preprocess=subject.preprocess, detector=subject.detector, device="cpu",
        threads=1,
    )  # fmt: skip
    found: list[Finding] = []
    for file, picture in pictures(coco, most):
        for each in explain(picture, Detections(over=0.5)):
            seen = each.detection
            own = np.array([b for name, b in truth(coco).get(file, []) if name == seen.label])
            right = bool(len(own)) and overlap(own, np.array(seen.box)).max() >= 0.5
            found.append((picture, seen.row, seen.box, right))
    return found


def proposed(subject: Subject, coco: Path, most: int) -> list[Finding]:
    """Return the faces that P-Net proposes at its size and UltraFace finds too."""
    how: dict[str, Any] = {"device": "cpu", "threads": 1}
    explain = Explainer(
        subject.model, preprocess=subject.preprocess, detector=subject.detector, **how
    )
    sure = Explainer(subject.model.with_name("ultraface_RFB320.onnx"), preprocess=FACE, **how)
    found: list[Finding] = []
    for _, picture in pictures(coco, most):
        faces = np.array([e.detection.box for e in sure(picture, Detections(over=0.5))])
        if not len(faces):
            continue
        for each in explain(picture, Detections("face", over=0.5)):
            seen = each.detection
            right = overlap(faces, np.array(seen.box)).max() >= 0.5
            found.append((picture, seen.row, seen.box, bool(right)))
    return sorted(found, key=lambda f: not f[3]) if found and not found[0][3] else found


def windows(side: int) -> np.ndarray:
    """Return the windows of 12 pixels that P-Net looks at in a square, two pixels apart: [A, 4]."""
    count = (side - 12) // 2 + 1
    y, x = np.mgrid[:count, :count].reshape(2, -1) * 2 + 6
    return np.stack([x, y, 0 * x + 12, 0 * x + 12], 1)


def sorted_names(coco: Path) -> list[str]:
    """Return the 80 names of COCO in the order of their numbers."""
    said = json.loads((coco / "instances.json").read_text())
    return [c["name"] for c in sorted(said["categories"], key=lambda c: c["id"])]


def measured(subject: Subject, coco: Path, most: int) -> Iterator[str]:
    """Yield a line of the table for each way to explain."""
    found = subject.found(subject, coco, most)
    first, rest = found[0], [f for f in found[1:] if f[3]]
    for name, way in WAYS.items():
        options = {k: v for k, v in way.items() if k in ("method", "fuse")}
        how: dict[str, Any] = {"preprocess": subject.preprocess, "detector": subject.detector}
        probe = Explainer(subject.model, device="cpu", threads=1, **how)
        if way.get("one"):
            options["feature_layer"] = probe.catalog.feature.name
        elif way.get("fuse", "sum") != "sum" and len(probe.maps_of(Box(0))[0].layers) == 1:
            continue  # of one scale there is nothing to fuse
        explain = Explainer(subject.model, device="cpu", threads=1, **how, **options)
        shares = [
            share(explain(picture, Box(row)).map, box, picture.shape[:2])
            for picture, row, box, _ in (first, *rest)
        ]
        own = f"{100 * shares[0]:.0f} %" if subject.found is not fastest else ""
        middle = 100 * np.median(shares[1:])
        low = 100 * np.quantile(shares[1:], 0.25)
        yield f"| {subject.name} | {name} | {own} | {middle:.0f} % | {low:.0f} % | {len(rest)} |"


def main() -> int:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", type=Path, required=True, help="folder with ultraface_RFB320")
    parser.add_argument("--coco", type=Path, required=True, help="photographs, instances.json")
    parser.add_argument("--fastest", type=Path, help="FastestDet.onnx, where it is at hand")
    parser.add_argument("--most", type=int, default=1000, help="photographs [default: all]")
    parser.add_argument("--only", action="append", help="a detector; rows of others stay")
    given = parser.parse_args()
    subjects = [Subject("UltraFace", given.models / "ultraface_RFB320.onnx", FACE, faces)]
    small = InputSpec(
        layout="NHWC", size=(SIDE, SIDE), channels="RGB", mean=(127.5,), std=(128.0,),
        labels=("nothing", "face"),
    )  # fmt: skip
    form: dict[str, Any] = {
        "boxes": "conv2d_4", "axis": 3,
        "format": "edge-deltas", "anchors": windows(SIDE), "nothing": 0,
    }  # fmt: skip
    subjects.append(Subject("P-Net", given.models / "pnet.onnx", small, proposed, form))
    if given.fastest is not None:
        unit = InputSpec(
            layout="NCHW", size=(352, 352), channels="BGR", scale=1 / 255,
            labels=tuple(sorted_names(given.coco)),
        )  # fmt: skip
        form = {"format": "fastestdet", "boxes": "758", "first_box": 1, "powers": [0.6, 0.4]}
        subjects.append(Subject("FastestDet", given.fastest, unit, fastest, form))
    chosen = [s for s in subjects if given.only is None or s.name in given.only]
    made = [line for s in chosen for line in measured(s, given.coco, given.most)]
    write(made, [s.name for s in chosen])
    sys.stdout.write("\n".join([*made, ""]))
    return 0


def write(made: Sequence[str], names: Sequence[str]) -> None:
    """Write lines of some detectors into the page, in place of theirs."""
    before, rest = PAGE.read_text().split(MARKS[0])
    table, after = rest.split(MARKS[1])
    old = table.strip().splitlines()[2:]
    kept = [line for line in old if _name(line) not in names]
    order = ("UltraFace", "P-Net", "FastestDet")
    lines = sorted([*kept, *made], key=lambda line: order.index(_name(line)))
    head = "| detector | maps | astronaut | median | lower quarter | findings |\n"
    head += "|---" * 6 + "|"
    text = "\n".join([head, *lines])
    PAGE.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}")


def _name(line: str) -> str:
    """Return the detector of a line of the table."""
    return line.split("|")[1].split(" (", maxsplit=1)[0].strip()


if __name__ == "__main__":
    sys.exit(main())
