"""Two models on one sample: what they predict, and where they look for the same class."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxcam.audit.compare.maps import FLIP, agreement
from onnxcam.audit.data import Sample
from onnxcam.audit.records import PAIRS, Row, null
from onnxcam.audit.work.ready import Ready
from onnxcam.audit.work.subject import Subject, probability_of
from onnxcam.errors import OnnxcamError
from onnxcam.inputs import Prepared
from onnxcam.output.explanation import Explanation


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
    row |= agreement(after.raw_map, before.raw_map)
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
    if named and names[0] == names[1]:
        other = a
    truths = [s.truth(sample.label) for s in (model, baseline)]
    row: Row = {
        "baseline_class": b, "model_class": a, "baseline_label": names[1], "model_label": names[0],
        "flipped": names[0] != names[1] if named else a != b, "compared_class": other,
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


def finite(value: Any) -> float | None:
    """Return a number, None where it is not finite."""
    return float(value) if np.isfinite(value) else None
