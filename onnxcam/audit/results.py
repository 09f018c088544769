"""What the records come to: counts, figures by class and slice, worst cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxcam.audit import measures
from onnxcam.audit.records import Row
from onnxcam.audit.statistics import estimate
from onnxcam.audit.store import Store
from onnxcam.audit.verdict import Tables, of_method

_NOT_ALL = ("trust",)  # tables with figures of their own
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
) -> dict[str, list[Row]]:
    """Return the rows that a policy is held against, of the records what is used here alone."""
    records = [r for r in store.read("records", _USED) if r["model"] == "model"]
    return {"records": records, "pairs": list(store.read("pairs")),
            "trust": list(trust), "where": list(where)}  # fmt: skip


def figures(found: Tables, confidence: float = 0.95) -> list[dict[str, Any]]:
    """Return every measure with its interval, overall and by slice and class.

    Args:
        found: See :func:`tables`.
        confidence: Of each interval by itself: these figures are for reading, and not corrected.
    """
    rows = []
    for table, names in SHOWN.items():
        all_rows = of_method(found[table])
        for per in ("overall", "slice", "class"):
            for group, members in measures.groups(all_rows, per).items():
                if per == "class" and len(members) < 2:
                    continue
                rows += [_figure(n, per, group, members, confidence) for n in names]
    return [row for row in rows if row["value"] is not None]


def _figure(
    name: str, per: str, group: str, rows: Sequence[Row], confidence: float
) -> dict[str, Any]:
    values = measures.column(measures.MEASURES[name], rows)
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
    pairs = [p for p in of_method(found["pairs"]) if p.get("compared_class") is not None
             or p.get("spearman") is not None]  # fmt: skip
    if found["pairs"]:
        return sorted(pairs, key=pair_order)[:count]
    records = [r for r in of_method(found["records"]) if r.get("error") is None]
    return sorted(records, key=_record_order)[:count]


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
    records = of_method(found["records"])
    pairs = of_method(found["pairs"])
    labelled = [r for r in records if r.get("label")]
    return {
        "samples": len(records),
        "failed": sum(r.get("error") is not None for r in records),
        "labelled": len(labelled),
        "labels_without_class": sum(r.get("truth") is None for r in labelled),
        "with_object": sum(r.get("object_area") is not None for r in records),
        "with_diagnosis": sum(bool(r.get("diagnosis")) for r in records),
        "pairs": len(pairs),
        "flipped": sum(bool(p.get("flipped")) for p in pairs),
        "explanation_flips": sum(bool(p.get("explanation_flip")) for p in pairs),
        "seconds_per_sample": _mean([r["seconds"] for r in records if r.get("seconds")]),
    }


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
