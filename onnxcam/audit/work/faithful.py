"""Metrics of faithfulness for the records of an audit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from onnxcam import metrics
from onnxcam.audit.work.subject import Subject
from onnxcam.errors import OnnxcamError, UsageError
from onnxcam.metrics.registry import Predict
from onnxcam.model.draft import exposed
from onnxcam.output.explanation import Explanation
from onnxcam.run.session import Session

Array: TypeAlias = np.ndarray[Any, Any]
_BATCH = 16
_PREDICTORS = "onnxcam.audit.predictor"  # where a model keeps its own


def checked(names: Sequence[str]) -> None:
    """Raise UsageError unless these are metrics of faithfulness."""
    for name in names:
        if metrics.find(name).kind != "faithfulness":
            known = ", ".join(metrics.names("faithfulness"))
            raise UsageError(f"{name} is no metric of faithfulness", f"choose of {known}")


def measured(names: Sequence[str], explanation: Explanation, subject: Subject) -> dict[str, Any]:
    """Return the column `faithfulness` of a record; what cannot be measured is left out."""
    found: dict[str, float] = {}
    for name in names:
        try:
            value = metrics.find(name).measure(explanation, predictor(subject), batch_size=_BATCH)
        except OnnxcamError as error:
            return {"faithfulness": found, "diagnosis": [*explanation.diagnosis, error.message]}
        found[name] = float(value)
    return {"faithfulness": found} if names else {}


def predictor(subject: Subject) -> Predict:
    """Return what maps a model's inputs [N, ...] to probabilities: a softmax."""
    kept: dict[str, Any] = subject.explainer.model.findings
    if _PREDICTORS not in kept:
        model, catalog = subject.explainer.model, subject.explainer.catalog
        score = catalog.reduction.name
        session = Session(exposed(model, [score]), device="cpu")
        kept[_PREDICTORS] = lambda x: _scores(session, catalog.input, score, x)
    predict: Predict = kept[_PREDICTORS]
    return predict


def _scores(session: Session, name: str, score: str, x: Array) -> Array:
    (values,) = session.run({name: x}, [score])
    shifted = np.exp(values - values.max(-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(-1, keepdims=True))
