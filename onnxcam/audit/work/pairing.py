"""Two models on one sample: what they predict, and where they look for the same class."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from onnxcam.audit.compare.maps import FLIP, agreement
from onnxcam.audit.data import Sample
from onnxcam.audit.records import PAIRS, Row, null
from onnxcam.audit.summary import reduced
from onnxcam.audit.truth import bare
from onnxcam.audit.work.ready import Ready
from onnxcam.audit.work.subject import Subject, probability_of, view
from onnxcam.errors import OnnxcamError
from onnxcam.inputs import Prepared
from onnxcam.output.explanation import Explanation

Array: TypeAlias = np.ndarray[Any, Any]
_GRID = 64  # places along an axis


def pair(
    ready: Ready, method: str, new: tuple[Subject, Explanation], old: tuple[Subject, Explanation]
) -> Row:
    """Compare the two models on one sample, for the class that the baseline predicts."""
    (model, after), (baseline, before) = new, old
    sample = ready.sample
    row: Row = {"id": sample.id, "method": method, "label": sample.label}
    row["slices"] = dict(sample.slices)
    if baseline.by_probability and model.by_probability:
        row |= _predictions(sample, new, old)
        if row["flipped"] and row["compared_class"] is not None:
            after = _same_class(ready, model, method, row["compared_class"]) or after
    if after.raw_map.ndim != before.raw_map.ndim:
        return null(PAIRS, **row, note="the maps have different numbers of axes")
    if row.get("flipped") and row.get("compared_class") != after.target:
        return null(PAIRS, **row, note="the model has no class of the baseline's name")
    maps = aligned(ready, (model.name, after), (baseline.name, before))
    if maps is None:
        return null(PAIRS, **row, note="the models see no common part of the picture")
    row |= agreement(*maps)
    same = row.get("spearman")
    if same is None:
        row["note"] = "a map is constant"
    else:
        row["explanation_flip"] = not row.get("flipped") and same < FLIP
    return null(PAIRS, **row)


def _predictions(
    sample: Sample, new: tuple[Subject, Explanation], old: tuple[Subject, Explanation]
) -> Row:
    (model, after), (baseline, before) = new, old
    a, b = int(np.argmax(after.scores)), int(np.argmax(before.scores))
    names = [e.labels[i] if e.labels else None for e, i in ((after, a), (before, b))]
    named = None not in names
    # By name: the twin of another tool chain may count its classes otherwise.
    other = min(model.truth(names[1]), default=None) if named else b
    if other is not None and other >= len(after.scores):
        other = None
    same = bare(str(names[0])) == bare(str(names[1])) if named else a == b
    if named and same:
        other = a
    truths = [s.truth(sample.label) for s in (model, baseline)]
    row: Row = {
        "baseline_class": b, "model_class": a, "baseline_label": names[1], "model_label": names[0],
        "flipped": not same, "compared_class": other,
        "right_before": b in truths[1] if truths[1] else None,
        "right_after": a in truths[0] if truths[0] else None,
    }  # fmt: skip
    if other is not None:
        row["score_shift"] = finite(float(after.scores[other]) - float(before.scores[b]))
        p, q = probability_of(after, other), probability_of(before, b)
        row["probability_shift"] = None if p is None or q is None else p - q
    return row


def _same_class(ready: Ready, model: Subject, method: str, index: int) -> Explanation | None:
    """Explain the class that the baseline predicts, where the model predicts another."""
    prepared = ready.input_of(model.name)
    assert isinstance(prepared, Prepared)
    found = model.explain([prepared], index)[0]
    return None if isinstance(found, OnnxcamError) else found.get(method)


def aligned(
    ready: Ready, new: tuple[str, Explanation], old: tuple[str, Explanation]
) -> tuple[Array, Array] | None:
    """Return two maps over the same part of the picture; None where the models share none.

    Two preparations may cut different parts out of a picture: then the maps lie over the part that
    both models saw, on a grid as coarse as the coarser map.
    """
    boxes = []
    for name, _ in (new, old):
        prepared = ready.input_of(name)
        boxes.append(prepared.box if isinstance(prepared, Prepared) else None)
    first, second = boxes
    a, b = new[1].raw_map, old[1].raw_map
    if first is None or second is None or a.ndim != 2 or np.allclose(first, second, atol=1):
        return a, b
    box = (*np.maximum(first[:2], second[:2]), *np.minimum(first[2:], second[2:]))
    if box[2] - box[0] < 1 or box[3] - box[1] < 1:
        return None
    cut = [_cut(view(e), own, box) for (_, e), own in ((new, first), (old, second))]
    for axis in (0, 1):
        coarse = min(a.shape[axis], b.shape[axis], _GRID)
        cut = [reduced(c, axis, coarse) for c in cut]
    return cut[0], cut[1]


def _cut(map: Array, own: tuple[float, ...], box: tuple[float, ...]) -> Array:
    """Return the part of a map, which lies over ``own``, that lies over ``box``, [64, 64]."""
    places = []
    for axis, length in enumerate(map.shape):
        start, end = (box[k + 1 - axis] for k in (0, 2))
        low, high = (own[k + 1 - axis] for k in (0, 2))
        at = start + (np.arange(_GRID) + 0.5) / _GRID * (end - start)
        places.append(((at - low) / (high - low) * length).astype(int).clip(0, length - 1))
    return np.asarray(map[np.ix_(*places)])


def finite(value: Any) -> float | None:
    """Return a number, None where it is not finite."""
    return float(value) if np.isfinite(value) else None
