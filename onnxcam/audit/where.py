"""Where a model looks, class by class and slice by slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxcam.audit.measures import groups
from onnxcam.audit.records import Row
from onnxcam.audit.store import Store
from onnxcam.audit.strategies import LEAST, flag, grid, strategies

_MOST = 60  # groups that are shown, those with most samples
_OWN = ("id", "border_share", "corner_share", "correct")
_FEW = 4  # samples below which a mean map says little


def where(store: Store, records: Sequence[Row], method: str) -> list[dict[str, Any]]:
    """Return the mean maps of classes and slices, and the strategies of classes.

    Args:
        store: The audit's tables.
        records: The model's records by this method.
        method: Name of the method.

    Returns:
        For each group of 4 samples or more: "per", "group", "count", "map" (the mean of the maps'
        positive parts, each of sum 1), "border_share", "corner_share", "flag" and "strategies"
        (see :func:`onnxcam.audit.strategies.strategies`; of classes with 8 samples or more).
    """
    maps: dict[str, Any] = {}
    if not any(groups(records, per) for per in ("class", "slice")):
        return []
    for row in store.read("maps", ["id", "model", "method", "shape", "values"]):
        if row["model"] == "model" and row["method"] == method:
            made = grid(np.asarray(row["values"], np.float32).reshape(row["shape"]))
            if made is not None and made.ndim == 2:
                maps[row["id"]] = made.astype(np.float16)
    found = []
    for per in ("class", "slice"):
        ranked = sorted(groups(records, per).items(), key=lambda g: -len(g[1]))[:_MOST]
        for name, rows in ranked:
            own = [{k: r[k] for k in _OWN} for r in rows if r["id"] in maps]
            shapes = {maps[r["id"]].shape for r in own}
            if len(own) >= _FEW and len(shapes) == 1:
                found.append(_group(per, name, own, _stacked(maps, own)))
    _flag(found)
    return found


def _flag(found: list[dict[str, Any]]) -> None:
    """Say of groups and strategies what they look at that the others do not."""
    parts = [s for g in found if g["per"] == "class" for s in g["strategies"] or [g]]
    usual = {}
    for name in ("border_share", "corner_share"):
        shares = [p[name] for p in parts if p[name] is not None]
        if len(shares) > 2:
            usual[name] = float(np.median(shares))
    for group in found:
        for part in (group, *group["strategies"]):
            part["flag"] = flag(part, usual)


def suspicious(found: Sequence[Mapping[str, Any]], records: Sequence[Row]) -> list[Row]:
    """Return a row for each sample of a class whose maps were clustered: "suspicious" or not.

    A sample is suspicious where its strategy looks at what those of other classes do not look at.

    Args:
        found: See :func:`where`; the members of strategies are taken out of it.
        records: The model's records.
    """
    flagged: dict[str, bool] = {}
    for group in found:
        for strategy in group["strategies"]:
            flagged |= dict.fromkeys(strategy.pop("members"), bool(strategy["flag"]))
    kept = ("id", "method", "label", "predicted", "predicted_label")
    return [
        {**{k: r[k] for k in kept}, "suspicious": flagged[r["id"]]}
        for r in records
        if r["id"] in flagged
    ]


def _group(per: str, name: str, rows: Sequence[Row], maps: Any) -> dict[str, Any]:
    border, corner = (
        float(np.mean(known)) if (known := [r[k] for r in rows if r[k] is not None]) else None
        for k in ("border_share", "corner_share")
    )
    clustered = per == "class" and len(rows) >= LEAST
    return {
        "per": per,
        "group": name,
        "count": len(rows),
        "map": maps.mean(0).tolist(),
        "border_share": border,
        "corner_share": corner,
        "strategies": strategies(maps, [r["id"] for r in rows], rows) if clustered else [],
    }


def _stacked(maps: Mapping[str, Any], rows: Sequence[Row]) -> Any:
    """Return the maps of samples, each of sum 1 again: they were kept in half precision."""
    found = np.stack([maps[r["id"]] for r in rows]).astype(np.float64)
    return found / found.sum(tuple(range(1, found.ndim)), keepdims=True)
