"""The audit itself, checked on a few of its samples.

The sanity check (Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018): with the weights
shuffled, tensor by tensor, the map must be another one. A second method is asked where the model
looks; and of both, how faithful the map is (deletion) and how much of it lies in the object. Where
these checks disagree that is said, and nothing is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from onnxcam import metrics
from onnxcam.audit.compare.maps import agreement
from onnxcam.audit.data import Sample
from onnxcam.audit.job import Job
from onnxcam.audit.records import Row
from onnxcam.audit.statistics import estimate
from onnxcam.audit.work.subject import Subject, view
from onnxcam.audit.work.worker import Worker, object_of
from onnxcam.errors import OnnxcamError
from onnxcam.explain import Explainer
from onnxcam.inputs import Prepared
from onnxcam.output.explanation import Explanation

Array: TypeAlias = np.ndarray[Any, Any]
SANE, AGREE = 0.7, 0.3  # mean rank correlations that are said: above the one, below the other
_STEPS, _BATCH = 16, 16  # of a deletion curve
_SECOND = ("hirescam", "gradcam", "input-x-gradient", "saliency")  # the first that fits is taken


def check(
    job: Job, samples: Sequence[Sample], count: int, seed: int
) -> tuple[list[Row], list[str]]:
    """Check an audit on samples that are spread over its data.

    Args:
        job: The audit.
        samples: Its samples.
        count: How many are taken.
        seed: Of the shuffled weights.

    Returns:
        A row a sample: "id", "sanity", "method_agreement", "deletion" of the method, of the second
        and of a random map, "object_energy" of both. And the conflicts, in words.
    """
    if count < 1:
        return [], []
    first = job.methods[0]
    worker, second = _with_second(job, first)
    if worker is None:
        return [], [f"no second method explains the model: {first} stands alone"]
    subject = worker.subjects[0]
    shuffled = _shuffled(subject, job, first, seed)
    rng = np.random.default_rng(seed)
    rows = []
    for sample in samples[:: max(1, len(samples) // count)][:count]:
        row = _row(worker, sample, (first, second), shuffled, rng)
        if row is not None:
            rows.append(row)
    return rows, conflicts(rows, first, second)


def _with_second(job: Job, first: str) -> tuple[Worker | None, str]:
    """Return what explains by the audit's method and another one, and that one's name."""
    for second in (m for m in _SECOND if m != first):
        both = replace(job, models=job.models[:1], methods=(first, second), metrics=("deletion",))
        try:
            return Worker(both), second
        except OnnxcamError:
            continue
    return None, ""


def _row(
    worker: Worker, sample: Sample, methods: tuple[str, str], shuffled: Any, rng: Any
) -> Row | None:
    (subject,) = worker.subjects
    ready = worker.ready(sample)
    prepared = ready.input_of(subject.name)
    if not isinstance(prepared, Prepared):
        return None
    maps = subject.explain([prepared])[0]
    if isinstance(maps, OnnxcamError):
        return None
    one, two = (maps[m] for m in methods)
    random = replace(one, map=rng.random(one.map.shape, np.float32))
    row: Row = {"id": sample.id, "sanity": None}
    row["method_agreement"] = _alike(one, two)
    for name, each in (("deletion", one), ("deletion_second", two), ("deletion_random", random)):
        row[name] = _deletion(each, subject)
    for name, each in (("object_energy", one), ("object_energy_second", two)):
        row[name] = _energy(view(each), object_of(ready, subject.name, view(each).shape))
    if shuffled is not None:
        row["sanity"] = _sane(shuffled, prepared, one)
    return row


def _sane(shuffled: Explainer[Any], prepared: Prepared, one: Explanation) -> float | None:
    """Return how alike the map and that of random weights are, in size; 0 where that has none."""
    try:
        target = one.target if one.target >= 0 else None
        found = shuffled(prepared.tensor, target)
    except OnnxcamError:
        return None
    alike = _alike(one, found)
    return None if np.ptp(one.raw_map) == 0 else abs(alike or 0.0)


def _alike(a: Explanation, b: Explanation) -> float | None:
    return (
        agreement(a.raw_map, b.raw_map).get("spearman")
        if a.raw_map.ndim == b.raw_map.ndim
        else None
    )


def _deletion(explanation: Explanation, subject: Subject) -> float | None:
    if not subject.by_probability or explanation.probability is None:
        return None  # a score that may be below 0 does not fall to nothing
    try:
        return metrics.find("deletion").measure(
            explanation, subject.explainer.predict, steps=_STEPS, batch_size=_BATCH
        )
    except OnnxcamError:
        return None


def _energy(map: Array, mask: Array | None) -> float | None:
    p = np.maximum(map, 0)
    return None if mask is None or not p.sum() > 0 else float(p[mask].sum() / p.sum())


def _shuffled(subject: Subject, job: Job, method: str, seed: int) -> Explainer[Any] | None:
    """Return what explains the model with every weight's numbers in a random order."""
    # Of two the second is shuffled from the output down to the input.
    _, proto = list(metrics.randomised(subject.explainer.model, most=2, seed=seed))[-1]
    catalog, given = subject.explainer.catalog, dict(job.options)
    given["reduction_layer"] = catalog.reduction.name
    planned = subject.explainer.maps[0]
    feature = planned.feature.name if method == planned.method.name else None
    options: dict[str, Any] = {
        k: v for k, v in given.items() if k not in ("feature_layer", "preprocess")
    }
    try:
        return Explainer(
            proto, method, feature_layer=feature, cache=False, upsampling="none", **options
        )
    except OnnxcamError:
        return None


def conflicts(rows: Sequence[Row], first: str, second: str) -> list[str]:
    """Return where the checks speak against the audit, or against each other, in words."""
    said = []
    sanity, agree = (_estimate(rows, name) for name in ("sanity", "method_agreement"))
    if sanity is not None and sanity.low > SANE:
        said.append(
            f"the maps hardly depend on the weights: with these shuffled the rank correlation is "
            f"still {sanity.value:.2f}"
        )
    if agree is not None and agree.high < AGREE:
        said.append(
            f"{first} and {second} say different things of where the model looks: rank "
            f"correlation {agree.value:.2f}"
        )
    against = _difference(rows, "deletion", "deletion_random")
    if against is not None and against.low > 0:
        said.append(
            f"{first} is less faithful than a random map, by deletion: its places matter less"
        )
    faithful = _difference(rows, "deletion", "deletion_second")
    inside = _difference(rows, "object_energy_second", "object_energy")
    if faithful is not None and inside is not None and _sign(faithful) * _sign(inside) < 0:
        better, other = (first, second) if _sign(faithful) < 0 else (second, first)
        said.append(
            f"faithfulness (deletion) prefers {better}, localisation prefers {other}: the model "
            "may look beside the object"
        )
    return said


def _estimate(rows: Sequence[Row], name: str) -> Any:
    values = np.asarray([r[name] for r in rows if r[name] is not None], np.float64)
    return estimate(values, 0.95, resamples=1000, seed=0) if len(values) >= 4 else None


def _difference(rows: Sequence[Row], name: str, other: str) -> Any:
    both = [r[name] - r[other] for r in rows if r[name] is not None and r[other] is not None]
    return (
        estimate(np.asarray(both, np.float64), 0.95, resamples=1000, seed=0)
        if len(both) >= 4
        else None
    )


def _sign(found: Any) -> int:
    """Return the sign of a difference, 0 where its interval holds 0."""
    return 1 if found.low > 0 else -1 if found.high < 0 else 0
