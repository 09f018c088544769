"""The worst cases in pictures: what the models saw, with both maps over it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from onnxcam.audit.data import Sample, load_sample
from onnxcam.audit.records import Row
from onnxcam.audit.seeing import drawn, scaled, seen
from onnxcam.audit.store import Store
from onnxcam.errors import OnnxcamError
from onnxcam.output.render import jpeg, overlay

Array: TypeAlias = np.ndarray[Any, Any]
_SIZE = 224  # pixels of a picture on the page
_FAINT = 0.25  # difference of two maps, of their largest value, below which it is drawn faintly


def cases(
    store: Store, samples: Sequence[Sample], worst: Sequence[Row], method: str
) -> list[dict[str, Any]]:
    """Return what the gallery shows of the worst samples.

    Returns:
        For each its row and, as data URIs, "picture" and the overlays "model" and "baseline", and
        "change", the difference of the two maps; None where there is none. "aligned" tells whether
        both models saw the same part.
    """
    wanted = {row["id"] for row in worst}
    by_id = {s.id: s for s in samples if s.id in wanted}
    maps = {
        (m["id"], m["model"]): np.asarray(m["values"], np.float32).reshape(m["shape"])
        for m in store.read("maps")
        if m["id"] in wanted and m["method"] == method
    }
    records = {
        (r["id"], r["model"]): r
        for r in store.read("records")
        if r["id"] in wanted and r["method"] == method
    }
    return [
        {"row": row, "records": {m: records.get((row["id"], m)) for m in ("model", "baseline")},
         **_pictures(by_id[row["id"]], row["id"], maps, records)}
        for row in worst
    ]  # fmt: skip


def _pictures(
    sample: Sample, name: str, maps: dict[tuple[str, str], Array], records: dict[Any, Row]
) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys(("picture", "model", "baseline", "change"))
    planes = {}
    for model in ("model", "baseline"):
        plane = maps.get((name, model))
        record = records.get((name, model))
        if plane is None or record is None or plane.ndim != 2:
            continue
        picture = _seen(sample, record)
        if picture is None:
            continue
        planes[model] = plane
        found["picture"] = found["picture"] or uri(picture)
        found[model] = uri(overlay(picture, plane, signed=bool(plane.min() < 0)))
        last = picture
    boxes = [records[name, model]["box"] for model in planes]
    found["aligned"] = len(boxes) == 2 and (
        None in boxes or np.allclose(boxes[0], boxes[1], atol=1)
    )
    if found["aligned"] and planes["model"].shape == planes["baseline"].shape:
        a, b = (p / (np.abs(p).max() or 1) for p in (planes["model"], planes["baseline"]))
        most = max(float(np.abs(a - b).max()), _FAINT)
        found["change"] = uri(overlay(_pale(last), a - b, signed=True, alpha=0.9,
                                      limits=(-most, most)))  # fmt: skip
    return found


def _pale(picture: Array) -> Array:
    """Return a picture in light grey, so that the colours over it are seen."""
    grey = picture.mean(-1, keepdims=True) * 0.4 + 140
    return np.repeat(grey.round().astype(np.uint8), 3, -1)


def _seen(sample: Sample, record: Row) -> Array | None:
    """Return what a model saw of a sample; None where it is no picture, or is not here any more."""
    try:
        content = load_sample(sample).content
    except (OnnxcamError, OSError):
        return None
    if record["box"] is not None:
        x0, y0, x1, y1 = record["box"]
        return seen(np.asarray(content), (x0, y0, x1, y1), _SIZE)
    if not isinstance(content, np.ndarray):
        return None
    plane = drawn(content)
    return None if plane is None else scaled(plane, _SIZE)


def uri(picture: Array) -> str:
    """Return a picture, uint8 [H, W, 3], as a data URI."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg(picture)).decode()}"
