"""Samples in, rows out: the same for every engine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from onnxcam.audit.data import Sample, load_sample
from onnxcam.audit.job import NAMES, Job
from onnxcam.audit.records import MAPS, RECORDS, Row, null
from onnxcam.audit.store import Rows
from onnxcam.audit.summary import in_view, kept, summary
from onnxcam.audit.work.faithful import measured
from onnxcam.audit.work.pairing import finite, pair
from onnxcam.audit.work.ready import Ready
from onnxcam.audit.work.subject import Maps, Subject, probability_of, view
from onnxcam.errors import InputError, NoDescriptionError, OnnxcamError, plain, told
from onnxcam.inputs import Prepared
from onnxcam.output.explanation import Explanation

Array: TypeAlias = np.ndarray[Any, Any]


class Worker:
    """Explains samples by the models of an audit.

    Args:
        job: The audit.

    Attributes:
        subjects: The models.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self.subjects = [Subject(job, name) for name, _ in zip(NAMES, job.models, strict=False)]
        first, *others = self.subjects
        self._alike = {s.name for s in others if s.same_inputs(first)}

    def ready(self, sample: Sample) -> Ready:
        """Decode a sample and prepare it for every model; what is wrong with it becomes its error.

        Raises:
            NoDescriptionError: Nothing says how a picture becomes a model's input.
        """
        try:
            loaded = load_sample(sample)
        except Exception as error:  # noqa: BLE001 - a decoder may raise anything
            return Ready(sample, None, error=_told(error))
        prepared: dict[str, Prepared | OnnxcamError] = {}
        for subject in self.subjects:
            if subject.name in self._alike:
                prepared[subject.name] = prepared[NAMES[0]]
                continue
            try:
                prepared[subject.name] = subject.prepare(loaded.content)
            except NoDescriptionError:  # no fault of this sample, but of the whole audit
                raise
            except Exception as error:  # noqa: BLE001
                prepared[subject.name] = _told(error)
        return Ready(sample, loaded, prepared)

    def rows(self, batch: Sequence[Ready]) -> Rows:
        """Explain samples and return their rows, in their order."""
        found, seconds = {}, {}
        for subject in self.subjects:
            start = time.perf_counter()
            found[subject.name] = self._explained(subject, batch)
            seconds[subject.name] = (time.perf_counter() - start) / max(len(batch), 1)
        records: list[Row] = []
        pairs: list[Row] = []
        maps: list[Row] = []
        for k, ready in enumerate(batch):
            for subject in self.subjects:
                result = found[subject.name][k]
                records += self._records(subject, ready, result, seconds[subject.name])
                if self._job.keep_maps and not isinstance(result, OnnxcamError):
                    maps += [_map(ready, subject.name, n, e) for n, e in result.items()]
            if len(self.subjects) > 1:
                pairs += self._pairs(ready, *(found[s.name][k] for s in self.subjects))
        return Rows(records, pairs, maps)

    def failed(self, sample: Sample, reason: str) -> Rows:
        """Return the rows of a sample that cannot be explained at all."""
        return self.rows([Ready(sample, None, error=InputError(reason))])

    def _explained(self, subject: Subject, batch: Sequence[Ready]) -> list[Maps | OnnxcamError]:
        inputs = [each.input_of(subject.name) for each in batch]
        usable = [p for p in inputs if isinstance(p, Prepared)]
        results = iter(_all(subject, usable))
        return [next(results) if isinstance(p, Prepared) else p for p in inputs]

    def _records(
        self, subject: Subject, ready: Ready, result: Maps | OnnxcamError, seconds: float
    ) -> list[Row]:
        sample, loaded = ready.sample, ready.loaded
        truth = subject.truth(sample.label)
        common: dict[str, Any] = {
            "id": sample.id,
            "sha256": None if loaded is None else loaded.sha256,
            "model": subject.name,
            "label": sample.label,
            "slices": dict(sample.slices),
            "truth": min(truth) if truth else None,
            "truth_label": _name(subject, min(truth)) if truth else None,
            "diagnosis": [],
            "faithfulness": {},
        }
        if isinstance(result, OnnxcamError):
            error = plain(result, 600)
            return [null(RECORDS, **common, method=m, error=error) for m in self._job.methods]
        return [
            null(
                RECORDS,
                **common
                | {"method": name, "seconds": seconds}
                | _said(subject, ready, explanation, truth)
                | measured(self._job.metrics, explanation, subject),
            )
            for name, explanation in result.items()
        ]

    def _pairs(self, ready: Ready, new: Maps | OnnxcamError, old: Maps | OnnxcamError) -> list[Row]:
        if isinstance(new, OnnxcamError) or isinstance(old, OnnxcamError):
            return []
        model, baseline = self.subjects
        return [
            pair(ready, name, (model, new[name]), (baseline, old[name]))
            for name in new
            if name in old
        ]


