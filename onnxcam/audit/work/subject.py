"""A model under audit: it prepares samples, explains them, and knows what their labels mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from onnxcam.audit.job import NAMES, Job
from onnxcam.audit.seeing import seen
from onnxcam.audit.truth import Truth
from onnxcam.audit.work.ready import Ready
from onnxcam.errors import OnnxcamError
from onnxcam.explain import Explainer
from onnxcam.inputs import Prepared
from onnxcam.output.explanation import Explanation
from onnxcam.output.render import overlay
from onnxcam.output.upsample import upsample

Array: TypeAlias = np.ndarray[Any, Any]
Maps: TypeAlias = dict[str, Explanation]
_VIEW = 64  # places along an axis of a map that is measured


class Subject:
    """One model of an audit.

    Args:
        job: The audit.
        name: "model" or "baseline".

    Attributes:
        name: Which one it is.
        explainer: What explains it.
        truth: Finds the classes of a label.
    """

    def __init__(self, job: Job, name: str) -> None:
        options: dict[str, Any] = dict(job.options)
        if name != NAMES[0]:
            options |= job.baseline_options
        # A map at the input's size is needed by metrics alone, and costs more than all the rest.
        size: Any = "bicubic" if job.metrics else "none"
        path = job.models[NAMES.index(name)]
        self.name = name
        with _whose(name, path):
            self.explainer: Explainer[Maps] = Explainer(
                path, list(job.methods), upsampling=size, **options
            )
        self.truth = Truth(self.explainer.labels, self.explainer.catalog.reduction.classes)

    def same_inputs(self, other: Subject) -> bool:
        """Tell whether another model takes its inputs in the same way."""
        mine, yours = self.explainer, other.explainer
        try:
            return mine.input == yours.input and mine.spec == yours.spec
        except OnnxcamError:
            return False

    def prepare(self, content: Any) -> Prepared:
        """Turn a decoded sample into the input tensor.

        Raises:
            OnnxcamError: It does not fit.
        """
        return self.explainer.description.prepare(content)

    def explain(
        self, inputs: Sequence[Prepared], target: int | None = None
    ) -> list[Maps | OnnxcamError]:
        """Explain inputs: all maps of each, or the error of one that cannot be explained.

        Args:
            inputs: What :meth:`prepare` returned.
            target: Index of the class; None takes the top class of each.
        """
        given = [p.source if p.others else p.tensor for p in inputs]
        found: list[Maps | OnnxcamError] = []
        for _, result in self.explainer.stream(given, target):
            found.append(result[0] if isinstance(result, list) else result)
        return found

    def overlay(
        self, ready: Ready, method: str, index: int | None, size: int = 224
    ) -> Array | None:
        """Return what the model saw of a picture with the map of a class over it.

        Args:
            ready: The sample.
            method: Name of the method.
            index: The class; None takes the top class.
            size: Pixels along the longer edge of what is returned.

        Returns:
            uint8 [H, W, 3]; None where there is no picture or no map.
        """
        prepared = ready.input_of(self.name)
        if isinstance(prepared, OnnxcamError):
            return None
        found = self.explain([prepared], index)[0]
        if isinstance(found, OnnxcamError) or found[method].raw_map.ndim != 2:
            return None
        box = prepared.box
        whole = prepared.picture
        picture = None if whole is None or box is None else seen(whole, box, size)
        return (
            None
            if picture is None
            else overlay(picture, found[method].raw_map, signed=found[method].signed)
        )

    @property
    def by_probability(self) -> bool:
        """Whether its scores are of classes, so that the highest is a prediction."""
        return (self.explainer.catalog.reduction.classes or 0) > 1


@contextmanager
def _whose(name: str, path: str) -> Iterator[None]:
    """Say of an error that it is the baseline's, and what may differ for that."""
    try:
        yield
    except OnnxcamError as error:
        if name == NAMES[0]:
            raise
        raise type(error)(
            f"the baseline {Path(path).name}: {error.message}",
            "what differs for it goes to `baseline_feature_layer`, `baseline_reduction_layer`, "
            "`baseline_preprocess` or `baseline_labels`",
        ) from None


def view(explanation: Explanation) -> Array:
    """Return a map as it is measured: at the input's size, or 64 places where that is more."""
    from onnxcam.audit.summary import reduced

    own = explanation.map if explanation.laid else explanation.raw_map  # of a part of the input
    values = np.nan_to_num(own, nan=0, posinf=0, neginf=0)
    layout, shape = explanation.layout or "", explanation.tensor.shape
    if explanation.unfolded is not None:
        layout, shape = explanation.unfolded
    space = [n for axis, n in zip(layout, shape, strict=False) if axis != "C"]
    if len(layout) != len(shape) or len(space) != values.ndim:
        space = list(values.shape)
    size = [min(n, _VIEW) for n in space]
    for axis, length in enumerate(size):
        values = reduced(values, axis, min(length, values.shape[axis]))
    return values if list(values.shape) == size else upsample(values, tuple(size))


def probability_of(explanation: Explanation, index: int) -> float | None:
    """Return a class's probability, where the explanation says one of its own class."""
    if explanation.probability is None or not 0 <= index < len(explanation.scores):
        return None
    if index == explanation.target:
        return explanation.probability
    scores = explanation.scores.astype(np.float64)
    total = float(scores.sum())
    if (scores >= 0).all() and abs(total - 1) < 1e-3:  # they are probabilities
        return float(scores[index])
    shifted = np.exp(scores - scores.max())
    ratio = float(shifted[index] / shifted[explanation.target])
    softmax = float(shifted[explanation.target] / shifted.sum())
    if abs(softmax - explanation.probability) < 1e-3:
        return softmax * ratio
    return float(1 / (1 + np.exp(-scores[index])))  # a class by itself


def metadata(subject: Subject) -> Mapping[str, Any]:
    """Return what the evidence says of how a model was explained."""
    explainer = subject.explainer
    catalog = explainer.catalog
    return {
        "input": catalog.input,
        "input_layout": catalog.input_layout and catalog.input_layout.axes,
        "reduction_layer": catalog.reduction.name,
        "reduction_reason": catalog.reduction.reason,
        "classes": catalog.reduction.classes,
        "maps": [m.summary for m in explainer.maps],
        "gradient": explainer.gradient,
        "provider": explainer.provider.name,
        "provider_reason": explainer.provider.why,
        "sha256": explainer.model.sha256,
        "notes": list(explainer.model.notes),
        "warnings": list(catalog.warnings_of(catalog.feature)),
        "labels": None if explainer.labels is None else list(explainer.labels),
    }
