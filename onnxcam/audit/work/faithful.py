"""Metrics of faithfulness for the records of an audit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnxcam import metrics
from onnxcam.audit.work.subject import Subject
from onnxcam.errors import OnnxcamError, UsageError
from onnxcam.output.explanation import Explanation


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
            value = metrics.find(name).measure(explanation, subject.explainer.predict)
        except OnnxcamError as error:
            return {"faithfulness": found, "diagnosis": [*explanation.diagnosis, error.message]}
        found[name] = float(value)
    return {"faithfulness": found} if names else {}
