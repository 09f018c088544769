"""How far two data sets are apart, in the eyes of one model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from onnxcam.audit import bundle, kept
from onnxcam.audit.job import Job
from onnxcam.audit.results import tables
from onnxcam.audit.store import Store
from onnxcam.audit.verdict import of_method
from onnxcam.errors import InputError, UsageError

Array: TypeAlias = np.ndarray[Any, Any]
_COLUMNS = ("probability", "margin", "entropy", "border_share", "corner_share", "object_energy")
_BINS, _LEAST = 10, 20  # of an index; samples below which it says nothing
MOVED, RANKED = 0.25, 0.90  # above the one and below the other something has changed


@dataclass(frozen=True)
class Drift:
    """What moved from one audit of a model to another, on other data.

    Attributes:
        stability: The population stability index by column of the records.
        ranking: NDCG of where the model looks, by class and slice.
        samples: Of the two audits.
    """

    stability: dict[str, float]
    ranking: dict[str, float]
    samples: tuple[int, int]

    @property
    def moved(self) -> list[str]:
        """What changed, in words."""
        said = [f"{n}: index {v:.2f}" for n, v in self.stability.items() if v > MOVED]
        parts = ((n, v) for n, v in self.ranking.items() if v < RANKED)
        return said + [f"where it looks, {n}: NDCG {v:.2f}" for n, v in parts]

    @property
    def lines(self) -> list[str]:
        """Every figure in words."""
        said = [f"{n}: population stability index {v:.3f}" for n, v in self.stability.items()]
        said += [f"{n}: NDCG {v:.3f}" for n, v in self.ranking.items()]
        found = "; ".join(self.moved) or "nothing moved"
        return [*said, f"{self.samples[0]} and {self.samples[1]} samples: {found}"]

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {**asdict(self), "moved": self.moved}


def drift(before: str | os.PathLike[str], after: str | os.PathLike[str]) -> Drift:
    """Compare two audits of one model on two data sets.

    Args:
        before: The folder of the one.
        after: That of the other.

    Raises:
        UsageError: They are of two models, or by two methods.
        InputError: One is no finished audit.
    """
    folders = [Path(before), Path(after)]
    for folder in folders:
        if not (folder / bundle.VERDICT).is_file():
            raise InputError(f"{folder} holds no finished audit", "finish it by `resume=True`")
    with bundle.intact(folders[0]), bundle.intact(folders[1]):
        return _drift(folders)


def _drift(folders: Sequence[Path]) -> Drift:
    """Compare two audits that are finished."""
    first, second = (Job.read(f / "job.json") for f in folders)
    if first.facts["models"][0] != second.facts["models"][0] or first.methods != second.methods:
        raise UsageError(
            "the two audits are of two models, or by two methods",
            "compare models by one audit with a `baseline`",
        )
    rows = [of_method(tables(Store(f, first.chunk))["records"]) for f in folders]
    stability = {}
    for name in _COLUMNS:
        old, new = ([r[name] for r in part if r[name] is not None] for part in rows)
        if min(len(old), len(new)) >= _LEAST:
            stability[name] = stability_index(old, new)
    looks = [{g["group"]: g for g in kept.read(f / bundle.RESULTS)["where"]} for f in folders]
    ranking = {
        name: ranked(*(np.ravel(side[name]["map"]) for side in looks))
        for name in looks[0]
        if name in looks[1] and np.shape(looks[0][name]["map"]) == np.shape(looks[1][name]["map"])
    }
    return Drift(stability, ranking, (len(rows[0]), len(rows[1])))


def stability_index(before: Sequence[float], after: Sequence[float], bins: int = _BINS) -> float:
    """Return the population stability index of a figure between two data sets.

    PSI = sum_i (q_i - p_i) ln(q_i / p_i) over bins of equal counts in ``before``; empty bins count
    as half a sample. Below 0.1 nothing moved, above 0.25 much did, as credit scoring has it.

    Args:
        before: The figure in the one data set.
        after: In the other.
        bins: How many bins.
    """
    edges = np.unique(np.quantile(before, np.linspace(0, 1, bins + 1)[1:-1]))
    p, q = (
        _shares(np.searchsorted(edges, v, side="right"), len(edges) + 1) for v in (before, after)
    )
    return float(((q - p) * np.log(q / p)).sum())


def ranked(before: Array, after: Array) -> float:
    """Return how well an order of importance is kept (NDCG, as SageMaker Clarify has it).

    NDCG = sum_i a_(i) / log2(i + 1) in the order of ``after``, of that in ``before``'s own order:
    1 where both orders agree.

    Args:
        before: Importance a of each place in the one data set, not negative.
        after: In the other.
    """
    weights = 1 / np.log2(np.arange(len(before)) + 2)
    best = float(np.sort(before)[::-1] @ weights)
    return float(before[np.argsort(-after, kind="stable")] @ weights) / best if best else 1.0


def _shares(places: Array, bins: int) -> Array:
    counts = np.maximum(np.bincount(places, minlength=bins), 0.5)
    shares: Array = counts / counts.sum()
    return shares
