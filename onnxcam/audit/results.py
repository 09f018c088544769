"""What the records come to: counts, figures by class and slice, worst cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from heapq import nsmallest
from typing import Any

import numpy as np

from onnxcam.audit import measures
from onnxcam.audit.records import Row
from onnxcam.audit.statistics import estimate
from onnxcam.audit.store import Store
from onnxcam.audit.table import having
from onnxcam.audit.verdict import Tables, of_method

_COUNTED = (
    "samples", "failed", "labelled", "labels_without_class", "with_object", "with_diagnosis",
    "pairs", "flipped", "explanation_flips",
)  # fmt: skip
# Of the records: all rows are in memory at once, and most columns are for other readers.
_USED = (
    "id", "model", "method", "label", "slices", "truth", "predicted", "predicted_label",
    "probability", "margin", "score", "correct", "entropy", "object_energy", "object_area",
    "pointing_hit", "border_share", "corner_share", "diagnosis", "faithfulness", "seconds", "error",
)  # fmt: skip
SHOWN = {
    "records": ("accuracy", "failures", "warned", "object_energy", "pointing", "border_share",
                "corner_share", "entropy"),
    "pairs": ("flips", "harmful_flips", "accuracy_drop", "probability_shift", "explanation_flips",
              "spearman", "pearson", "ssim", "iou", "peak_shift", "emd"),
}  # fmt: skip


def tables(
    store: Store, trust: Sequence[Row] = (), where: Sequence[Row] = ()
) -> dict[str, Sequence[Row]]:
    """Return the rows that a policy is held against, of the records what is used here alone."""
    records = having(store.table("records", _USED), "model", "model")
    return {"records": records, "pairs": store.table("pairs"), "trust": trust, "where": where}


def figures(found: Tables, confidence: float = 0.95) -> list[dict[str, Any]]:
    """Return every measure with its interval, overall and by slice and class.

    Args:
        found: See :func:`tables`.
        confidence: Of each interval by itself: these figures are for reading, and not corrected.
    """
    rows = []
    for table, names in SHOWN.items():
        all_rows = of_method(found[table])
        columns = measures.columns([measures.MEASURES[n] for n in names], all_rows)
        for per in ("overall", "slice", "class"):
            for group, at in measures.places(all_rows, per).items():
                if per == "class" and len(at) < 2:
                    continue
                rows += [_figure(n, per, group, c.of(at), confidence) for n, c in columns.items()]
    return [row for row in rows if row["value"] is not None]


def _figure(
    name: str, per: str, group: str, values: measures.Array, confidence: float
) -> dict[str, Any]:
    resamples = 1000 if per != "class" else 200
    made = estimate(values, confidence, resamples=resamples, seed=0)
    said = {"measure": name, "per": per, "group": group, "confidence": confidence}
    if made is None:
        return {**said, "value": None}
    return {**said, "value": made.value, "low": made.low, "high": made.high, "count": made.count}


def worst(found: Tables, count: int = 24) -> list[Row]:
    """Return the samples to look at first.

    Of a pair: explanations that flip while the prediction stays, then predictions that flip, then
    the rest, each by how badly the maps agree. Of one model: what is wrong and sure of itself,
    then what looks at borders and corners most.
    """
    if found["pairs"]:
        pairs = (p for p in of_method(found["pairs"]) if p.get("compared_class") is not None
                 or p.get("spearman") is not None)  # fmt: skip
        return nsmallest(count, pairs, key=pair_order)
    records = (r for r in of_method(found["records"]) if r.get("error") is None)
    return nsmallest(count, records, key=_record_order)


def pair_order(row: Row) -> tuple[int, float]:
    """Return what pairs are sorted by, so that the worst comes first; see :func:`worst`."""
    kind = 0 if row.get("explanation_flip") else 1 if row.get("flipped") else 2
    return kind, row["spearman"] if row.get("spearman") is not None else 1.0


def _record_order(row: Row) -> tuple[float, float]:
    wrong = row.get("correct") is False
    sure = row.get("probability") or 0.0
    beside = max(row.get("border_share") or 0.0, row.get("corner_share") or 0.0)
    return (-sure if wrong else 0.0), -beside


def counts(found: Tables) -> dict[str, Any]:
    """Return how many samples there are of each kind."""
    said: Counter[str] = Counter()
    seconds: list[float] = []
    for r in of_method(found["records"]):
        said["samples"] += 1
        said["failed"] += r.get("error") is not None
        said["labelled"] += bool(r.get("label"))
        said["labels_without_class"] += bool(r.get("label")) and r.get("truth") is None
        said["with_object"] += r.get("object_area") is not None
        said["with_diagnosis"] += bool(r.get("diagnosis"))
        seconds += [r["seconds"]] if r.get("seconds") else []
    for p in of_method(found["pairs"]):
        said["pairs"] += 1
        said["flipped"] += bool(p.get("flipped"))
        said["explanation_flips"] += bool(p.get("explanation_flip"))
    return {
        **{name: said[name] for name in _COUNTED},
        "seconds_per_sample": float(np.mean(seconds)) if seconds else None,
    }
