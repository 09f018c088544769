"""Where the models of an audit diverge, on the first samples that both take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from onnxcam.audit.compare.tensors import divergence
from onnxcam.audit.data import Sample
from onnxcam.audit.work.worker import Worker
from onnxcam.errors import OnnxcamError
from onnxcam.inputs import Prepared

_SAMPLES = 4


def divergence_of(worker: Worker, samples: Sequence[Sample]) -> dict[str, Any] | None:
    """Return where along their tensors the two models of an audit diverge.

    Args:
        worker: The audit's models.
        samples: Its samples; a few that are spread over them are run.

    Returns:
        What JSON can hold; None for one model. Where it cannot be said, "words" say why.
    """
    if len(worker.subjects) < 2:
        return None
    model, baseline = worker.subjects
    step = max(1, len(samples) // _SAMPLES)
    inputs = []
    for sample in samples[::step][:_SAMPLES]:
        ready = worker.ready(sample)
        pair = (ready.input_of(model.name), ready.input_of(baseline.name))
        if isinstance(pair[0], Prepared) and isinstance(pair[1], Prepared):
            inputs.append((pair[0], pair[1]))
    if not inputs:
        return {"steps": [], "first": None, "words": "no sample can be run", "samples": 0}
    names = (model.explainer.catalog.input, baseline.explainer.catalog.input)
    try:
        found = divergence(model.explainer.model, baseline.explainer.model, inputs, names)
    except OnnxcamError as error:
        return {"steps": [], "first": None, "words": error.message, "samples": 0}
    return asdict(found)
