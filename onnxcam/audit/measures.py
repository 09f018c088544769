"""What a policy can limit: a measure is a number or a truth of every sample, and its mean."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from onnxcam.audit.records import Row
from onnxcam.audit.table import taken

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Measure:
    """A measure.

    Attributes:
        name: What a policy calls it.
        table: Where it is read: "records" (of the model), "pairs", "where" (of clustered classes),
            or "trust" (of the audit).
        value: Its value of a row; None where a row says nothing.
        meaning: One line.
    """

    name: str
    table: str
    value: Callable[[Row], Any]
    meaning: str


def _of(name: str) -> Callable[[Row], Any]:
    return lambda row: row.get(name)


def _drop(row: Row) -> Any:
    before, after = row.get("right_before"), row.get("right_after")
    return None if before is None or after is None else float(before) - float(after)


def _harmful(row: Row) -> Any:
    before, after = row.get("right_before"), row.get("right_after")
    return None if before is None or after is None else before and not after


def _shift(row: Row) -> Any:
    found = row.get("probability_shift")
    return None if found is None else abs(found)


def _stays(row: Row) -> Any:
    return None if row.get("flipped") or row.get("spearman") is None else row["explanation_flip"]


_AGREEMENT = {
    "spearman": "rank correlation of the two maps",
    "pearson": "linear correlation of the two maps",
    "ssim": "structural similarity of the two maps",
    "iou": "of the 20 % of places with the highest values: common to both maps / all",
    "peak_shift": "how far the highest place moved, 1 is an edge of the input",
    "emd": "earth mover's distance of the two maps, 1 is an edge of the input",
}
_ALL = [
    Measure("accuracy", "records", _of("correct"), "rate of samples predicted as their label"),
    Measure("failures", "records", lambda r: r.get("error") is not None,
            "rate of samples that could not be explained"),
    Measure("warned", "records", lambda r: None if r.get("error") else bool(r.get("diagnosis")),
            "rate of explanations with a diagnosis"),
    Measure("object_energy", "records", _of("object_energy"),
            "share of the map inside the object"),
    Measure("pointing", "records", _of("pointing_hit"), "rate of peaks inside the object"),
    Measure("border_share", "records", _of("border_share"),
            "share of the map in the outer tenth along the edges"),
    Measure("corner_share", "records", _of("corner_share"),
            "share of the map in the corner that has most"),
    Measure("entropy", "records", _of("entropy"), "how evenly the map is spread"),
    Measure("flips", "pairs", _of("flipped"), "rate of predictions that changed"),
    Measure("harmful_flips", "pairs", _harmful, "rate of samples right before and wrong now"),
    Measure("accuracy_drop", "pairs", _drop, "accuracy before minus accuracy now"),
    Measure("probability_shift", "pairs", _shift,
            "size of the change of the baseline's class's probability"),
    Measure("explanation_flips", "pairs", _stays,
            "of the predictions that stay: rate of maps with a rank correlation below 0.5"),
    *(Measure(name, "pairs", _of(name), _AGREEMENT[name])
      for name in _AGREEMENT),
    Measure("suspicious", "where", _of("suspicious"),
            "rate of samples in strategies that look at corners or borders as no others do"),
    Measure("sanity", "trust", _of("sanity"),
            "rank correlation of a map with that of the model with random weights, in size"),
    Measure("method_agreement", "trust", _of("method_agreement"),
            "rank correlation of the maps of two methods"),
]  # fmt: skip
MEASURES: Mapping[str, Measure] = {m.name: m for m in _ALL}
_FAITHFUL = "faithfulness."  # before the name of a metric


def find(name: str) -> Measure | None:
    """Return a measure by its name; `faithfulness.NAME` is a metric of the records."""
    if name.startswith(_FAITHFUL):
        metric = name.removeprefix(_FAITHFUL)
        return Measure(
            name, "records", lambda r: (r.get("faithfulness") or {}).get(metric), f"metric {metric}"
        )
    return MEASURES.get(name)


def column(measure: Measure, rows: Iterable[Row]) -> Array:
    """Return a measure of rows, those that say nothing left out: bool or float64 [N]."""
    return columns([measure], rows)[measure.name].of(None)


@dataclass(frozen=True)
class Column:
    """A measure of many rows.

    Attributes:
        values: float64 [N], NaN of rows that say nothing.
        truths: Whether all are true or false.
    """

    values: Array
    truths: bool

    def of(self, at: Sequence[int] | None) -> Array:
        """Return it of some rows, those that say nothing left out: bool or float64."""
        values = self.values if at is None else self.values[np.asarray(at, np.int64)]
        said = values[~np.isnan(values)]
        return said.astype(np.bool_) if self.truths and said.size else said


def columns(wanted: Sequence[Measure], rows: Iterable[Row]) -> dict[str, Column]:
    """Return measures of rows by their names, the rows looked at once."""
    values = [array("d") for _ in wanted]
    truths = [True] * len(wanted)
    for row in rows:
        for k, measure in enumerate(wanted):
            value = measure.value(row)
            values[k].append(math.nan if value is None else float(value))
            truths[k] = truths[k] and (value is None or isinstance(value, bool))
    return {
        m.name: Column(np.asarray(v, np.float64), t)
        for m, v, t in zip(wanted, values, truths, strict=True)
    }


def places(rows: Iterable[Row], per: str) -> dict[str, Sequence[int]]:
    """Return rows' places by group: "overall", "class" (label, else prediction) or "slice"."""
    found: dict[str, Any] = {}
    for k, row in enumerate(rows):
        for name in [""] if per == "overall" else _names(row, per):
            found.setdefault(name, array("q")).append(k)
    return dict(sorted(found.items())) if per != "overall" or found else {"": array("q")}


def groups(rows: Sequence[Row], per: str) -> dict[str, Sequence[Row]]:
    """Return rows by group; see :func:`places`."""
    return {name: taken(rows, at) for name, at in places(rows, per).items()}


def _names(row: Row, per: str) -> list[str]:
    if per == "slice":
        return [f"{k}={v}" for k, v in (row.get("slices") or {}).items()]
    named = row.get("label") or row.get("predicted_label") or row.get("baseline_label")
    number = row.get("predicted", row.get("baseline_class"))
    return [str(number if named is None else named)] if (named, number) != (None, None) else []
