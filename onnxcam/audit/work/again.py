"""A second look at the models of an audit, when all samples are explained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onnxcam.audit import evidence, trust
from onnxcam.audit.compare.diverging import divergence_of
from onnxcam.audit.data import Sample
from onnxcam.audit.job import Job
from onnxcam.audit.work.subject import metadata
from onnxcam.audit.work.worker import Worker


def looked(
    job: Job, worker: Worker, samples: Sequence[Sample], count: int, seed: int
) -> dict[str, Any]:
    """Return what only the models themselves can say of an audit.

    Args:
        job: The audit.
        worker: Its models.
        samples: Its samples.
        count: Samples that the audit itself is checked on.
        seed: Of that check.

    Returns:
        What JSON can hold: "models" (their files and layers), "divergence", "trust" (a row a
        sample) and "conflicts".
    """
    models = {
        s.name: {"files": evidence.model_files(Path(path)), **metadata(s)}
        for s, path in zip(worker.subjects, job.models, strict=True)
    }
    rows, conflicts = trust.check(job, samples, count, seed)
    return {
        "models": models,
        "divergence": divergence_of(worker, samples),
        "trust": rows,
        "conflicts": conflicts,
    }