def _all(subject: Subject, inputs: Sequence[Prepared]) -> Sequence[Maps | OnnxcamError]:
    """Explain all inputs; where the whole call fails, each by itself."""
    try:
        return subject.explain(inputs)
    except Exception as error:  # noqa: BLE001 - it becomes records
        if len(inputs) == 1:
            return [_told(error)]
        return [_all(subject, [each])[0] for each in inputs]


def _said(
    subject: Subject, ready: Ready, explanation: Explanation, truth: frozenset[int]
) -> dict[str, Any]:
    """Return what a record says of one explanation."""
    scores = explanation.scores
    values = view(explanation)
    found: dict[str, Any] = {
        "target": explanation.target if explanation.target >= 0 else None,
        "target_label": explanation.label,
        "score": finite(scores.max() if subject.by_probability else explanation.score),
        "diagnosis": [plain(each) for each in explanation.diagnosis],
        "box": _box(ready, subject.name),
        "provider": explanation.provider,
        "gradient": explanation.gradient,
        **summary(
            values, object_of(ready, subject.name, values.shape), ordered=_ordered(explanation)
        ),
    }
    if subject.by_probability:
        top = int(np.argmax(scores))
        names = explanation.labels
        second = np.partition(scores, -2)[-2]
        found |= {
            "predicted": top,
            "predicted_label": names[top] if names else None,
            "probability": probability_of(explanation, top),
            "margin": finite(scores[top] - second),
            "correct": top in truth if truth else None,
        }
    return found


def _name(subject: Subject, index: int) -> str | None:
    names = subject.explainer.labels
    return names[index] if names and index < len(names) else None


def _ordered(explanation: Explanation) -> bool:
    """Tell whether a map's places lie in space or time; the features of a table do not."""
    return explanation.raw_map.ndim > 1 or any(a in "TWHDS" for a in explanation.layout or "")


def object_of(ready: Ready, name: str, shape: tuple[int, ...]) -> Array | None:
    """Return where the object is in a model's map of this shape, bool; None where nothing says."""
    prepared, loaded = ready.input_of(name), ready.loaded
    if loaded is None or loaded.mask is None or len(shape) != 2:
        return None
    if isinstance(prepared, OnnxcamError) or prepared.box is None:
        return None
    return in_view(loaded.mask, prepared.box, (shape[0], shape[1]))


def _box(ready: Ready, name: str) -> list[float] | None:
    prepared = ready.input_of(name)
    return list(prepared.box) if isinstance(prepared, Prepared) and prepared.box else None


def _map(ready: Ready, name: str, method: str, explanation: Explanation) -> Row:
    values = kept(explanation.raw_map)
    return null(
        MAPS, id=ready.sample.id, model=name, method=method,
        target=explanation.target if explanation.target >= 0 else None,
        shape=list(values.shape), values=values.ravel(),
    )  # fmt: skip


def _told(error: Exception) -> OnnxcamError:
    return error if isinstance(error, OnnxcamError) else told(error, "the sample fails")
