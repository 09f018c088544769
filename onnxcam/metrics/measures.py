"""Several metrics of several maps of one input, and baselines beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnxcam.errors import UsageError
from onnxcam.metrics.baselines import BASELINES
from onnxcam.metrics.registry import Array, Explain, Metric, Predict, find, names
from onnxcam.metrics.sample import Explained, Sample, laid, sample

_WHAT = {
    "predict": "what the model answers: an explainer's `predict`",
    "mask": "a mask, bool of the map's shape",
    "explain": "what the method makes of another input: input -> map",
    "randomised": "maps of randomised models, see onnxcam.metrics.randomised",
}


@dataclass(frozen=True)
class Evidence:
    """What maps of one input are held against; None for what there is not.

    Attributes:
        predict: Inputs [N, ...] -> scores [N, C], best probabilities.
        mask: Where a person says that the object is: bool of the map's shape.
        explain: One input -> the map of the same method and class.
        randomised: Maps that the same method makes of randomised models, the most changed last.
    """

    predict: Predict | None = None
    mask: Array | None = None
    explain: Explain | None = None
    randomised: Iterable[Array] | None = None

    def allows(self, metric: Metric) -> bool:
        """Tell whether a metric has all that it needs."""
        return all(getattr(self, need) is not None for need in metric.needs)


def measure(
    name: str,
    explanation: Explained | Array,
    *,
    predict: Predict | None = None,
    mask: Array | None = None,
    explain: Explain | None = None,
    randomised: Iterable[Array] | None = None,
    tensor: Array | None = None,
    layout: str | None = None,
    target: int = 0,
    **options: Any,
) -> float:
    """Return one metric of one map.

    Args:
        name: Of the metric, see :func:`onnxcam.metrics.names`.
        explanation: An explanation, a :class:`Sample`, or a map alone, [*space].
        predict: Inputs [N, ...] -> scores [N, C]; an explainer's ``predict``.
        mask: Bool of the map's shape.
        explain: One input -> the map that the same method makes of it.
        randomised: Maps of randomised models.
        tensor: The input that a map lies over, where the map comes alone.
        layout: Meaning of its axes.
        target: The class that is explained.
        options: Of the metric.

    Raises:
        UsageError: There is no such metric, or something that it needs is missing.
        InputError: The map or a score is not finite.
    """
    found, held = find(name), Evidence(predict, mask, explain, randomised)
    missing = [need for need in found.needs if getattr(held, need) is None]
    if missing:
        raise UsageError(
            f"{name} needs {' and '.join(_WHAT[need] for need in missing)}",
            f"give {' and '.join(f'`{need}`' for need in missing)}",
        )
    if not hasattr(explanation, "map"):
        explanation = sample(explanation, tensor, layout, target)
    return float(found.measure(explanation, *(getattr(held, n) for n in found.needs), **options))


def table(
    explanations: Mapping[str, Explained],
    evidence: Evidence,
    metrics: Sequence[str] | None = None,
    *,
    baselines: bool = True,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, dict[str, float]]:
    """Return metrics of several maps of one input, and of the baselines beside them.

    Args:
        explanations: Maps by name, all of one input.
        evidence: What they are held against; "explain" and "randomised" are of one method, and
            have no place here.
        metrics: Names; None takes all that the evidence allows.
        baselines: Whether to measure the maps "centre", "random" and "edges", which know nothing
            of the model, too.
        options: Options of metrics, by their name.

    Returns:
        For every map, and then every baseline, its numbers by the name of the metric.

    Raises:
        UsageError: A metric lacks what it needs, or a map does not lie over the input.
    """
    chosen = [n for n in names() if evidence.allows(find(n))] if metrics is None else list(metrics)
    held: dict[str, Explained] = dict(explanations)
    first = next(iter(explanations.values()), None)
    if baselines and first is not None:
        laid(first)
        for name, made in BASELINES.items():
            map = made(first)
            held[name] = Sample(map, first.tensor, first.layout, first.target)
    return {
        name: {m: _held(m, each, evidence, (options or {}).get(m, {})) for m in chosen}
        for name, each in held.items()
    }


def _held(name: str, each: Explained, evidence: Evidence, options: Mapping[str, Any]) -> float:
    return measure(
        name, each, predict=evidence.predict, mask=evidence.mask, explain=evidence.explain,
        randomised=evidence.randomised, **options,
    )  # fmt: skip
