"""The table of metrics. A metric is one file in this folder with a decorated function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar, get_args

import numpy as np

from onnxcam.errors import UsageError
from onnxcam.graph.registry import Registry, Source

Array: TypeAlias = np.ndarray[Any, Any]
Predict: TypeAlias = Callable[[Array], Array]
Kind: TypeAlias = Literal["faithfulness", "localisation"]
F = TypeVar("F", bound=Callable[..., float])

_METRICS: Registry[str, Metric] = Registry("metrics", Source("onnxcam.metrics", "onnxcam.metrics"))


@dataclass(frozen=True)
class Metric:
    """A number for one explanation.

    Attributes:
        name: What users type.
        kind: What is asked. "faithfulness": does the map show what moves *this model's* score? It
            is held against the model, ``measure(explanation, predict, **options)``, where
            ``predict`` maps inputs [N, ...] to scores [N, C]. "localisation": does the map lie
            where a person says that the object is? It is held against a mask,
            ``measure(explanation, mask, **options)``, bool of the map's shape. A model that looks
            beside the object has faithful maps that are localised badly: numbers of the two kinds
            are never mixed.
        measure: Gives the number.
        better: Which numbers are good: "higher" or "lower".
        cite: Where it comes from.
        summary: One line.
    """

    name: str
    kind: Kind
    measure: Callable[..., float]
    better: Literal["higher", "lower"]
    cite: str
    summary: str


def metric(
    name: str, *, kind: Kind, better: Literal["higher", "lower"], cite: str
) -> Callable[[F], F]:
    """Enter a metric; see :class:`Metric` for the arguments."""
    if kind not in get_args(Kind):
        raise ValueError(f"{name!r} cannot be of the kind {kind!r}: see Metric")

    def enter(measure: F) -> F:
        summary = (measure.__doc__ or "").strip().partition("\n")[0]
        _METRICS.enter(name, Metric(name, kind, measure, better, cite, summary))
        return measure

    return enter


def names(kind: Kind) -> tuple[str, ...]:
    """Return the names of the metrics of one kind, sorted."""
    return tuple(sorted(name for name, found in _METRICS.items() if found.kind == kind))


def find(name: str) -> Metric:
    """Return a metric by its name.

    Raises:
        UsageError: There is none of this name.
    """
    found = _METRICS.get(name)
    if found is None:
        known = ", ".join(sorted(each for each, _ in _METRICS.items()))
        raise UsageError(f"no metric {name!r}", f"choose one of {known}")
    return found
